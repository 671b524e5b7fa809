//! The test kit: modules that the tests, the soak test, the benchmark and the fuzz targets share.
//!
//! ```text
//!   checks       checks of the core for any input
//!   vectors      the golden bytes
//!   rng          random numbers that replay from a seed
//!   histogram    distribution of times
//!   stamp        bodies that carry sender, recipient and sequence number
//!   process      a server as a process of its own
//!   usage        CPU, memory and descriptors of a process
//!   transport    ways to reach a server
//!   certificate  certificates, and clients that trust them  (feature `certificate`)
//!   peer         a connected peer over a real socket        (feature `peer`)
//! ```
//!
//! Without features there are few dependencies, for the fuzz targets.

#[cfg(feature = "certificate")]
pub mod certificate;
pub mod checks;
pub mod histogram;
#[cfg(feature = "peer")]
pub mod peer;
pub mod process;
pub mod rng;
pub mod stamp;
pub mod transport;
pub mod usage;
pub mod vectors;

/// The README's examples, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
