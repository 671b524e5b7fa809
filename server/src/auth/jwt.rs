//! JSON Web Tokens (RFC 7519): the credentials themselves say whose they are and until when.

use std::time::Duration;

use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use self::keys::Key;
use super::admitted::{Admitted, Refused, Subject, SubjectLimits};
use super::error::{AuthError, FileOption};

mod keys;

/// The keys that verify tokens, and the values that a token must have.
pub(super) struct Jwt {
    keys: Vec<(Key, Validation)>,
}

/// The claims that are read. The others are of no meaning here.
#[derive(Deserialize)]
struct Claims {
    /// Unix seconds, perhaps with a fraction.
    exp: f64,
    nbf: Option<f64>,
    sub: Option<String>,
    waddell: Option<SubjectLimits>,
}

impl Jwt {
    /// Reads the secret of HS256, and the public keys of EdDSA and ES256. Without values for `aud`,
    /// a token that has an audience is refused, because it is for another service (RFC 7519,
    /// 4.1.3).
    pub(super) fn read(
        secret: Option<FileOption<'_>>,
        public: Option<FileOption<'_>>,
        audience: &[String],
        issuer: &[String],
    ) -> Result<Self, AuthError> {
        let mut keys = Vec::new();
        if let Some(file) = secret {
            keys.push(keys::read_hs256(file)?);
        }
        if let Some(file) = public {
            keys.extend(keys::read_public(file)?);
        }
        Ok(Self::new(keys, audience, issuer))
    }

    fn new(keys: Vec<Key>, audience: &[String], issuer: &[String]) -> Self {
        // Without this the library looks for a provider at its first use. It panics if the program
        // has enabled two. If the program has installed one, that one is used.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let validation = |key: &Key| {
            let mut validation = Validation::new(key.algorithm);
            let mut required = vec!["exp"];
            if !audience.is_empty() {
                validation.set_audience(audience);
                required.push("aud");
            }
            if !issuer.is_empty() {
                validation.set_issuer(issuer);
                required.push("iss");
            }
            validation.set_required_spec_claims(&required);
            // The server's clock decides, in `Claims::admit`.
            validation.validate_exp = false;
            validation
        };
        let with_validation = |key: Key| {
            let validation = validation(&key);
            (key, validation)
        };
        Self { keys: keys.into_iter().map(with_validation).collect() }
    }

    /// Decides about a token that one of the keys has signed. Returns `None` for another token.
    /// `now` is the time in Unix seconds.
    pub(super) fn check(&self, token: &[u8], now: u64) -> Option<Result<Admitted, Refused>> {
        let header = decode_header(token).ok()?;
        // What is critical must be understood (RFC 7515, 4.1.11), and no extension is.
        if header.crit.is_some() {
            return None;
        }
        let kid = header.kid.as_deref();
        // The key says the algorithm. The header only says which keys can be the right one.
        let fit = self.keys.iter().filter(|(key, _)| key.fits(header.alg, kid));
        for (key, validation) in fit {
            match decode::<Claims>(token, &key.decoding, validation) {
                Ok(decoded) => return Some(decoded.claims.admit(now)),
                Err(error) => match error.kind() {
                    // This key has not signed it.
                    ErrorKind::InvalidSignature | ErrorKind::Base64(_) => {}
                    _ => return Some(Err(Refused::Unauthorized)),
                },
            }
        }
        None
    }
}

impl Claims {
    /// Admits the holder if it is the time for it.
    fn admit(self, now: u64) -> Result<Admitted, Refused> {
        let now = now as f64;
        let too_late = now > self.exp + LEEWAY_SECONDS;
        let too_early = self.nbf.is_some_and(|nbf| nbf > now + LEEWAY_SECONDS);
        if too_late || too_early {
            return Err(Refused::Unauthorized);
        }
        let subject = match self.sub {
            None => None,
            Some(sub) => Some(Subject::new(&sub).ok_or(Refused::Unauthorized)?),
        };
        // The conversion rounds down, and saturates.
        let seconds = (self.exp - now) as u32;
        Ok(Admitted {
            subject,
            expires_in: Some(Duration::from_secs(seconds.max(1).into())),
            limits: self.waddell.unwrap_or_default(),
        })
    }
}

/// Seconds by which the clocks of the server and of the issuer may differ.
const LEEWAY_SECONDS: f64 = 60.0;

#[cfg(test)]
mod tests;
