//! A server's life: bind, run, reload, shut down.
//!
//! This wing imports from all others, and none imports from it. The phases of a shutdown are in
//! [`crate::shutdown`], on the ground floor, because connections look at them.

pub(crate) mod reload;
pub(crate) mod server;
pub(crate) mod workers;
