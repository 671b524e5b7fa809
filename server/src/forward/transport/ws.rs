//! The byte stream inside WebSocket binary messages, without a buffer per connection.
//!
//! The joined payloads of the messages are the stream. So there is no message to assemble: payload
//! bytes are unmasked in place and passed on. Only an incomplete header, or a control frame with an
//! incomplete payload, is kept. tungstenite parses and formats the headers.

use std::io::Cursor;
use std::mem;
use std::ops::Deref;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Longest header that the server writes, in bytes: it does not mask.
pub(crate) const MAX_HEADER_LEN: usize = 10;

/// Longest message whose header is the short form of 4 bytes.
pub(crate) const MAX_SHORT_MESSAGE: usize = 65_535;

/// Longest message that is accepted, in bytes: twice the longest frame.
pub(crate) const MAX_MESSAGE_LEN: u64 = 128 * 1024;

/// Longest payload of a control frame, in bytes (RFC 6455, section 5.5).
const MAX_CONTROL_LEN: u64 = 125;

/// Longest header that a client writes, in bytes: 2, length 8, mask 4.
const MAX_CLIENT_HEADER_LEN: usize = 14;

/// The header of a frame that the server sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    bytes: [u8; MAX_HEADER_LEN],
    len: u8,
}

impl Header {
    /// Returns the header of a binary message of that length, in one frame.
    pub(crate) fn binary(payload_len: usize) -> Self {
        Self::new(OpCode::Data(Data::Binary), payload_len)
    }

    fn new(opcode: OpCode, payload_len: usize) -> Self {
        let mut bytes = [0; MAX_HEADER_LEN];
        let mut rest = &mut bytes[..];
        FrameHeader { opcode, ..FrameHeader::default() }
            .format(payload_len as u64, &mut rest)
            .expect("a header without a mask is at most 10 bytes long");
        let len = MAX_HEADER_LEN - rest.len();
        Self { bytes, len: len as u8 }
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The extent of a frame that the server wrote: a whole message, or a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) header_len: usize,
    pub(crate) payload_len: usize,
    pub(crate) is_control: bool,
}

impl Extent {
    /// Reads the header at the beginning of `bytes`; `None` if it is not whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let (header, payload_len) = FrameHeader::parse(&mut cursor).ok()??;
        Some(Self {
            header_len: cursor.position() as usize,
            payload_len: payload_len as usize,
            is_control: matches!(header.opcode, OpCode::Control(_)),
        })
    }
}

/// Returns the gap to leave before a message that begins with a frame of that length, in bytes.
pub(crate) const fn header_gap(frame_len: usize) -> usize {
    if frame_len > MAX_SHORT_MESSAGE { MAX_HEADER_LEN } else { 4 }
}

/// Returns a whole ping frame without a payload.
pub(crate) fn ping() -> Vec<u8> {
    control(Control::Ping, &[])
}

/// Returns the whole frame that answers a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    control(Control::Pong, payload)
}

/// Returns a whole close frame.
pub(crate) fn close(close: Close) -> Vec<u8> {
    match close.code {
        None => control(Control::Close, &[]),
        Some(code) => {
            control(Control::Close, &[&code.to_be_bytes(), close.reason.as_bytes()].concat())
        }
    }
}

fn control(kind: Control, payload: &[u8]) -> Vec<u8> {
    let header = Header::new(OpCode::Control(kind), payload.len());
    [&header, payload].concat()
}

/// The contents of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    /// Status code; RFC 6455, section 7.4.
    pub(crate) code: Option<u16>,
    pub(crate) reason: &'static str,
}

impl Close {
    /// The server is shutting down.
    pub(crate) const GOING_AWAY: Self = Self::new(1001, "the server is shutting down");
    /// Another connection of the client has taken over its id.
    pub(crate) const SUPERSEDED: Self = Self::new(4010, "another connection has taken over the id");
    /// The credentials have expired.
    pub(crate) const EXPIRED: Self = Self::new(4002, "the credentials have expired");
    /// The credentials cannot be checked.
    pub(crate) const BUSY: Self =
        Self::new(4003, "the credentials cannot be checked at the moment");
    /// The subject has too many connections.
    pub(crate) const TOO_MANY: Self =
        Self::new(4004, "there are too many connections with this subject");
    /// The credentials are not good.
    pub(crate) const UNAUTHORIZED: Self =
        Self::new(4500, "the credentials are missing or not accepted");
    /// The client did not say HELLO.
    pub(crate) const HELLO_REQUIRED: Self =
        Self::new(4501, "this server serves only clients that authenticate themselves");
    /// The peer sent text.
    pub(crate) const TEXT: Self = Self::new(1003, "waddell accepts binary messages only");
    /// The peer is disconnected because of its behaviour, which the reason names.
    pub(crate) const fn policy(reason: &'static str) -> Self {
        Self::new(1008, reason)
    }
    /// The peer sent a message or a frame that is too long.
    pub(crate) const TOO_BIG: Self =
        Self::new(1009, "a message or a frame is longer than this server accepts");

    const fn protocol(reason: &'static str) -> Self {
        Self::new(1002, reason)
    }

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason }
    }
}

/// Extracts the payloads from the frames of a client.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of a header.
    header: [u8; MAX_CLIENT_HEADER_LEN],
    header_len: u8,
    /// Bytes of the current frame's payload that have not arrived yet.
    remaining: u32,
    /// The current frame's mask, rotated so that its first byte is for the next byte.
    mask: [u8; 4],
    /// Length of the current message so far, the current frame included; `None` between messages.
    message_len: Option<u32>,
    /// The message continues after the current frame.
    unfinished: bool,
    control: Option<Box<ControlFrame>>,
    overhead: Overhead,
}

/// What a client sent in addition to the bytes of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overhead {
    /// Frames, of all kinds.
    pub(crate) frames: usize,
    /// Bytes of their headers, and of control frames' payloads.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct ControlFrame {
    kind: Control,
    payload: Vec<u8>,
}

/// An event in the stream of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// The next bytes of the stream, unmasked.
    Bytes(&'a mut [u8]),
    /// Answer with [`pong`].
    Ping(Vec<u8>),
    Pong,
    /// The client closes. Answer with [`close`], then close the connection.
    Close(Close),
}

impl Decoder {
    /// Removes the next event from the input; `None` when the input is used up.
    ///
    /// # Errors
    ///
    /// The close frame for a client that breaks the rules; nothing further can be decoded.
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Event<'i>>, Close> {
        loop {
            if let Some(frame) = self.control.take_if(|_| self.remaining == 0) {
                return self.finish_control(*frame).map(Some);
            }
            if self.remaining == 0 {
                if self.message_len.is_some() && !self.unfinished {
                    self.message_len = None;
                }
                if !self.begin_frame(input)? {
                    return Ok(None);
                }
                continue;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let len = input.len().min(self.remaining as usize);
            let (payload, rest) = mem::take(input).split_at_mut(len);
            *input = rest;
            self.remaining -= len as u32;
            unmask(payload, &mut self.mask);
            match &mut self.control {
                Some(frame) => {
                    self.overhead.bytes += payload.len();
                    frame.payload.extend_from_slice(payload);
                }
                None => return Ok(Some(Event::Bytes(payload))),
            }
        }
    }

    /// Returns the overhead since the last call.
    pub(crate) fn take_overhead(&mut self) -> Overhead {
        mem::take(&mut self.overhead)
    }

    /// Reads a header from the input. Returns whether it was whole.
    fn begin_frame(&mut self, input: &mut &mut [u8]) -> Result<bool, Close> {
        let kept = usize::from(self.header_len);
        let taken = input.len().min(MAX_CLIENT_HEADER_LEN - kept);
        self.header[kept..kept + taken].copy_from_slice(&input[..taken]);
        let mut cursor = Cursor::new(&self.header[..kept + taken]);
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|_| Close::protocol("a frame's opcode is reserved"))?;
        let Some((header, len)) = parsed else {
            self.header_len += taken as u8;
            *input = &mut [];
            return Ok(false);
        };
        let header_len = cursor.position() as usize;
        self.overhead.frames += 1;
        self.overhead.bytes += header_len;
        let used = header_len - kept;
        *input = &mut mem::take(input)[used..];
        self.header_len = 0;
        self.admit(&header, len)?;
        Ok(true)
    }

    /// Checks a header against the rules, and makes its frame the current one.
    fn admit(&mut self, header: &FrameHeader, len: u64) -> Result<(), Close> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Close::protocol("no extension was negotiated, but a reserved bit is set"));
        }
        let Some(mask) = header.mask else {
            return Err(Close::protocol("a client's frames must be masked"));
        };
        let before = match header.opcode {
            OpCode::Control(kind) => {
                if !header.is_final || len > MAX_CONTROL_LEN {
                    return Err(Close::protocol("a control frame is fragmented or too long"));
                }
                self.control = Some(Box::new(ControlFrame { kind, payload: Vec::new() }));
                self.mask = mask;
                self.remaining = len as u32;
                return Ok(());
            }
            OpCode::Data(Data::Text) => return Err(Close::TEXT),
            OpCode::Data(Data::Continue) => {
                self.message_len.ok_or(Close::protocol("a message goes on that never began"))?
            }
            OpCode::Data(Data::Binary | Data::Reserved(_)) => match self.message_len {
                Some(_) => return Err(Close::protocol("a message begins inside another")),
                None => 0,
            },
        };
        let message_len = u64::from(before).saturating_add(len);
        if message_len > MAX_MESSAGE_LEN {
            return Err(Close::TOO_BIG);
        }
        self.message_len = Some(message_len as u32);
        self.unfinished = !header.is_final;
        self.mask = mask;
        self.remaining = len as u32;
        Ok(())
    }

    fn finish_control<'i>(&mut self, frame: ControlFrame) -> Result<Event<'i>, Close> {
        match frame.kind {
            Control::Ping => Ok(Event::Ping(frame.payload)),
            Control::Pong => Ok(Event::Pong),
            Control::Close | Control::Reserved(_) => match frame.payload.as_slice() {
                [] => Ok(Event::Close(Close { code: None, reason: "" })),
                [high, low, reason @ ..] => {
                    let code = u16::from_be_bytes([*high, *low]);
                    if !may_be_sent(code) || str::from_utf8(reason).is_err() {
                        return Err(Close::protocol("a close frame's code or reason is not valid"));
                    }
                    Ok(Event::Close(Close { code: Some(code), reason: "" }))
                }
                [_] => Err(Close::protocol("a close frame's code is cut short")),
            },
        }
    }
}

/// Returns whether a close frame may carry that code (RFC 6455, section 7.4).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Unmasks in place, and rotates the mask for the next byte.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let word = u64::from_ne_bytes({
        let [a, b, c, d] = *mask;
        [a, b, c, d, a, b, c, d]
    });
    let mut words = payload.chunks_exact_mut(8);
    for chunk in &mut words {
        if let Some(bytes) = chunk.first_chunk_mut::<8>() {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    let rest = words.into_remainder();
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    let turn = rest.len() % 4;
    mask.rotate_left(turn);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Bytes(Vec<u8>),
        Ping(Vec<u8>),
        Pong,
        Close(Option<u16>),
        Refused(Option<u16>),
    }

    /// Decodes the stream in pieces of the given lengths, adjacent bytes joined.
    fn decode(stream: &[u8], mut cuts: impl Iterator<Item = usize>) -> Vec<Seen> {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        let mut stream = stream.to_vec();
        let mut stream = stream.as_mut_slice();
        while !stream.is_empty() {
            let cut = cuts.next().unwrap_or(stream.len()).clamp(1, stream.len());
            let (mut input, rest) = stream.split_at_mut(cut);
            stream = rest;
            loop {
                match decoder.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(Event::Bytes(bytes))) => match seen.last_mut() {
                        Some(Seen::Bytes(last)) => last.extend_from_slice(bytes),
                        _ => seen.push(Seen::Bytes(bytes.to_vec())),
                    },
                    Ok(Some(Event::Ping(payload))) => seen.push(Seen::Ping(payload)),
                    Ok(Some(Event::Pong)) => seen.push(Seen::Pong),
                    Ok(Some(Event::Close(close))) => seen.push(Seen::Close(close.code)),
                    Err(close) => {
                        seen.push(Seen::Refused(close.code));
                        return seen;
                    }
                }
            }
        }
        seen
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=65_535 => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    const FIN: u8 = 0x80;
    const CONTINUE: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;

    fn whole() -> std::iter::Empty<usize> {
        std::iter::empty()
    }

    #[test]
    fn the_joined_payloads_are_the_stream() {
        let stream = [
            frame(FIN | BINARY, b"he"),
            frame(BINARY, b"l"),
            frame(FIN | PING, b"?"),
            frame(CONTINUE, b""),
            frame(FIN | CONTINUE, b"lo"),
            frame(FIN | PONG, b""),
            frame(FIN | BINARY, b""),
            frame(FIN | BINARY, b"!"),
            frame(FIN | CLOSE, b"\x03\xe8bye"),
        ]
        .concat();
        let seen = [
            Seen::Bytes(b"hel".to_vec()),
            Seen::Ping(b"?".to_vec()),
            Seen::Bytes(b"lo".to_vec()),
            Seen::Pong,
            Seen::Bytes(b"!".to_vec()),
            Seen::Close(Some(1000)),
        ];
        assert_eq!(decode(&stream, whole()), seen);
        assert_eq!(decode(&stream, std::iter::repeat(1)), seen, "byte by byte");
    }

    #[test]
    fn each_broken_rule_has_its_close_code() {
        let unmasked = b"\x82\x01a".to_vec();
        let too_long_together =
            [frame(BINARY, &[0; 100_000]), frame(FIN | CONTINUE, &[0; 40_000])].concat();
        for (name, stream, code) in [
            ("text", frame(FIN | TEXT, b"hello"), 1003),
            ("unmasked", unmasked, 1002),
            ("reserved bit", frame(FIN | 0x40 | BINARY, b""), 1002),
            ("reserved data opcode", frame(FIN | 3, b""), 1002),
            ("reserved control opcode", frame(FIN | 11, b""), 1002),
            ("fragmented ping", frame(PING, b""), 1002),
            ("long ping", frame(FIN | PING, &[0; 126]), 1002),
            ("continue without a message", frame(FIN | CONTINUE, b""), 1002),
            (
                "message in a message",
                [frame(BINARY, b"a"), frame(FIN | BINARY, b"b")].concat(),
                1002,
            ),
            ("close with half a code", frame(FIN | CLOSE, b"\x03"), 1002),
            ("close with a reserved code", frame(FIN | CLOSE, b"\x03\xed"), 1002),
            ("close with a broken reason", frame(FIN | CLOSE, b"\x03\xe8\xff"), 1002),
            ("a long message", frame(FIN | BINARY, &[0; 131_073]), 1009),
            ("a long message in two frames", too_long_together, 1009),
            (
                "the largest length in a header",
                b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(),
                1009,
            ),
        ] {
            assert_eq!(decode(&stream, whole()).pop(), Some(Seen::Refused(Some(code))), "{name}");
        }
    }

    #[test]
    fn the_longest_message_is_accepted() {
        let seen = decode(&frame(FIN | BINARY, &[7; 131_072]), std::iter::repeat(4096));
        assert_eq!(seen, [Seen::Bytes(vec![7; 131_072])]);
    }

    proptest! {
        #[test]
        fn frames_in_any_pieces_give_the_same_events(
            frames in
                prop::collection::vec((0_u8..5, prop::collection::vec(any::<u8>(), 0..200)), 0..8),
            cuts in prop::collection::vec(1_usize..40, 0..200),
        ) {
            let stream: Vec<u8> = frames
                .iter()
                .flat_map(|(kind, payload)| match kind {
                    0 => frame(FIN | PING, &payload[..payload.len().min(125)]),
                    1 => [frame(BINARY, payload), frame(FIN | CONTINUE, b"end")].concat(),
                    _ => frame(FIN | BINARY, payload),
                })
                .collect();
            prop_assert_eq!(decode(&stream, cuts.into_iter()), decode(&stream, whole()));
        }

        #[test]
        fn random_bytes_in_any_pieces_give_the_same_events(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(1_usize..20, 0..100),
        ) {
            prop_assert_eq!(decode(&bytes, cuts.into_iter()), decode(&bytes, whole()));
        }
    }
}
