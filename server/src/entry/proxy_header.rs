//! The header of the PROXY protocol, version 1 and 2: whom a proxy speaks for.
//!
//! ```text
//!   version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n
//!   version 2   signature 12 | version, command 1 | family, protocol 1 | length 2 | addresses
//! ```
//!
//! Source: HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::forward::proxy_watch::SIGNATURE_V2 as V2;

/// What the beginning of a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Too little to tell.
    Open,
    /// Something else than a header.
    Other,
    /// A header, and perhaps what comes after it.
    Header(Header),
    /// The beginning of a header, and then none.
    Broken,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// How many bytes it takes.
    pub(crate) len: usize,
    /// The client's address; `None` if it is the proxy that speaks, or someone without an address.
    pub(crate) client: Option<IpAddr>,
}

/// Longest header that is taken, in bytes: nginx's figure. Addresses take 232 of them at most, and
/// what follows them is skipped.
pub(crate) const MAX_LEN: usize = 4096;

const V1: &[u8] = b"PROXY ";

/// Longest header of version 1, in bytes, its end of line included.
const MAX_V1_LEN: usize = 107;

/// Length of what every header of version 2 has, in bytes.
const V2_LEN: usize = 16;

impl Start {
    /// Looks at the beginning of a stream. More of it changes nothing but [`Start::Open`], and
    /// 4,096 bytes are enough to tell.
    pub(crate) fn of(stream: &[u8]) -> Self {
        if stream.starts_with(V1) {
            return version_1(stream);
        }
        if stream.starts_with(V2) {
            return version_2(stream);
        }
        let could_be = |signature: &[u8]| signature.starts_with(stream);
        if could_be(V1) || could_be(V2) { Self::Open } else { Self::Other }
    }
}

fn version_1(stream: &[u8]) -> Start {
    let line = &stream[..stream.len().min(MAX_V1_LEN)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() < MAX_V1_LEN { Start::Open } else { Start::Broken };
    };
    match line_1(&line[V1.len()..end]) {
        Some(client) => Start::Header(Header { len: end + 2, client }),
        None => Start::Broken,
    }
}

/// Reads what comes after `PROXY `; `None` if it is not as it should be.
fn line_1(line: &[u8]) -> Option<Option<IpAddr>> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let client = match words.next()? {
        "TCP4" => addresses_1::<Ipv4Addr>(&mut words)?,
        "TCP6" => addresses_1::<Ipv6Addr>(&mut words)?,
        // Whatever follows is of no concern.
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    words.next().is_none().then_some(Some(client))
}

/// Reads `source destination port port`, and returns the source.
fn addresses_1<'a, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<IpAddr> {
    let source: A = words.next()?.parse().ok()?;
    let _destination: A = words.next()?.parse().ok()?;
    for _ in 0..2 {
        let port = words.next()?;
        // A sign would be parsed as well.
        if !port.starts_with(|c: char| c.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return None;
        }
    }
    Some(source.into().to_canonical())
}

fn version_2(stream: &[u8]) -> Start {
    let Some((head, rest)) = stream.split_at_checked(V2_LEN) else { return Start::Open };
    let (command, family) = (head[12], head[13]);
    let block_len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let len = V2_LEN + block_len;
    if len > MAX_LEN {
        return Start::Broken;
    }
    let Some(block) = rest.get(..block_len) else { return Start::Open };
    let client = match command {
        // The proxy speaks for itself, to see whether anybody is there; the rest says nothing.
        0x20 => Some(None),
        0x21 => source_2(family, block),
        _ => None,
    };
    client.map_or(Start::Broken, |client| Start::Header(Header { len, client }))
}

/// Reads the source out of a block of addresses; `None` if it is not as it should be.
fn source_2(family: u8, block: &[u8]) -> Option<Option<IpAddr>> {
    let client: IpAddr = match family {
        // TCP over IPv4 or IPv6: source, destination, two ports.
        0x11 => block.get(..12)?.first_chunk::<4>().copied()?.into(),
        0x21 => block.get(..36)?.first_chunk::<16>().copied()?.into(),
        // Unspecified, datagrams, Unix's sockets: nothing that a client could come from.
        0x00..=0x02 | 0x10 | 0x12 | 0x20 | 0x22 | 0x30..=0x32 => return Some(None),
        _ => return None,
    };
    Some(Some(client.to_canonical()))
}
