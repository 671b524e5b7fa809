//! Tokens from a file, one for each client or group of clients.

use std::collections::HashMap;

use aws_lc_rs::digest;

use super::admitted::{Admitted, Subject, SubjectLimits};
use super::error::{AuthError, FileOption};
use crate::files::secret::read_secret;

/// The tokens of a file, as their SHA-256. The time of a look-up says nothing of a token, because
/// its holder cannot choose the hash.
pub(super) struct Tokens {
    subjects: HashMap<[u8; 32], Subject>,
}

impl Tokens {
    /// Reads a file of lines `label token`. Empty lines, and lines that begin with `#`, are
    /// skipped. A label is the subject of its tokens, and may have several.
    pub(super) fn read(file: FileOption<'_>) -> Result<Self, AuthError> {
        Self::parse(&file.read(read_secret)?).map_err(|why| file.error(why))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut subjects = HashMap::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let fault = |why: &str| format!("line {number}: {why}");
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let (Some(label), Some(token), None) = (words.next(), words.next(), words.next())
            else {
                return Err(fault("expected a label and a token, with a space between them"));
            };
            let subject = str::from_utf8(label).ok().and_then(Subject::new);
            let subject =
                subject.ok_or_else(|| fault("the label is no plain text of 1 to 255 bytes"))?;
            if !(MIN_LEN..=MAX_LEN).contains(&token.len()) {
                return Err(fault("the token has fewer than 16 or more than 4,096 bytes"));
            }
            if subjects.insert(hash(token), subject).is_some() {
                return Err(fault("the token is in an earlier line too"));
            }
        }
        Ok(Self { subjects })
    }

    /// Returns whose token this is, if it is in the file.
    pub(super) fn find(&self, token: &[u8]) -> Option<Admitted> {
        let subject = self.subjects.get(&hash(token))?.clone();
        Some(Admitted {
            subject: Some(subject),
            expires_in: None,
            limits: SubjectLimits::default(),
        })
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, token);
    hash.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Shortest token, in bytes. Shorter ones can be guessed.
const MIN_LEN: usize = 16;

/// Longest token, in bytes: the longest credentials that a client can send.
const MAX_LEN: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tokens, String> {
        Tokens::parse(text.as_bytes())
    }

    fn found(tokens: &Tokens, token: &str) -> Option<String> {
        let admitted = tokens.find(token.as_bytes())?;
        assert_eq!((admitted.expires_in, admitted.limits), (None, SubjectLimits::default()));
        admitted.subject.map(|subject| subject.as_str().to_owned())
    }

    #[test]
    fn a_token_is_found_with_its_label() {
        let tokens = parse(
            "# label token\r\n\nalice 0123456789abcdef\r\n  bob\t 0123456789abcdeg \n\
             alice a-second-token-of-alice",
        );
        let tokens = tokens.unwrap();
        assert_eq!(found(&tokens, "0123456789abcdef").as_deref(), Some("alice"));
        assert_eq!(found(&tokens, "a-second-token-of-alice").as_deref(), Some("alice"));
        assert_eq!(found(&tokens, "0123456789abcdeg").as_deref(), Some("bob"));
        for unknown in ["", "alice", "0123456789abcde", "0123456789abcdef ", "0123456789ABCDEF"] {
            assert_eq!(found(&tokens, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_file_without_tokens_admits_no_client() {
        assert_eq!(found(&parse("# all revoked\n").unwrap(), "0123456789abcdef"), None);
    }

    #[test]
    fn an_unusable_line_is_named_and_not_shown() {
        for (text, expected) in [
            ("\nhidden0123456789abcdef", "line 2: expected a label and a token"),
            ("alice hidden0123456789 more", "line 1: expected a label"),
            ("alice hidden", "line 1: the token has fewer than 16"),
            (&format!("alice hidden{}", "x".repeat(MAX_LEN)), "line 1: the token has fewer"),
            (&format!("{} hidden0123456789", "a".repeat(256)), "line 1: the label"),
            ("a hidden0123456789\nb hidden0123456789", "line 2: the token is in an earlier"),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        Tokens::parse(b"\xff hidden0123456789").err().unwrap();
    }
}
