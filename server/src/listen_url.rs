//! The addresses and protocols of listeners.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// waddell's frames over TCP.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// The same inside WebSocket messages; plain HTTP is answered too.
    Ws,
    /// The same inside WebSocket messages inside TLS.
    Wss,
    /// All four on one port: each connection's first bytes, or its silence, decide.
    Auto,
}

impl Scheme {
    /// Returns the name in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Auto => "auto",
        }
    }

    /// Returns whether a listener with this scheme needs a certificate.
    pub const fn requires_certificate(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Tcp | Self::Ws | Self::Auto => false,
        }
    }

    /// Returns the scheme with TLS: `tcp` and `ws` become `tls` and `wss`, others stay.
    pub const fn secured(self) -> Self {
        match self {
            Self::Tcp => Self::Tls,
            Self::Ws => Self::Wss,
            Self::Tls | Self::Wss | Self::Auto => self,
        }
    }
}

impl FromStr for Scheme {
    type Err = ParseSchemeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "tls" => Ok(Self::Tls),
            "ws" => Ok(Self::Ws),
            "wss" => Ok(Self::Wss),
            "auto" => Ok(Self::Auto),
            _ => Err(ParseSchemeError),
        }
    }
}

/// The text is not a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::WHY)]
pub struct ParseSchemeError;

impl ParseSchemeError {
    const WHY: &str = "the scheme must be tcp, tls, ws, wss or auto";
}

/// A listener's address: `tcp://HOST:PORT`, `tls://`, `ws://`, `wss://` or `auto://`.
///
/// Without a host (`tcp://:62443`) the listener has every IPv4 address of the machine. Port 0 picks
/// a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUrl {
    /// The protocol.
    pub scheme: Scheme,
    /// `HOST:PORT`; the host is an IP address, in brackets if it is IPv6, or a name.
    pub address: String,
}

impl ListenUrl {
    /// Makes a URL of its two parts.
    ///
    /// # Errors
    ///
    /// [`ParseListenUrlError`] if `address` is not `HOST:PORT`.
    pub fn new(scheme: Scheme, address: &str) -> Result<Self, ParseListenUrlError> {
        let error =
            |why| ParseListenUrlError { text: format!("{}://{address}", scheme.as_str()), why };
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(error("the port is missing: expected HOST:PORT"));
        };
        if port.parse::<u16>().is_err() {
            return Err(error("the port is not a number from 0 to 65535"));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(error("an IPv6 address goes in brackets: [::1]:62443"));
        }
        if host.contains(['/', '@', '?', '#', ' ']) {
            return Err(error("the host contains an invalid character"));
        }
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self { scheme, address: format!("{host}:{port}") })
    }

    /// Returns the socket addresses that the host stands for, in the resolver's order.
    ///
    /// # Errors
    ///
    /// The resolver's error if it does not know the host.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok(self.address.to_socket_addrs()?.collect())
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.address)
    }
}

impl FromStr for ListenUrl {
    type Err = ParseListenUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ParseListenUrlError { text: text.to_owned(), why };
        let Some((scheme, address)) = text.split_once("://") else {
            return Err(error("expected tcp://HOST:PORT, or tls, ws, wss or auto"));
        };
        let scheme = scheme.parse().map_err(|ParseSchemeError| error(ParseSchemeError::WHY))?;
        Self::new(scheme, address.strip_suffix('/').unwrap_or(address))
    }
}

/// The text is not a listener's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {why}")]
pub struct ParseListenUrlError {
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_parsed_and_printed() {
        for (text, printed) in [
            ("tcp://127.0.0.1:62443", "tcp://127.0.0.1:62443"),
            ("tls://[::1]:0", "tls://[::1]:0"),
            ("ws://localhost:62480/", "ws://localhost:62480"),
            ("wss://:443", "wss://0.0.0.0:443"),
            ("auto://0.0.0.0:1", "auto://0.0.0.0:1"),
        ] {
            assert_eq!(text.parse::<ListenUrl>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn errors_name_the_mistake() {
        for (text, why) in [
            ("127.0.0.1:1", "expected tcp://"),
            ("http://127.0.0.1:1", "the scheme must be"),
            ("tcp://127.0.0.1", "the port is missing"),
            ("tcp://127.0.0.1:65536", "the port is not a number"),
            ("tcp://127.0.0.1:", "the port is not a number"),
            ("tcp://::1:62443", "brackets"),
            ("tcp://a/b:1", "invalid character"),
        ] {
            let error = text.parse::<ListenUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
