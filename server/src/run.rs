//! What holds the server together.

pub(crate) mod reload;
pub(crate) mod server;
pub(crate) mod workers;
