//! What operators see.

pub(crate) mod admin;
