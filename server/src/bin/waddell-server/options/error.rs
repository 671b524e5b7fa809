//! The error for an option that cannot be used.

/// An option that cannot be used. The message is one line that names the option.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct OptionsError(pub(super) String);
