//! What the tests of this workspace share.

pub mod checks;
pub mod vectors;
