//! The header of the PROXY protocol, version 1 and 2: whom a proxy speaks for.
//!
//! ```text
//!   version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n
//!   version 2   signature 12 | version, command 1 | family, protocol 1 | length 2 | addresses, extras
//! ```
//!
//! Source: HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

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
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

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

/// Looks for a header at the beginning of a stream of frames, where there is none to be: on `tcp`
/// connections whose client waits for the greeting, from addresses that are not listed.
///
/// It takes so much of each version for a header as no frame to an id that was ever handed out can
/// begin with: the bits that say that a UUID is a random one are others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// Those of [`Watch::TELLS`] that the stream begins with so far, one bit each.
    open: u8,
    /// How many bytes of them it has.
    seen: u8,
}

impl Watch {
    const TELLS: [&[u8]; 3] = [b"PROXY TCP", b"PROXY UNKNO", V2];

    /// A watch over a stream of which nothing has come yet; the default is over already.
    pub(crate) const fn new() -> Self {
        Self { open: (1 << Self::TELLS.len()) - 1, seen: 0 }
    }

    /// Looks at what comes next; returns whether that makes a header of the beginning.
    pub(crate) fn finds_header(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.open == 0 {
                return false;
            }
            for (number, tell) in Self::TELLS.iter().enumerate() {
                if tell.get(usize::from(self.seen)) != Some(byte) {
                    self.open &= !(1 << number);
                } else if self.open & (1 << number) != 0 && tell.len() == usize::from(self.seen) + 1
                {
                    self.open = 0;
                    return true;
                }
            }
            self.seen += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNATURE: &str = "0d0a0d0a000d0a515549540a";

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        let pairs = digits.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn v2(rest: &str) -> Vec<u8> {
        [hex(SIGNATURE), hex(rest)].concat()
    }

    fn header(len: usize, client: &str) -> Start {
        let client = (!client.is_empty()).then(|| client.parse().unwrap());
        Start::Header(Header { len, client })
    }

    /// Headers, and the clients that they name.
    fn headers() -> Vec<(Vec<u8>, &'static str)> {
        let text = |line: &str| format!("{line}\r\n").into_bytes();
        let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535", ["ffff"; 8].join(":"));
        assert_eq!(longest.len() + 2, MAX_V1_LEN);
        let tlv = "03 0004 00000000 20 0005 0100000000";
        vec![
            // The lines of section 2.1.
            (text("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443"), "192.168.0.1"),
            (text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535"), "255.255.255.255"),
            (text("PROXY TCP6 2001:db8::1 2001:db8::2 1 0"), "2001:db8::1"),
            (text("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2"), "192.0.2.1"),
            (text("PROXY UNKNOWN"), ""),
            (text(&longest), ""),
            // PROXY, TCP over IPv4: 192.0.2.1 to 198.51.100.2, ports 4660 and 443.
            (v2("21 11 000c c0000201 c6336402 1234 01bb"), "192.0.2.1"),
            (v2(&format!("21 11 001b c0000201 c6336402 1234 01bb {tlv}")), "192.0.2.1"),
            (
                v2("21 21 0024 20010db8000000000000000000000001 \
                    20010db8000000000000000000000002 1234 01bb"),
                "2001:db8::1",
            ),
            (v2(&format!("21 31 00d8 {}", "2f".repeat(216))), ""),
            (v2("21 12 000c c0000201 c6336402 1234 01bb"), ""),
            (v2("21 00 0000"), ""),
            (v2("21 00 0003 010203"), ""),
            // LOCAL, whatever the family; with and without something to skip.
            (v2("20 00 0000"), ""),
            (v2("20 11 000c c0000201 c6336402 1234 01bb"), ""),
            (v2("20 ff 0001 00"), ""),
        ]
    }

    #[test]
    fn headers_name_their_clients() {
        for (bytes, client) in headers() {
            let shown = bytes.escape_ascii();
            assert_eq!(Start::of(&bytes), header(bytes.len(), client), "{shown}");
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(Start::of(&more), header(bytes.len(), client), "{shown}");
            for len in 0..bytes.len() {
                assert_eq!(Start::of(&bytes[..len]), Start::Open, "{len} bytes of {shown}");
            }
        }
    }

    #[test]
    fn what_only_begins_as_a_header_is_broken() {
        let lines = [
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4 \u{663}.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nGET / HTTP/1.1\r\n",
        ];
        for line in lines {
            assert_eq!(Start::of(line.as_bytes()), Start::Broken, "{line:?}");
        }
        let endless = [V1, &[b'1'; MAX_V1_LEN - V1.len()]].concat();
        assert_eq!(Start::of(&endless[..MAX_V1_LEN - 1]), Start::Open);
        assert_eq!(Start::of(&endless), Start::Broken);
        for rest in [
            "11 11 000c c0000201 c6336402 1234 01bb",
            "22 11 000c c0000201 c6336402 1234 01bb",
            "21 13 000c c0000201 c6336402 1234 01bb",
            "21 41 000c c0000201 c6336402 1234 01bb",
            "21 11 000b c0000201 c6336402 1234 01",
            "21 21 000c c0000201 c6336402 1234 01bb",
            // Longer than anything that is waited for.
            "21 11 0ff1",
            "21 11 ffff",
        ] {
            assert_eq!(Start::of(&v2(rest)), Start::Broken, "{rest}");
        }
    }

    #[test]
    fn other_streams_are_told_at_the_first_byte_that_differs() {
        for (stream, told_at) in [
            (&b"GET /"[..], 1),
            (b"\x16\x03\x01", 1),
            (b"PUT /", 2),
            (b"PROXYing", 6),
            (b"PROXY\r\n", 6),
            (b"\r\nGET /", 3),
            (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
        ] {
            for len in 0..=stream.len() {
                let expected = if len < told_at { Start::Open } else { Start::Other };
                assert_eq!(Start::of(&stream[..len]), expected, "{}", stream.escape_ascii());
            }
        }
    }

    #[test]
    fn a_watch_finds_headers_and_nothing_else_in_any_pieces() {
        for (bytes, _) in headers() {
            for piece in [1, 3, 5, bytes.len()] {
                let mut watch = Watch::new();
                let found = bytes.chunks(piece).filter(|bytes| watch.finds_header(bytes)).count();
                assert_eq!(found, 1, "{} by {piece}", bytes.escape_ascii());
            }
            let mut late = Watch::new();
            assert!(!late.finds_header(b"x") && !late.finds_header(&bytes));
            assert!(!Watch::default().finds_header(&bytes));
        }
        for other in [&b"PROXY UNKNELL"[..], b"PROXY T", b"PROXY\0TCP4", b"\r\n\r\n\0\r\nQUIT\r"] {
            assert!(!Watch::new().finds_header(other), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn no_frame_to_a_random_id_begins_as_a_header() {
        for tell in Watch::TELLS {
            // Where the version of a UUID and its variant are in the first frame of a stream.
            let version = tell.get(2 + 6).map(|byte| byte >> 4);
            let variant = tell.get(2 + 8).map(|byte| byte >> 6);
            assert!(version.is_some_and(|it| it != 4) || variant.is_some_and(|it| it != 2));
        }
    }

    fn beginning() -> impl Strategy<Value = Vec<u8>> {
        let signatures = prop::sample::select(vec![&b""[..], V1, b"PROXY TCP4 ", V2]);
        let bytes = prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b' '), Just(b'\r'), Just(b'\n'), Just(0x21)],
            0..300,
        );
        (signatures, bytes).prop_map(|(signature, bytes)| [signature, &bytes].concat())
    }

    proptest! {
        #[test]
        fn what_is_told_stays_told(stream in beginning()) {
            let mut told = None;
            for len in 0..=stream.len() {
                match (told, Start::of(&stream[..len])) {
                    (None, Start::Open) => {}
                    (None, start) => told = Some(start),
                    (Some(told), start) => prop_assert_eq!(told, start),
                }
                if let Some(Start::Header(header)) = told {
                    prop_assert!(header.len <= len);
                }
            }
        }
    }
}
