//! The client against a small server made of the same core, in memory where possible.

mod checked;
mod close;
#[cfg(feature = "cli")]
mod command;
mod connect;
mod ending;
mod fake_server;
mod ice;
mod manager;
mod peers;
mod reconnect;
mod resume;
mod token;
mod topics;
mod transports;
mod upgrade;
