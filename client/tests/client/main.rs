//! The client against a small relay that is made of the same core, in memory where that will do.

mod close;
#[cfg(feature = "cli")]
mod command;
mod connect;
mod manager;
mod reconnect;
mod relay;
mod topics;
mod transports;
