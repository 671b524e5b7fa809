//! A server and peers on real sockets: every transport, every limit, every end of a connection.

mod auto;
mod certificates;
mod closing;
mod dashboard;
mod extension;
mod frames;
mod http;
mod ice;
mod limits;
mod memory;
mod native;
mod operators;
mod peers;
mod proxies;
mod refusals;
mod reload;
mod restart;
mod resume;
mod shutdown;
mod slow;
mod support;
mod transports;
mod unfinished;
mod upgrade;
mod vanished;
mod websocket;
