//! What operators see: the admin port and its pages.
//!
//! This wing reads the state of `entry`, `forward` and the ground floor, and changes none of it.

pub(crate) mod admin;
