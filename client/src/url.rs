//! Address of a server: scheme, host, port and path.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Address of a server: `tcp://HOST[:PORT]`, `tls://HOST[:PORT]`, `ws://HOST[:PORT][/PATH]` or
/// `wss://HOST[:PORT][/PATH]`.
///
/// Without a port: 62443 for `tcp` and `tls`, 62480 for `ws` and `wss`. Without a path: `/ws`.
/// Write an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    scheme: Scheme,
    /// Host name or IP address, without brackets.
    host: String,
    port: u16,
    /// Path and query of a WebSocket; empty otherwise.
    path: String,
}

/// Transport of the frames.
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

    /// Returns whether the frames are sent in WebSocket messages.
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
    /// Returns the transport of the frames.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host name or IP address; an IPv6 address without brackets.
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
    /// Writes the address with its port and path, defaults included.
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
            return Err("the path must be plain ASCII without spaces or '#'");
        }
        path if path.starts_with('?') => format!("{DEFAULT_PATH}{path}"),
        path => path.to_owned(),
    };
    Ok(ServerUrl { scheme, host: host.to_owned(), port, path })
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse_authority(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the closing bracket is missing")?;
        host.parse::<Ipv6Addr>().map_err(|_| "the text in brackets must be an IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("only a port may follow the bracket"),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err("write an IPv6 address in brackets");
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

/// A text that is not a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a server's address such as tcp://host:62443 or wss://host/ws: {problem}")]
pub struct ParseServerUrlError {
    url: String,
    problem: &'static str,
}

/// Port of `tcp` and `tls` listeners, as in waddell.
const DEFAULT_PORT: u16 = 62_443;

/// Port of `ws` and `wss` listeners.
const DEFAULT_WEBSOCKET_PORT: u16 = 62_480;

/// Path at which a waddell server accepts WebSockets.
const DEFAULT_PATH: &str = "/ws";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_paths_have_defaults() {
        for (url, full) in [
            ("tcp://server", "tcp://server:62443"),
            ("tls://server/", "tls://server:62443"),
            ("ws://server", "ws://server:62480/ws"),
            ("WSS://server:443", "wss://server:443/ws"),
            ("ws://server/", "ws://server:62480/"),
            ("ws://server/deep/er?token=1", "ws://server:62480/deep/er?token=1"),
            ("ws://server?token=1", "ws://server:62480/ws?token=1"),
            ("tcp://[::1]", "tcp://[::1]:62443"),
            ("wss://[::1]:8443/x", "wss://[::1]:8443/x"),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
        ] {
            let parsed: ServerUrl = url.parse().unwrap();
            assert_eq!(parsed.to_string(), full);
            assert_eq!(full.parse(), Ok(parsed), "the written address reads back");
        }
    }

    #[test]
    fn other_text_is_refused_with_the_reason() {
        for (url, problem) in [
            ("server:62443", "must begin with"),
            ("http://server", "must begin with"),
            ("tcp://", "host is missing"),
            ("tcp://:1", "host is missing"),
            ("tcp://server:", "from 1 to 65535"),
            ("tcp://server:0", "from 1 to 65535"),
            ("tcp://server:65536", "from 1 to 65535"),
            ("tcp://::1", "in brackets"),
            ("tcp://[::1", "closing bracket is missing"),
            ("tcp://[server]", "must be an IPv6 address"),
            ("tcp://[::1]1", "only a port"),
            ("tcp://server/ws", "have no path"),
            ("tcp://a b", "must be a name"),
            ("ws://server/a b", "plain ASCII"),
            ("ws://server/#x", "plain ASCII"),
            ("wss://user:secret@server", "not supported"),
        ] {
            let error = url.parse::<ServerUrl>().unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
