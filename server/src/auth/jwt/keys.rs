//! The keys that verify JSON Web Tokens, and the files that they are read from.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::error::{AuthError, FileOption};
use crate::files::read_file;
use crate::files::secret::read_secret;

/// A key and the one algorithm that it is for.
pub(super) struct Key {
    /// The name by which a token may ask for it.
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

impl Key {
    /// Returns whether this may be the key of a token with this header.
    pub(super) fn fits(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let other_name = kid.zip(self.kid.as_deref()).is_some_and(|(asked, own)| asked != own);
        algorithm == self.algorithm && !other_name
    }
}

/// Reads a secret of HS256: the bytes of the file, without space at both ends.
pub(super) fn read_hs256(file: FileOption<'_>) -> Result<Key, AuthError> {
    hs256(&file.read(read_secret)?).map_err(|why| file.error(why))
}

pub(super) fn hs256(bytes: &[u8]) -> Result<Key, &'static str> {
    let secret = bytes.trim_ascii();
    if secret.len() < MIN_SECRET_LEN {
        return Err("the secret has fewer than 32 bytes");
    }
    let decoding = DecodingKey::from_secret(secret);
    Ok(Key { kid: None, algorithm: Algorithm::HS256, decoding })
}

/// Reads public keys: a JSON Web Key Set (RFC 7517), or blocks of PEM.
pub(super) fn read_public(file: FileOption<'_>) -> Result<Vec<Key>, AuthError> {
    public(&file.read(read_file)?).map_err(|why| file.error(why))
}

pub(super) fn public(text: &[u8]) -> Result<Vec<Key>, &'static str> {
    let text = text.trim_ascii();
    let keys = if text.starts_with(b"{") { from_jwks(text)? } else { from_pem(text)? };
    if keys.is_empty() {
        return Err("it has no public key of Ed25519 or P-256");
    }
    if keys.len() > MAX_KEYS {
        return Err("it has more than 16 keys");
    }
    Ok(keys)
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// A JSON Web Key of a kind that can be used, perhaps.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: Option<String>,
    /// Part of a private key.
    d: Option<IgnoredAny>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
}

/// Returns the keys of a set that can verify. Others are skipped, as RFC 7517 wants it: a provider
/// may list keys for other purposes.
fn from_jwks(text: &[u8]) -> Result<Vec<Key>, &'static str> {
    let Jwks { keys } =
        serde_json::from_slice(text).map_err(|_| "it is no JSON with a list of \"keys\"")?;
    let known = keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    known.filter_map(|key| key.into_key().transpose()).collect()
}

impl Jwk {
    /// Returns `None` for a key of another kind.
    fn into_key(self) -> Result<Option<Key>, &'static str> {
        let (algorithm, decoding) = match (&*self.kty, &*self.crv, &self.y) {
            ("OKP", "Ed25519", None) => {
                (Algorithm::EdDSA, DecodingKey::from_ed_components(&self.x))
            }
            ("EC", "P-256", Some(y)) => {
                (Algorithm::ES256, DecodingKey::from_ec_components(&self.x, y))
            }
            _ => return Ok(None),
        };
        if self.d.is_some() {
            return Err("it has a private key, which only the issuer may know");
        }
        let name = if algorithm == Algorithm::EdDSA { ["EdDSA", "Ed25519"] } else { ["ES256"; 2] };
        let other_alg = self.alg.is_some_and(|alg| !name.contains(&&*alg));
        let other_use = self.usage.is_some_and(|usage| usage != "sig");
        if other_alg || other_use {
            return Ok(None);
        }
        let decoding = decoding.map_err(|_| "a key is not Base64 for URLs")?;
        Key { kid: self.kid, algorithm, decoding }.parsed().map(Some)
    }
}

/// Returns the keys of all blocks `PUBLIC KEY`.
fn from_pem(text: &[u8]) -> Result<Vec<Key>, &'static str> {
    if text.windows(PRIVATE.len()).any(|window| window == PRIVATE) {
        return Err("it has a private key, which only the issuer may know");
    }
    let block = |block: Result<SubjectPublicKeyInfoDer<'_>, _>| {
        // The texts of the parser's errors show parts of the file.
        let block = block.map_err(|_| "a block of PEM is broken")?;
        from_spki(&block)
    };
    SubjectPublicKeyInfoDer::pem_slice_iter(text).map(block).collect()
}

/// Reads a key with the description of its kind before it (RFC 5280, 4.1).
fn from_spki(bytes: &[u8]) -> Result<Key, &'static str> {
    let (algorithm, decoding) = if let Some(key) = bytes.strip_prefix(ED25519_PREFIX) {
        (Algorithm::EdDSA, DecodingKey::from_ed_der(key))
    } else if let Some(key) = bytes.strip_prefix(P256_PREFIX) {
        (Algorithm::ES256, DecodingKey::from_ec_der(key))
    } else {
        return Err("it has a key of another kind than Ed25519 and P-256");
    };
    Key { kid: None, algorithm, decoding }.parsed()
}

impl Key {
    /// Checks that a public key is one of its kind.
    fn parsed(self) -> Result<Self, &'static str> {
        let kind: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::EdDSA => &ED25519,
            _ => &ECDSA_P256_SHA256_FIXED,
        };
        let bytes = self.decoding.try_get_as_bytes().map_err(|_| BROKEN)?;
        ParsedPublicKey::new(kind, bytes).map_err(|_| BROKEN)?;
        Ok(self)
    }
}

const BROKEN: &str = "a key is broken: it is no point of its curve";

/// Shortest secret, in bytes: the length of the hash (RFC 7518, 3.2).
const MIN_SECRET_LEN: usize = 32;

/// Most public keys. A token that names none is tried with each of them.
const MAX_KEYS: usize = 16;

/// Begins and ends the label of each kind of private key in PEM.
const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// What DER has before the 32 bytes of an Ed25519 key (RFC 8410).
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// What DER has before the 65 bytes of an uncompressed P-256 key (RFC 5480).
const P256_PREFIX: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
