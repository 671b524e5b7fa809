//! URLs of STUN and TURN servers.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::Serialize;

/// The URL of a STUN or TURN server, such as `stun:stun.example.org` or
/// `turns:turn.example.org:5349?transport=tcp`. Sources: RFC 7064 and RFC 7065.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct IceUrl {
    text: String,
    #[serde(skip)]
    kind: IceKind,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceKind {
    /// `stun:` or `stuns:`. It tells a client the address that others see.
    Stun,
    /// `turn:` or `turns:`. It carries what clients cannot send each other directly.
    Turn,
}

/// Why a text is not the URL of a STUN or TURN server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIceUrlError {
    /// The scheme is another one, or there is none.
    #[error("expected stun:, stuns:, turn: or turns:, such as turn:turn.example.org:3478")]
    Scheme,
    /// There are slashes behind the scheme.
    #[error("such a URL has no slashes: write stun:stun.example.org")]
    Slashes,
    /// There is a user's name before the host.
    #[error("a name or a password does not belong in it; the server makes them for TURN")]
    User,
    /// The host is neither a name nor an address.
    #[error("expected a host name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// There is a query other than the transport of TURN.
    #[error("only a TURN server may have a query: ?transport=udp or ?transport=tcp")]
    Query,
}

impl IceUrl {
    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns what the server is for.
    pub const fn kind(&self) -> IceKind {
        self.kind
    }
}

impl FromStr for IceUrl {
    type Err = ParseIceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or(ParseIceUrlError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let kind = match &*scheme {
            "stun" | "stuns" => IceKind::Stun,
            "turn" | "turns" => IceKind::Turn,
            _ => return Err(ParseIceUrlError::Scheme),
        };
        if rest.starts_with('/') {
            return Err(ParseIceUrlError::Slashes);
        }
        if rest.contains('@') {
            return Err(ParseIceUrlError::User);
        }
        let address = match (kind, rest.split_once('?')) {
            (_, None) => rest,
            (IceKind::Turn, Some((address, "transport=udp" | "transport=tcp"))) => address,
            (IceKind::Turn | IceKind::Stun, Some(_)) => return Err(ParseIceUrlError::Query),
        };
        let (host, port) = split_port(address);
        if !is_host(host) {
            return Err(ParseIceUrlError::Host);
        }
        if port.is_some_and(|port| !is_port(port)) {
            return Err(ParseIceUrlError::Port);
        }
        Ok(Self { text: format!("{scheme}:{rest}"), kind })
    }
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the host, and the port if there is one. The colons of an IPv6 address are in brackets.
fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (address, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // The name of the root of all names ends with a dot.
    let labels = host.strip_suffix('.').unwrap_or(host);
    labels.split('.').all(|label| !label.is_empty() && label.bytes().all(is_letter))
}

/// Returns whether this is a port's number, in digits only.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|it| it > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_kinds_are_accepted() {
        for (text, kind) in [
            ("stun:stun.example.org", IceKind::Stun),
            ("stun:stun.example.org.:3478", IceKind::Stun),
            ("stuns:192.0.2.1:5349", IceKind::Stun),
            ("stun:[2001:db8::1]", IceKind::Stun),
            ("turn:localhost", IceKind::Turn),
            ("turn:turn.example.org:3478?transport=udp", IceKind::Turn),
            ("turns:[2001:db8::1]:443?transport=tcp", IceKind::Turn),
        ] {
            let url: IceUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.kind()), (text, kind));
            assert_eq!(serde_json::to_string(&url).unwrap(), format!("{text:?}"));
        }
        assert_eq!("TURN:a".parse::<IceUrl>().unwrap().to_string(), "turn:a");
    }

    #[test]
    fn other_texts_have_an_error_that_says_what_is_wrong() {
        for (text, expected) in [
            ("", ParseIceUrlError::Scheme),
            ("stun.example.org", ParseIceUrlError::Scheme),
            ("https://example.org", ParseIceUrlError::Scheme),
            ("stun://stun.example.org", ParseIceUrlError::Slashes),
            ("turn:user:word@turn.example.org", ParseIceUrlError::User),
            ("stun:", ParseIceUrlError::Host),
            ("stun:.", ParseIceUrlError::Host),
            ("stun::3478", ParseIceUrlError::Host),
            ("stun:a..b", ParseIceUrlError::Host),
            ("stun:a b", ParseIceUrlError::Host),
            ("stun:a\"b", ParseIceUrlError::Host),
            ("stun:a/b", ParseIceUrlError::Host),
            ("stun:2001:db8::1", ParseIceUrlError::Host),
            ("stun:[2001:db8::g]", ParseIceUrlError::Host),
            ("stun:[::1", ParseIceUrlError::Host),
            ("stun:b\u{fc}cher.example", ParseIceUrlError::Host),
            ("stun:a:", ParseIceUrlError::Port),
            ("stun:a:0", ParseIceUrlError::Port),
            ("stun:a:+1", ParseIceUrlError::Port),
            ("stun:a:65536", ParseIceUrlError::Port),
            ("stun:a?transport=udp", ParseIceUrlError::Query),
            ("turn:a?transport=sctp", ParseIceUrlError::Query),
            ("turn:a?transport=udp&x=1", ParseIceUrlError::Query),
        ] {
            assert_eq!(text.parse::<IceUrl>(), Err(expected), "{text}");
        }
    }
}
