//! What holds the server together.

pub(crate) mod drain;
pub(crate) mod reload;
pub(crate) mod server;
pub(crate) mod shared;
pub(crate) mod workers;
