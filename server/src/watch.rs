//! What operators see: the admin port and its pages.
//!
//! This wing reads the state of the wings `entry` and `forward` and changes none of it.

pub(crate) mod admin;
