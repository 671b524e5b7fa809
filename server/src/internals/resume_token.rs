//! Resume tokens, for fuzz targets and property tests. No part of the library's interface.

use waddell_core::PeerId;

use crate::resume::ResumeKeys;
use crate::resume::token::{Claims, TokenError};

/// Checks that these bytes are no token, and that a token of these claims is refused after a change
/// of one byte.
///
/// Shape: place and change of the byte (1 byte each), id (16), generation (4), expiry (8), subject
/// (8). Shorter input is a token only.
///
/// # Panics
///
/// If a token is accepted that the key has not signed, or says something else than was signed.
pub fn resume_token(data: &[u8]) {
    let keys = ResumeKeys::parse(&[b'7'; 64]).expect("64 digits are a key");
    assert_eq!(keys.verify(data, 0), Err(TokenError::Forged), "these bytes are not signed");
    let Some((&[place, change, ref fields @ ..], _)) = data.split_first_chunk::<38>() else {
        return;
    };
    let (id, rest) = fields.split_first_chunk().expect("16 of 36 bytes");
    let (generation, rest) = rest.split_first_chunk().expect("4 of 20 bytes");
    let (expires_at, subject) = rest.split_first_chunk().expect("8 of 16 bytes");
    let claims = Claims {
        id: PeerId::from_bytes(*id),
        generation: u32::from_le_bytes(*generation),
        expires_at: u64::from_le_bytes(*expires_at),
        subject: subject.try_into().expect("8 bytes are left"),
    };
    let mut token = keys.issue(&claims);
    assert_eq!(keys.verify(&token, claims.expires_at), Ok(claims), "this was signed");
    let place = usize::from(place) % token.len();
    token[place] ^= change;
    let changed = keys.verify(&token, claims.expires_at);
    assert_eq!(changed.is_ok(), change == 0, "byte {place} is changed by {change:#x}");
}
