//! The header of the PROXY protocol, version 1 and 2, in which a proxy names its client.
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

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Too few bytes to decide.
    Incomplete,
    /// No header.
    Other,
    /// A whole header; other bytes may follow it.
    Header(Header),
    /// A malformed header.
    Broken,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length in bytes.
    pub(crate) len: usize,
    /// The client's address; `None` for a connection of the proxy itself, or without an address.
    pub(crate) client: Option<IpAddr>,
}

/// Longest header that is accepted, in bytes: the same as nginx's. It includes at most 232 bytes of
/// addresses; the bytes after them are skipped.
pub(crate) const MAX_LEN: usize = 4096;

const V1: &[u8] = b"PROXY ";

/// Longest header of version 1, in bytes, its end of line included.
const MAX_V1_LEN: usize = 107;

/// Length of the part that every header of version 2 has, in bytes.
const V2_LEN: usize = 16;

impl Start {
    /// Classifies a stream by its first bytes. More bytes change only [`Start::Incomplete`], and
    /// 4,096 bytes are enough to decide.
    pub(crate) fn of(stream: &[u8]) -> Self {
        if stream.starts_with(V1) {
            return read_v1(stream);
        }
        if stream.starts_with(V2) {
            return read_v2(stream);
        }
        let could_be = |signature: &[u8]| signature.starts_with(stream);
        if could_be(V1) || could_be(V2) { Self::Incomplete } else { Self::Other }
    }
}

fn read_v1(stream: &[u8]) -> Start {
    let line = &stream[..stream.len().min(MAX_V1_LEN)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() < MAX_V1_LEN { Start::Incomplete } else { Start::Broken };
    };
    match v1_client(&line[V1.len()..end]) {
        Some(client) => Start::Header(Header { len: end + 2, client }),
        None => Start::Broken,
    }
}

/// Returns the client in the line after `PROXY `; `None` if the line is malformed.
fn v1_client(line: &[u8]) -> Option<Option<IpAddr>> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let client = match words.next()? {
        "TCP4" => v1_source::<Ipv4Addr>(&mut words)?,
        "TCP6" => v1_source::<Ipv6Addr>(&mut words)?,
        // The rest of the line is ignored.
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    words.next().is_none().then_some(Some(client))
}

/// Reads `source destination port port`, and returns the source.
fn v1_source<'a, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<IpAddr> {
    let source: A = words.next()?.parse().ok()?;
    let _destination: A = words.next()?.parse().ok()?;
    for _ in 0..2 {
        let port = words.next()?;
        // `parse` accepts a sign too.
        if !port.starts_with(|c: char| c.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return None;
        }
    }
    Some(source.into().to_canonical())
}

fn read_v2(stream: &[u8]) -> Start {
    let Some((head, rest)) = stream.split_at_checked(V2_LEN) else { return Start::Incomplete };
    let (command, family) = (head[12], head[13]);
    let block_len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let len = V2_LEN + block_len;
    if len > MAX_LEN {
        return Start::Broken;
    }
    let Some(block) = rest.get(..block_len) else { return Start::Incomplete };
    let client = match command {
        // LOCAL: the proxy's own connection, such as a health check. The rest is ignored.
        0x20 => Some(None),
        0x21 => v2_client(family, block),
        _ => None,
    };
    client.map_or(Start::Broken, |client| Start::Header(Header { len, client }))
}

/// Returns the source in a block of addresses; `None` if the block is malformed.
fn v2_client(family: u8, block: &[u8]) -> Option<Option<IpAddr>> {
    let client: IpAddr = match family {
        // TCP over IPv4 or IPv6: source, destination, two ports.
        0x11 => block.get(..12)?.first_chunk::<4>().copied()?.into(),
        0x21 => block.get(..36)?.first_chunk::<16>().copied()?.into(),
        // Unspecified, datagrams, Unix sockets: no client has such an address.
        0x00..=0x02 | 0x10 | 0x12 | 0x20 | 0x22 | 0x30..=0x32 => return Some(None),
        _ => return None,
    };
    Some(Some(client.to_canonical()))
}
