//! Address and protocol of the server under load.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Address of a server: `tcp://`, `tls://`, `ws://`, `wss://` (all waddell's frames) or `nats://`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    pub(crate) address: SocketAddr,
    /// Host and port, as in a `Host` header.
    pub(crate) authority: String,
    /// Path of a WebSocket.
    pub(crate) path: String,
}

/// Protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Waddell,
    /// waddell's frames in binary WebSocket messages; this side sends one frame in each.
    WebSocket,
    /// The text protocol of NATS. Every peer subscribes to a subject of its own.
    Nats,
}

impl Target {
    /// Returns the name or address of the machine, without the port.
    pub(crate) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let problem =
            |why: &str| format!("{url:?} is not an address such as tcp://HOST:PORT: {why}");
        let schemes = "it must begin with tcp://, tls://, ws://, wss:// or nats://";
        let (scheme, rest) = url.split_once("://").ok_or_else(|| problem(schemes))?;
        let (protocol, tls) = match scheme {
            "tcp" => (Protocol::Waddell, false),
            "tls" => (Protocol::Waddell, true),
            "ws" => (Protocol::WebSocket, false),
            "wss" => (Protocol::WebSocket, true),
            "nats" => (Protocol::Nats, false),
            _other => return Err(problem(schemes)),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/ws" } else { path };
        let address = authority
            .to_socket_addrs()
            .map_err(|error| problem(&error.to_string()))?
            .next()
            .ok_or_else(|| problem("the name has no address"))?;
        Ok(Self {
            url: url.to_owned(),
            protocol,
            tls,
            address,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}
