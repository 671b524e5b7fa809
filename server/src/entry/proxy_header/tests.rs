//! Golden headers, and streams of all kinds that are cut anywhere.

use proptest::prelude::*;

use super::*;
use crate::forward::proxy_watch::ProxyWatch;

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
        // LOCAL, of any family, with and without bytes to skip.
        (v2("20 00 0000"), ""),
        (v2("20 11 000c c0000201 c6336402 1234 01bb"), ""),
        (v2("20 ff 0001 00"), ""),
    ]
}

#[test]
fn headers_name_their_client() {
    for (bytes, client) in headers() {
        let shown = bytes.escape_ascii();
        assert_eq!(Start::of(&bytes), header(bytes.len(), client), "{shown}");
        let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(Start::of(&more), header(bytes.len(), client), "{shown}");
        for len in 0..bytes.len() {
            assert_eq!(Start::of(&bytes[..len]), Start::Incomplete, "{len} bytes of {shown}");
        }
    }
}

#[test]
fn malformed_headers_are_broken() {
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
    assert_eq!(Start::of(&endless[..MAX_V1_LEN - 1]), Start::Incomplete);
    assert_eq!(Start::of(&endless), Start::Broken);
    for rest in [
        "11 11 000c c0000201 c6336402 1234 01bb",
        "22 11 000c c0000201 c6336402 1234 01bb",
        "21 13 000c c0000201 c6336402 1234 01bb",
        "21 41 000c c0000201 c6336402 1234 01bb",
        "21 11 000b c0000201 c6336402 1234 01",
        "21 21 000c c0000201 c6336402 1234 01bb",
        // Longer than the longest header that is accepted.
        "21 11 0ff1",
        "21 11 ffff",
    ] {
        assert_eq!(Start::of(&v2(rest)), Start::Broken, "{rest}");
    }
}

#[test]
fn other_streams_are_recognized_at_the_first_byte_that_differs() {
    for (stream, decided_at) in [
        (&b"GET /"[..], 1),
        (b"\x16\x03\x01", 1),
        (b"PUT /", 2),
        (b"PROXYing", 6),
        (b"PROXY\r\n", 6),
        (b"\r\nGET /", 3),
        (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
    ] {
        for len in 0..=stream.len() {
            let expected = if len < decided_at { Start::Incomplete } else { Start::Other };
            assert_eq!(Start::of(&stream[..len]), expected, "{}", stream.escape_ascii());
        }
    }
}

#[test]
fn a_proxy_watch_finds_headers_in_any_pieces_and_nothing_else() {
    for (bytes, _) in headers() {
        for piece in [1, 3, 5, bytes.len()] {
            let mut watch = ProxyWatch::new();
            let found = bytes.chunks(piece).filter(|bytes| watch.finds_header(bytes)).count();
            assert_eq!(found, 1, "{} by {piece}", bytes.escape_ascii());
        }
        let mut late = ProxyWatch::new();
        assert!(!late.finds_header(b"x") && !late.finds_header(&bytes));
        assert!(!ProxyWatch::default().finds_header(&bytes));
    }
    for other in [&b"PROXY UNKNELL"[..], b"PROXY T", b"PROXY\0TCP4", b"\r\n\r\n\0\r\nQUIT\r"] {
        assert!(!ProxyWatch::new().finds_header(other), "{}", other.escape_ascii());
    }
}

#[test]
fn no_frame_to_a_peer_begins_like_a_header() {
    for sign in ProxyWatch::SIGNS {
        // The bytes with a UUID's version and variant in the first frame of a stream.
        let version = sign.get(2 + 6).map(|byte| byte >> 4);
        let variant = sign.get(2 + 8).map(|byte| byte >> 6);
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
    fn more_bytes_do_not_change_a_decision(stream in beginning()) {
        for cut in 0..=stream.len() {
            crate::internals::proxy_header(&stream, cut);
        }
    }

    #[test]
    fn headers_are_recognized_whatever_follows(
        index in any::<prop::sample::Index>(),
        rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let headers = headers();
        let (header, _) = index.get(&headers);
        let stream = [&header[..], &rest].concat();
        for cut in 0..=stream.len() {
            crate::internals::proxy_header(&stream, cut);
        }
    }
}
