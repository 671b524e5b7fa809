//! A server's life: bind, run, reload, shut down.
//!
//! This wing holds the others together. It knows all of them, and none knows it. The phases of a
//! shutdown are in [`crate::shutdown`], on the ground floor, because connections look at them.

pub(crate) mod reload;
pub(crate) mod server;
pub(crate) mod workers;
