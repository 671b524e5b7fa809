//! What the tests of this workspace share.

pub mod checks;
pub mod rng;
pub mod simulation;
pub mod vectors;
