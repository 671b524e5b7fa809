//! The client against a small server made of the same core, in memory where possible.

mod checked;
mod close;
#[cfg(feature = "cli")]
mod command;
mod connect;
mod fake_server;
mod manager;
mod reconnect;
mod topics;
mod transports;
mod upgrade;
