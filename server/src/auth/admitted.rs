//! What a client shows, and what the server concludes from it.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use serde::Deserialize;

/// What a client shows to be admitted, and where it comes from.
pub(crate) struct Credentials {
    /// Whatever the client sent: 1 to 4,096 bytes. It is a secret.
    pub(crate) token: Vec<u8>,
    /// The client's address, from the proxy if a trusted one names it.
    pub(crate) address: IpAddr,
    /// The origin of the page, if the client is a browser.
    pub(crate) origin: Option<String>,
    /// The scheme of the listener's protocol, such as `wss`.
    pub(crate) transport: &'static str,
    /// How the client calls itself.
    pub(crate) agent: Option<String>,
}

/// A client that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// As what the client was authenticated, if its credentials say that.
    pub(crate) subject: Option<Subject>,
    /// For how long; at least 1 s. `None`: as long as it likes.
    pub(crate) expires_in: Option<Duration>,
    /// Limits of its own.
    pub(crate) limits: SubjectLimits,
}

/// Limits that credentials may bring. They tighten the server's own limits, and never widen them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct SubjectLimits {
    /// Most connections of the subject at a time.
    pub(crate) max_connections: Option<NonZeroU32>,
    /// Most frames a second from each connection.
    pub(crate) rate_frames: Option<NonZeroU32>,
    /// Most bytes a second from each connection.
    pub(crate) rate_bytes: Option<NonZeroU32>,
}

/// Why a client may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Its credentials are not accepted.
    #[error("the credentials are not accepted")]
    Unauthorized,
    /// Its credentials cannot be checked at the moment.
    #[error("the credentials cannot be checked at the moment")]
    Busy,
    /// Its subject has as many connections as it may have.
    #[error("its subject has reached max-connections-per-subject")]
    TooMany,
}

/// As what clients are authenticated: a user, a device or a service. The text names a person
/// perhaps, so it is shown as its digest.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject(Arc<str>);

impl Subject {
    /// Makes a subject of 1 to 255 bytes. Returns `None` for another length, and for control
    /// characters, which could forge a line of the log.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let fits = (1..=MAX_SUBJECT_LEN).contains(&name.len());
        (fits && !name.chars().any(char::is_control)).then(|| Self(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 8 bytes of the name's SHA-256.
    pub(crate) fn digest(&self) -> [u8; 8] {
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        *hash.as_ref().first_chunk().expect("a SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:016x})", u64::from_be_bytes(self.digest()))
    }
}

/// Longest name of a subject, in bytes: that of `sub` in OpenID Connect.
const MAX_SUBJECT_LEN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_shown_as_its_digest() {
        let subject = Subject::new("alice").unwrap();
        assert_eq!(format!("{subject:?}"), "Subject(2bd806c97f0e00af)");
        assert_eq!(subject.as_str(), "alice");
    }

    #[test]
    fn a_subject_has_1_to_255_bytes_and_no_control_characters() {
        for (len, expected) in [(0, false), (1, true), (255, true), (256, false)] {
            assert_eq!(Subject::new(&"a".repeat(len)).is_some(), expected, "{len} bytes");
        }
        for (name, expected) in [("a b", true), ("\u{e9}", true), ("a\nb", false), ("\x1b", false)]
        {
            assert_eq!(Subject::new(name).is_some(), expected, "{name:?}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let parse = serde_json::from_str::<SubjectLimits>;
        assert_eq!(parse("{}").unwrap(), SubjectLimits::default());
        let limits = parse(r#"{"max_connections":3,"rate_frames":null,"other":1}"#).unwrap();
        assert_eq!(limits.max_connections, NonZeroU32::new(3));
        for text in [r#"{"max_connections":0}"#, r#"{"rate_bytes":-1}"#, r#"{"rate_frames":"9"}"#] {
            parse(text).expect_err(text);
        }
    }
}
