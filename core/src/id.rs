//! Peer ids and topics.

use core::fmt;
use core::str::FromStr;

use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid};

/// Identifies one connected peer.
///
/// On the wire: the 16 bytes of a UUID in RFC 9562 order, first byte first. waddell describes the
/// same bytes as two little-endian 64-bit integers. It reads and writes them in the same way, so
/// they are the UUID's bytes in order. A server draws ids at random (version 4) and never reuses
/// one.
///
/// Source: waddell `common.go`, `PeerId`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Uuid);

impl PeerId {
    /// Length of a peer id on the wire, in bytes.
    pub const LEN: usize = 16;

    /// Length of the text of a peer id, in bytes: that of a UUID with hyphens.
    pub const TEXT_LEN: usize = Hyphenated::LENGTH;

    /// The nil id, 16 zero bytes. No peer ever has it. Control frames are to it or from it.
    pub const NIL: Self = Self(Uuid::nil());

    /// Makes an id from its 16 bytes on the wire.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Makes an id from 16 random bytes, in which it sets UUID version 4 and the RFC variant.
    pub const fn from_random(bytes: [u8; Self::LEN]) -> Self {
        Self(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Returns the 16 bytes on the wire.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        self.0.as_bytes()
    }

    /// Returns the text that `Display` writes, in `buffer`: no memory is allocated.
    pub fn encode_text<'a>(&self, buffer: &'a mut [u8; Self::TEXT_LEN]) -> &'a str {
        self.0.as_hyphenated().encode_lower(buffer)
    }

    /// Returns whether this is [`PeerId::NIL`].
    pub const fn is_nil(&self) -> bool {
        self.0.is_nil()
    }
}

impl fmt::Display for PeerId {
    /// Writes the 36 characters of a UUID, in lower case and with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = ParsePeerIdError;

    /// Reads the 36 hyphenated or the 32 plain hexadecimal digits of a UUID, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `Uuid::try_parse` also accepts braces and `urn:uuid:`, which waddell never prints.
        if text.len() != 36 && text.len() != 32 {
            return Err(ParsePeerIdError);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| ParsePeerIdError)
    }
}

/// The text is not a peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePeerIdError;

impl fmt::Display for ParsePeerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a peer id: expected a UUID such as 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11")
    }
}

impl core::error::Error for ParsePeerIdError {}

/// Number that says what a message is about. Applications choose its meaning.
///
/// On the wire: two bytes, little-endian. Source: waddell `common.go`, `TopicId`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u16);

impl TopicId {
    /// Length of a topic on the wire, in bytes.
    pub const LEN: usize = 2;

    /// The topic of the greeting. Source: waddell `common.go`, `UnknownTopic`.
    pub const UNKNOWN: Self = Self(0);

    /// The topic of control frames, together with the nil id.
    pub const CONTROL: Self = Self(0xffff);
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn wire_bytes_are_the_uuid_in_order() {
        let id = PeerId::from_bytes(
            *b"\x00\x01\x02\x03\x04\x05\x46\x07\x88\x09\x0a\x0b\x0c\x0d\x0e\x0f",
        );
        assert_eq!(id.to_string(), "00010203-0405-4607-8809-0a0b0c0d0e0f");
        assert_eq!(id.encode_text(&mut [0xff; PeerId::TEXT_LEN]), id.to_string());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("00010203040546078809 0A0B0C0D0E0F".replace(' ', "").parse(), Ok(id));
    }

    #[test]
    fn random_bytes_get_version_and_variant() {
        let id = PeerId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = PeerId::from_random([0; 16]);
        assert_eq!(id.to_string(), "00000000-0000-4000-8000-000000000000");
        assert!(!id.is_nil());
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "hello",
            "{00010203-0405-4607-8809-0a0b0c0d0e0f}",
            "urn:uuid:00010203-0405-4607-8809-0a0b0c0d0e0f",
            "00010203-0405-4607-8809-0a0b0c0d0e0",
            "0001020304054607880-90a0b0c0d0e0f",
            "00010203-0405-4607-8809-0a0b0c0d0e0g",
        ] {
            assert_eq!(text.parse::<PeerId>(), Err(ParsePeerIdError), "{text:?}");
        }
    }
}
