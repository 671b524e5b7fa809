//! Messages: the 18-byte header inside a frame, and the body after it.
//!
//! ```text
//!   0      2                 18      20
//!   +------+-----------------+-------+------------------+
//!   |length|     peer id     | topic |       body       |
//!   +------+-----------------+-------+------------------+
//!   prefix |<--- header, 18 bytes -->|
//! ```
//!
//! The peer id is the recipient on the way to the server, and the sender on the way from it.

use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, Bytes};

use crate::frame::{MAX_FRAME_LEN, PREFIX_LEN};
use crate::id::{PeerId, TopicId};

/// Payload of a keep-alive frame: never answered, never forwarded. Source: waddell `keepAlive`.
pub const KEEP_ALIVE: &[u8] = b"k";

/// A whole keep-alive frame on the wire, prefix included.
pub const KEEP_ALIVE_FRAME: &[u8] = b"\x01\x00k";

/// Length of the header in bytes: peer id 16, topic 2.
pub const HEADER_LEN: usize = PeerId::LEN + TopicId::LEN;

/// Longest body of one message, in bytes: a frame's payload without the header.
pub const MAX_BODY_LEN: usize = MAX_FRAME_LEN - HEADER_LEN;

/// Longest body, in bytes, that every waddell client and server handles.
/// waddell subtracts the prefix as well, although a frame's length does not count it.
/// Source: waddell `common.go`, `MaxDataLength`.
pub const PORTABLE_BODY_LEN: usize = MAX_BODY_LEN - PREFIX_LEN;

/// A message on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageOut {
    /// The recipient.
    pub to: PeerId,
    /// The topic.
    pub topic: TopicId,
    /// The body, at most [`MAX_BODY_LEN`] bytes.
    pub body: Bytes,
}

impl MessageOut {
    /// Makes a message with this body.
    pub fn new(to: PeerId, topic: TopicId, body: impl Into<Bytes>) -> Self {
        Self { to, topic, body: body.into() }
    }

    /// Makes a message whose body is `parts` joined.
    pub fn from_parts<'a>(
        to: PeerId,
        topic: TopicId,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(part);
        }
        Self { to, topic, body: body.into() }
    }

    /// Returns the length of the frame of this message, prefix included, in bytes.
    pub fn frame_len(&self) -> usize {
        PREFIX_LEN + HEADER_LEN + self.body.len()
    }

    /// Appends the frame of this message: prefix, header, body.
    ///
    /// # Errors
    ///
    /// [`BodyTooLong`] if the body exceeds [`MAX_BODY_LEN`]; nothing is appended then.
    ///
    /// # Panics
    ///
    /// If `out` cannot grow and has less room than [`frame_len`](Self::frame_len).
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), BodyTooLong> {
        let too_long = BodyTooLong { len: self.body.len() };
        let payload_len = u16::try_from(HEADER_LEN + self.body.len()).map_err(|_| too_long)?;
        out.put_u16_le(payload_len);
        out.put_slice(self.to.as_bytes());
        out.put_u16_le(self.topic.0);
        out.put_slice(&self.body);
        Ok(())
    }
}

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageIn {
    /// The sender, stamped by the server: a peer cannot send under another id.
    pub from: PeerId,
    /// The topic.
    pub topic: TopicId,
    /// The body.
    pub body: Bytes,
}

impl MessageIn {
    /// Reads a message from a frame's payload, and copies the body.
    ///
    /// # Errors
    ///
    /// [`ShortFrame`] if the payload is shorter than [`HEADER_LEN`].
    pub fn decode(payload: &[u8]) -> Result<Self, ShortFrame> {
        let short = ShortFrame { len: payload.len() };
        let (from, rest) = payload.split_first_chunk().ok_or(short)?;
        let (topic, body) = rest.split_first_chunk().ok_or(short)?;
        Ok(Self {
            from: PeerId::from_bytes(*from),
            topic: TopicId(u16::from_le_bytes(*topic)),
            body: Bytes::copy_from_slice(body),
        })
    }
}

/// The body is longer than a frame can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTooLong {
    /// Length of the body, in bytes.
    pub len: usize,
}

impl fmt::Display for BodyTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "body of {} bytes is longer than {MAX_BODY_LEN}, the most that fits in a frame",
            self.len
        )
    }
}

impl core::error::Error for BodyTooLong {}

/// The payload is shorter than a message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortFrame {
    /// Length of the payload, in bytes.
    pub len: usize,
}

impl fmt::Display for ShortFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame of {} bytes is shorter than the {HEADER_LEN}-byte header", self.len)
    }
}

impl core::error::Error for ShortFrame {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn limits_are_waddells() {
        assert_eq!((HEADER_LEN, MAX_BODY_LEN, PORTABLE_BODY_LEN), (18, 65_517, 65_515));
        assert_eq!(KEEP_ALIVE_FRAME, [&[1, 0], KEEP_ALIVE].concat());
    }

    #[test]
    fn frame_is_prefix_header_and_body() {
        let message = MessageOut::new(peer(), TopicId(0x1234), &b"body"[..]);
        let mut frame = vec![];
        message.encode(&mut frame).unwrap();
        let expected = [&b"\x16\x00"[..], peer().as_bytes(), b"\x34\x12", b"body"].concat();
        assert_eq!(frame, expected);
        assert_eq!(message.frame_len(), frame.len());
    }

    #[test]
    fn frames_are_appended_one_after_the_other() {
        let message = MessageOut::new(peer(), TopicId(1), &b"x"[..]);
        let mut frames = vec![];
        message.encode(&mut frames).unwrap();
        message.encode(&mut frames).unwrap();
        let (first, second) = frames.split_at(message.frame_len());
        assert_eq!(first, second);
    }

    #[test]
    fn parts_are_joined() {
        let joined = MessageOut::new(peer(), TopicId(1), &b"hello"[..]);
        for parts in [&[&b"he"[..], b"", b"llo"][..], &[b"hello"], &[b"h", b"e", b"l", b"l", b"o"]]
        {
            assert_eq!(MessageOut::from_parts(peer(), TopicId(1), parts.iter().copied()), joined);
        }
        let empty = MessageOut::from_parts(peer(), TopicId(1), []);
        assert_eq!(empty, MessageOut::new(peer(), TopicId(1), Bytes::new()));
    }

    #[test]
    fn body_that_is_too_long_leaves_the_output_as_it_was() {
        let len = MAX_BODY_LEN + 1;
        let mut out = b"before".to_vec();
        let error = MessageOut::new(peer(), TopicId(1), vec![0; len]).encode(&mut out).unwrap_err();
        assert_eq!(error, BodyTooLong { len });
        assert_eq!(out, b"before");
        assert_eq!(
            error.to_string(),
            "body of 65518 bytes is longer than 65517, the most that fits in a frame"
        );
    }

    #[test]
    fn payloads_of_a_header_and_more_are_messages() {
        for body in [&b""[..], b"k", &[0xff; MAX_BODY_LEN]] {
            let payload = [&peer().as_bytes()[..], b"\xff\xff", body].concat();
            let body = Bytes::copy_from_slice(body);
            assert_eq!(
                MessageIn::decode(&payload),
                Ok(MessageIn { from: peer(), topic: TopicId(u16::MAX), body })
            );
        }
    }

    #[test]
    fn payloads_shorter_than_a_header_are_not() {
        for len in 0..HEADER_LEN {
            assert_eq!(MessageIn::decode(&[1; HEADER_LEN][..len]), Err(ShortFrame { len }));
        }
        assert_eq!(
            ShortFrame { len: 17 }.to_string(),
            "frame of 17 bytes is shorter than the 18-byte header"
        );
    }

    fn peer() -> PeerId {
        PeerId::from_random(*b"0123456789abcdef")
    }
}
