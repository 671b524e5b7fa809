//! The client against a small server made of the same core, in memory where possible.

mod close;
#[cfg(feature = "cli")]
mod command;
mod connect;
mod manager;
mod reconnect;
mod relay;
mod topics;
mod transports;
