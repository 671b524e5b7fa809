//! The keys that sign resume tokens.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::{digest, hmac, rand};

use super::token::{self, Claims, TOKEN_LEN, TokenError};
use crate::files::secret::read_secret;

/// The keys that sign resume tokens and verify them.
///
/// The first key signs; all of them verify. So a key can be replaced while tokens of the old one
/// are in use: put the new key first, and remove the old one when its tokens have expired.
pub struct ResumeKeys {
    /// 1 to 8 keys with different numbers; the first signs.
    keys: Vec<Key>,
    outlive_restart: bool,
}

/// A key, and the number by which a token names it: the first byte of the key's SHA-256.
struct Key {
    number: u8,
    hmac: hmac::Key,
}

/// Why a file with resume keys cannot be used. The message has no part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeKeyError {
    /// The file cannot be read, or other users may read it.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// A line is no key.
    #[error("line {line} is not a key of 64 hex digits; `waddell-server --new-key` prints one")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The file has no key.
    #[error("it has no key; `waddell-server --new-key` prints one")]
    Empty,
    /// The file has too many keys.
    #[error("it has more than {MAX_KEYS} keys; remove the last ones, which are the oldest")]
    TooMany,
    /// Two keys have the same number, so a token could not say which of them signed it.
    #[error(
        "the keys in lines {first} and {second} have the same number; replace the first of them \
         by another one from `waddell-server --new-key`"
    )]
    SameNumber {
        /// Number of the earlier line, from 1.
        first: usize,
        /// Number of the later line, from 1.
        second: usize,
    },
}

impl ResumeKeys {
    /// Makes one random key. Its tokens are of use until the end of the process.
    pub fn random() -> Self {
        Self { keys: vec![Key::new(&random_bytes())], outlive_restart: false }
    }

    /// Reads keys from a file: 1 to 8 lines of 64 hex digits, newest first. Empty lines, and lines
    /// that begin with `#`, are skipped.
    ///
    /// # Errors
    ///
    /// The file cannot be read, other users may read it, or a line is no key; the keys are none,
    /// too many, or two have the same number.
    pub fn read(path: &Path) -> Result<Self, ResumeKeyError> {
        Self::parse(&read_secret(path)?)
    }

    /// Makes a line for a file of keys, without its end: 64 random hex digits.
    pub fn generate_line() -> String {
        random_bytes().map(|byte| format!("{byte:02x}")).concat()
    }

    /// Reads keys from the contents of a file.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ResumeKeyError> {
        let mut keys: Vec<Key> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let key = Key::new(&parse_hex(text).ok_or(ResumeKeyError::Line { line })?);
            if keys.len() == MAX_KEYS {
                return Err(ResumeKeyError::TooMany);
            }
            let same = keys.iter().zip(&lines).find(|(other, _)| other.number == key.number);
            if let Some((_, first)) = same {
                return Err(ResumeKeyError::SameNumber { first: *first, second: line });
            }
            keys.push(key);
            lines.push(line);
        }
        if keys.is_empty() {
            return Err(ResumeKeyError::Empty);
        }
        Ok(Self { keys, outlive_restart: true })
    }

    /// Returns whether the keys are from a file, so that the server's next process has them too.
    pub(crate) const fn outlives_restart(&self) -> bool {
        self.outlive_restart
    }

    /// Makes a token that says `claims`.
    pub(crate) fn issue(&self, claims: &Claims) -> [u8; TOKEN_LEN] {
        let key = self.keys.first().expect("there is at least one key");
        token::sign(claims, key.number, &key.hmac)
    }

    /// Returns what a token says. `now` is the time in Unix seconds.
    ///
    /// # Errors
    ///
    /// The token expired more than a minute ago, which is for clocks that differ; or no key here
    /// signed these bytes.
    pub(crate) fn verify(&self, token: &[u8], now: u64) -> Result<Claims, TokenError> {
        let number = token::key_number(token).ok_or(TokenError::Forged)?;
        let key = self.keys.iter().find(|key| key.number == number).ok_or(TokenError::Forged)?;
        let claims = token::open(token, &key.hmac).ok_or(TokenError::Forged)?;
        if claims.has_expired(now) { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl fmt::Debug for ResumeKeys {
    /// Writes how many keys there are, and nothing of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeKeys").field("count", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let hash = digest::digest(&digest::SHA256, bytes);
        let number = *hash.as_ref().first().expect("a SHA-256 has 32 bytes");
        Self { number, hmac: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }
}

fn random_bytes() -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    rand::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// Reads the bytes that 64 hex digits stand for.
fn parse_hex(text: &[u8]) -> Option<[u8; KEY_LEN]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

/// Length of a key, in bytes: that of the hash, as RFC 2104 recommends.
const KEY_LEN: usize = 32;

/// Most keys in a file.
const MAX_KEYS: usize = 8;

#[cfg(test)]
mod tests {
    use waddell_core::PeerId;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn line(byte: u8) -> String {
        format!("{byte:02x}").repeat(KEY_LEN)
    }

    fn parse(text: &str) -> Result<ResumeKeys, String> {
        ResumeKeys::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn claims() -> Claims {
        Claims { id: PeerId::from_random([7; 16]), generation: 3, expires_at: NOW, subject: [0; 8] }
    }

    #[test]
    fn an_old_key_verifies_and_the_first_key_signs() {
        let old = parse(&line(1)).unwrap();
        let both = parse(&format!("{}\n{}\n", line(2), line(1))).unwrap();
        let new = parse(&line(2)).unwrap();
        assert_eq!(both.verify(&old.issue(&claims()), NOW), Ok(claims()));
        assert_eq!(both.issue(&claims()), new.issue(&claims()));
        assert_eq!(new.verify(&old.issue(&claims()), NOW), Err(TokenError::Forged));
    }

    #[test]
    fn random_keys_differ_and_are_forgotten() {
        let (first, second) = (ResumeKeys::random(), ResumeKeys::random());
        let token = first.issue(&claims());
        assert_eq!(first.verify(&token, NOW), Ok(claims()));
        assert_eq!(second.verify(&token, NOW), Err(TokenError::Forged));
        assert!(!first.outlives_restart());
        assert!(parse(&line(1)).unwrap().outlives_restart());
    }

    #[test]
    fn a_file_may_have_comments_empty_lines_and_capital_letters() {
        let text = format!("# new\r\n{}\r\n\n  # old\n {} \n", line(0xab).to_uppercase(), line(1));
        let keys = parse(&text).unwrap();
        assert_eq!(keys.keys.len(), 2);
        assert_eq!(keys.issue(&claims()), parse(&line(0xab)).unwrap().issue(&claims()));
    }

    #[test]
    fn an_unusable_file_has_a_clear_error_without_its_keys() {
        let bad = "zz".repeat(KEY_LEN);
        let many: String = (0..9).map(|byte| line(byte) + "\n").collect();
        for (text, expected) in [
            (String::new(), "no key"),
            ("# nothing\n\n".to_owned(), "no key"),
            (format!("#\n{bad}"), "line 2 is not a key of 64 hex digits"),
            (line(1)[1..].to_owned(), "line 1 is not a key"),
            (line(1) + "00", "line 1 is not a key"),
            (format!("{} {}", line(1), line(2)), "line 1 is not a key"),
            ("\u{e9}".repeat(KEY_LEN), "line 1 is not a key"),
            (many, "more than 8 keys"),
            (format!("{}\n#\n{}", line(1), line(1)), "lines 1 and 3 have the same number"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("0101") && !error.contains("zz"), "{error}");
        }
        ResumeKeys::parse(b"\xff\xfe").unwrap_err();
    }

    #[test]
    fn different_keys_with_the_same_number_are_refused() {
        let number = |byte| Key::new(&[byte; KEY_LEN]).number;
        let pair = (0..=255).find_map(|first| {
            let second = (first..=255).skip(1).find(|second| number(*second) == number(first));
            Some((first, second?))
        });
        let (first, second) = pair.expect("256 random numbers of a byte are not all different");
        let error = parse(&format!("{}\n{}", line(first), line(second))).unwrap_err();
        assert!(error.contains("lines 1 and 2 have the same number"), "{error}");
    }

    #[test]
    fn a_generated_line_is_a_key_and_a_new_one_each_time() {
        let line = ResumeKeys::generate_line();
        assert_eq!(line.len(), 64);
        assert!(parse(&line).is_ok());
        assert_ne!(ResumeKeys::generate_line(), line);
    }

    #[test]
    fn no_key_is_shown() {
        let text = format!("{:?}", parse(&line(0xab)).unwrap());
        assert_eq!(text, "ResumeKeys { count: 1, .. }");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_if_it_is_private() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt;

        // Such a file has mode 600.
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), line(1)).unwrap();
        let keys = ResumeKeys::read(file.path()).unwrap();
        assert_eq!(keys.issue(&claims()), parse(&line(1)).unwrap().issue(&claims()));
        fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
        let error = ResumeKeys::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("set it to 600"), "{error}");
    }
}
