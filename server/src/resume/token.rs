//! A resume token: its layout and its signature.
//!
//! ```text
//!   byte 0        1            2      18           22         30        38           70
//!        | format | key number | id   | generation | expires  | subject | HMAC       |
//!        | 1      | u8         | 16 B | u32        | u64      | 8 B     | SHA-256    |
//! ```
//!
//! Integers are little-endian. The HMAC is over [`CONTEXT`] and the first 38 bytes.

use aws_lc_rs::hmac;
use waddell_core::PeerId;

/// What a resume token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The id that its holder may have again.
    pub(crate) id: PeerId,
    /// Which of the connections under this id got the token: one more after each resume.
    pub(crate) generation: u32,
    /// When the token expires, in Unix seconds.
    pub(crate) expires_at: u64,
    /// Digest of the subject that the holder was authenticated as; zeros: none.
    pub(crate) subject: [u8; 8],
}

/// Why a resume token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// A key of this server signed it, and it is too old.
    #[error("the resume token has expired")]
    Expired,
    /// No key of this server signed these bytes.
    #[error("the resume token is not of this server")]
    Forged,
}

impl Claims {
    /// Returns whether the token is not valid any more. `now` is the time in Unix seconds.
    pub(super) const fn has_expired(&self, now: u64) -> bool {
        now > self.expires_at.saturating_add(LEEWAY_SECONDS)
    }

    /// Reads the fields of a token behind the format and the number of the key.
    fn decode(fields: &[u8]) -> Option<Self> {
        let (id, rest) = fields.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (expires_at, subject) = rest.split_first_chunk()?;
        Some(Self {
            id: PeerId::from_bytes(*id),
            generation: u32::from_le_bytes(*generation),
            expires_at: u64::from_le_bytes(*expires_at),
            subject: subject.try_into().ok()?,
        })
    }
}

/// Makes a token, signed by the key of this number.
pub(super) fn sign(claims: &Claims, key_number: u8, key: &hmac::Key) -> [u8; TOKEN_LEN] {
    let Claims { id, generation, expires_at, subject } = claims;
    let mut token = [0; TOKEN_LEN];
    let (signed, signature) = token.split_at_mut(SIGNED_LEN);
    let parts: [&[u8]; 5] = [
        &[FORMAT, key_number],
        id.as_bytes(),
        &generation.to_le_bytes(),
        &expires_at.to_le_bytes(),
        subject,
    ];
    let mut rest = &mut *signed;
    for part in parts {
        let (place, after) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = after;
    }
    let mut context = hmac::Context::with_key(key);
    context.update(CONTEXT);
    context.update(signed);
    signature.copy_from_slice(context.sign().as_ref());
    token
}

/// Returns the number of the key that has signed a token, if it is one in this format.
pub(super) fn key_number(token: &[u8]) -> Option<u8> {
    match *token {
        [FORMAT, number, ..] => Some(number),
        _ => None,
    }
}

/// Returns what a token says, if this key has signed it.
pub(super) fn open(token: &[u8], key: &hmac::Key) -> Option<Claims> {
    let token: &[u8; TOKEN_LEN] = token.try_into().ok()?;
    let (signed, signature) = token.split_first_chunk::<SIGNED_LEN>()?;
    let mut message = [0; CONTEXT.len() + SIGNED_LEN];
    let (context, rest) = message.split_at_mut(CONTEXT.len());
    context.copy_from_slice(CONTEXT);
    rest.copy_from_slice(signed);
    // Compares in constant time.
    hmac::verify(key, &message, signature).ok()?;
    Claims::decode(signed.get(2..)?)
}

/// Length of a token, in bytes.
pub(crate) const TOKEN_LEN: usize = SIGNED_LEN + 32;

/// Seconds for which an expired token is still valid, because clocks of servers differ.
pub(crate) const LEEWAY_SECONDS: u64 = 60;

/// Length of what is signed, in bytes.
const SIGNED_LEN: usize = 38;

/// The format described here.
const FORMAT: u8 = 1;

/// Keeps a signature for another purpose from being one of a token.
const CONTEXT: &[u8] = b"waddell resume 1\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ResumeKeys;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// The key is the bytes 00 to 1f.
    fn keys() -> ResumeKeys {
        let line: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        ResumeKeys::parse(line.as_bytes()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            id: PeerId::from_bytes(
                *b"\x00\x01\x02\x03\x04\x05\x46\x07\x88\x09\x0a\x0b\x0c\x0d\x0e\x0f",
            ),
            generation: 0x0102_0304,
            expires_at: NOW,
            subject: *b"subject8",
        }
    }

    #[test]
    fn a_token_has_these_bytes() {
        let hex: String =
            keys().issue(&claims()).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "01", // format
            "63", // number of the key
            "000102030405460788090a0b0c0d0e0f",
            "04030201",         // generation
            "00d2496b00000000", // expires
            "7375626a65637438", // subject
            "a524bb128114c661661fec79273a36b96adc93762506fed073ca65b475c78329",
        );
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_token_says_what_was_signed() {
        for claims in [
            claims(),
            Claims { generation: u32::MAX, expires_at: u64::MAX, subject: [0; 8], ..claims() },
        ] {
            assert_eq!(keys().verify(&keys().issue(&claims), NOW), Ok(claims));
        }
    }

    #[test]
    fn a_token_with_any_bit_flipped_is_forged() {
        let token = keys().issue(&claims());
        for bit in 0..TOKEN_LEN * 8 {
            let mut flipped = token;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys().verify(&flipped, NOW), Err(TokenError::Forged), "bit {bit}");
        }
    }

    #[test]
    fn a_token_of_another_length_is_forged() {
        let token = keys().issue(&claims());
        for len in 0..TOKEN_LEN {
            assert_eq!(keys().verify(&token[..len], NOW), Err(TokenError::Forged), "{len} bytes");
            assert_eq!(keys().verify(&token[len..], NOW).is_ok(), len == 0, "from byte {len} on");
        }
        let longer = [&token[..], &[0]].concat();
        assert_eq!(keys().verify(&longer, NOW), Err(TokenError::Forged));
    }

    #[test]
    fn a_token_expires_a_minute_late() {
        let token = keys().issue(&claims());
        for now in [0, NOW, NOW + LEEWAY_SECONDS] {
            assert_eq!(keys().verify(&token, now), Ok(claims()), "at {now}");
        }
        for now in [NOW + LEEWAY_SECONDS + 1, u64::MAX] {
            assert_eq!(keys().verify(&token, now), Err(TokenError::Expired), "at {now}");
        }
    }

    #[test]
    fn a_forged_token_is_not_called_expired() {
        let mut token = keys().issue(&Claims { expires_at: 0, ..claims() });
        assert_eq!(keys().verify(&token, NOW), Err(TokenError::Expired));
        token[TOKEN_LEN - 1] ^= 1;
        assert_eq!(keys().verify(&token, NOW), Err(TokenError::Forged));
    }

    #[test]
    fn a_signature_without_the_context_is_forged() {
        let bytes: Vec<u8> = (0..32).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let mut token = keys().issue(&claims());
        let (signed, signature) = token.split_at_mut(SIGNED_LEN);
        signature.copy_from_slice(hmac::sign(&key, signed).as_ref());
        assert_eq!(keys().verify(&token, NOW), Err(TokenError::Forged));
    }

    proptest! {
        #[test]
        fn only_what_was_signed_is_accepted(data in prop::collection::vec(any::<u8>(), 0..100)) {
            crate::internals::resume_token(&data);
        }
    }
}
