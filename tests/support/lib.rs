//! The test kit: modules that the tests, the soak test, the benchmark and the fuzz targets share.

#[cfg(feature = "certificate")]
pub mod certificate;
pub mod checks;
pub mod histogram;
#[cfg(feature = "peer")]
pub mod peer;
pub mod process;
pub mod rng;
pub mod simulation;
pub mod stamp;
pub mod transport;
pub mod usage;
pub mod vectors;

/// The README's examples, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
