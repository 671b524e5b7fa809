//! Where a server listens, and how to speak to it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Address of a server: `tcp://HOST[:PORT]`, `tls://HOST[:PORT]`, `ws://HOST[:PORT][/PATH]` or
/// `wss://HOST[:PORT][/PATH]`.
///
/// Without a port: 62443 for `tcp` and `tls`, 62480 for `ws` and `wss`. Without a path: `/ws`.
/// An IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    scheme: Scheme,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    /// Path and query of a WebSocket; empty otherwise.
    path: String,
}

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Bare TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// Returns whether the connection is encrypted.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Returns whether the frames travel inside WebSocket messages.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

impl ServerUrl {
    /// Returns what carries the frames.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the name or address of the server's machine, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path and query of a WebSocket; empty for `tcp` and `tls`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ServerUrl {
    /// Writes the address with its port and path, given or not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path } = self;
        let scheme = scheme.as_str();
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

impl FromStr for ServerUrl {
    type Err = ParseServerUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        parse(url).map_err(|problem| ParseServerUrlError { url: url.to_owned(), problem })
    }
}

fn parse(url: &str) -> Result<ServerUrl, &'static str> {
    let (scheme, rest) =
        url.split_once("://").ok_or("it must begin with tcp://, tls://, ws:// or wss://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "tcp" => Scheme::Tcp,
        "tls" => Scheme::Tls,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        _other => return Err("it must begin with tcp://, tls://, ws:// or wss://"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("user names and passwords are not supported");
    }
    let (host, port) = parse_authority(authority)?;
    let port = match port {
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err("the port must be a number from 1 to 65535"),
            Ok(port) => port,
        },
        None if scheme.is_websocket() => DEFAULT_WEBSOCKET_PORT,
        None => DEFAULT_PORT,
    };
    let path = match path {
        "" if scheme.is_websocket() => DEFAULT_PATH.to_owned(),
        "" | "/" if !scheme.is_websocket() => String::new(),
        _ if !scheme.is_websocket() => return Err("tcp and tls addresses have no path"),
        path if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') => {
            return Err("the path must be plain ASCII without spaces and '#'");
        }
        path if path.starts_with('?') => format!("{DEFAULT_PATH}{path}"),
        path => path.to_owned(),
    };
    Ok(ServerUrl { scheme, host: host.to_owned(), port, path })
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse_authority(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is never closed")?;
        host.parse::<Ipv6Addr>().map_err(|_| "in brackets there must be an IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("after the bracket there may only be a port"),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err("an IPv6 address must stand in brackets");
        }
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err("the host must be a name of ASCII letters, digits, '-', '.' and '_'");
    }
    Ok((host, port))
}

/// The text is not a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a server's address such as tcp://host:62443 or wss://host/ws: {problem}")]
pub struct ParseServerUrlError {
    url: String,
    problem: &'static str,
}

/// The port of `tcp` and `tls` listeners; waddell's.
const DEFAULT_PORT: u16 = 62_443;

/// The port of `ws` and `wss` listeners.
const DEFAULT_WEBSOCKET_PORT: u16 = 62_480;

/// Where a waddell server accepts WebSockets.
const DEFAULT_PATH: &str = "/ws";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_paths_have_defaults() {
        for (url, full) in [
            ("tcp://relay", "tcp://relay:62443"),
            ("tls://relay/", "tls://relay:62443"),
            ("ws://relay", "ws://relay:62480/ws"),
            ("WSS://relay:443", "wss://relay:443/ws"),
            ("ws://relay/", "ws://relay:62480/"),
            ("ws://relay/deep/er?token=1", "ws://relay:62480/deep/er?token=1"),
            ("ws://relay?token=1", "ws://relay:62480/ws?token=1"),
            ("tcp://[::1]", "tcp://[::1]:62443"),
            ("wss://[::1]:8443/x", "wss://[::1]:8443/x"),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
        ] {
            let parsed: ServerUrl = url.parse().unwrap();
            assert_eq!(parsed.to_string(), full);
            assert_eq!(full.parse(), Ok(parsed), "what is written reads back");
        }
    }

    #[test]
    fn other_text_is_refused_with_the_reason() {
        for (url, problem) in [
            ("relay:62443", "must begin with"),
            ("http://relay", "must begin with"),
            ("tcp://", "host is missing"),
            ("tcp://:1", "host is missing"),
            ("tcp://relay:", "from 1 to 65535"),
            ("tcp://relay:0", "from 1 to 65535"),
            ("tcp://relay:65536", "from 1 to 65535"),
            ("tcp://::1", "must stand in brackets"),
            ("tcp://[::1", "never closed"),
            ("tcp://[relay]", "must be an IPv6 address"),
            ("tcp://[::1]1", "only be a port"),
            ("tcp://relay/ws", "have no path"),
            ("tcp://a b", "must be a name"),
            ("ws://relay/a b", "plain ASCII"),
            ("ws://relay/#x", "plain ASCII"),
            ("wss://user:secret@relay", "not supported"),
        ] {
            let error = url.parse::<ServerUrl>().unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
