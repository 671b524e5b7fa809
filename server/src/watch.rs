//! What operators see.

pub(crate) mod admin;
pub(crate) mod flood;
