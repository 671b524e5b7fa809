//! An option that cannot be used.

/// An option that cannot be used; one line that names it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct OptionsError(pub(super) String);
