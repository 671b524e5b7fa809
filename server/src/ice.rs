//! The STUN and TURN servers that clients are told of, with their credentials.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use waddell_core::PeerId;

use crate::config::IceOptions;
use crate::files::secret::read_secret;

use self::url::{IceKind, IceUrl};

pub(crate) mod url;

/// The STUN and TURN servers that clients are told of.
///
/// A client's credentials for TURN are those of coturn's `use-auth-secret`: the name is a time of
/// expiry and a label, and the password is the name's HMAC-SHA-1. So the TURN server checks them
/// without asking this server.
/// Source: draft-uberti-behave-turn-rest-00.
pub struct IceServers {
    stun: Vec<IceUrl>,
    turn: Option<Turn>,
    ttl_seconds: u32,
}

struct Turn {
    urls: Vec<IceUrl>,
    secret: hmac::Key,
}

/// Why the options about STUN and TURN cannot be used. The message begins with the option's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IceError {
    /// A URL is in the list of the other kind.
    #[error("{option} {url}: {}", wrong_kind(.url.kind()))]
    Kind {
        /// The option with the list.
        option: &'static str,
        /// The URL.
        url: IceUrl,
    },
    /// There are TURN servers without a secret for their credentials.
    #[error("ice-turn: needs ice-turn-secret, from which the clients' credentials are made")]
    NoSecret,
    /// There is a secret without a TURN server.
    #[error("ice-turn-secret: needs the TURN servers in ice-turn")]
    NoTurn,
    /// The file with the secret cannot be read, or other users may read it.
    #[error("ice-turn-secret {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file has no line, or several.
    #[error("ice-turn-secret {}: expected one line, coturn's static-auth-secret", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
    },
    /// The credentials' time is too short or too long.
    #[error("ice-turn-ttl: expected a time from 5m to 24h")]
    Ttl,
    /// The text for a client would be too long.
    #[error("ice-turn: {len} bytes for each client are more than {MAX_JSON_LEN}; list fewer URLs")]
    TooLong {
        /// Its longest length, in bytes.
        len: usize,
    },
}

/// One entry of the list that a browser's `RTCPeerConnection` takes.
#[derive(Serialize)]
struct RtcIceServer<'a> {
    urls: &'a [IceUrl],
    #[serde(flatten)]
    credentials: Option<Credentials>,
}

#[derive(Serialize)]
struct Credentials {
    username: String,
    credential: String,
}

impl IceServers {
    /// Checks the options and reads the secret. Returns `None` if there are no servers.
    ///
    /// # Errors
    ///
    /// An option or the file with the secret cannot be used, or the text for a client would be
    /// longer than 4,096 bytes.
    pub fn load(options: &IceOptions) -> Result<Option<Self>, IceError> {
        let IceOptions { stun, turn, turn_secret, turn_ttl } = options;
        check_kind("ice-stun", stun, IceKind::Stun)?;
        check_kind("ice-turn", turn, IceKind::Turn)?;
        if !(MIN_TTL..=MAX_TTL).contains(turn_ttl) {
            return Err(IceError::Ttl);
        }
        let ttl_seconds = u32::try_from(turn_ttl.as_secs()).map_err(|_| IceError::Ttl)?;
        let turn = match (&**turn, turn_secret) {
            ([], None) => None,
            ([], Some(_)) => return Err(IceError::NoTurn),
            ([_, ..], None) => return Err(IceError::NoSecret),
            (urls, Some(path)) => Some(Turn { urls: urls.to_vec(), secret: secret(path)? }),
        };
        let servers = Self { stun: stun.clone(), turn, ttl_seconds };
        // No name of credentials is longer than that with the last time of all.
        let (_, longest) = servers.json_for(PeerId::NIL, None, u64::MAX);
        if longest.len() > MAX_JSON_LEN {
            return Err(IceError::TooLong { len: longest.len() });
        }
        Ok((!servers.stun.is_empty() || servers.turn.is_some()).then_some(servers))
    }

    /// Returns for how many seconds a client may use the servers, and the servers as the JSON text
    /// of an `RTCIceServer[]`, of at most 4,096 bytes.
    ///
    /// The credentials' label is from the subject's digest if there is a subject, so that a TURN
    /// server can count by subject. Otherwise it is from a hash of the id. It is never a part of
    /// the id, because the id lets its holder write to the peer. `now` is the time in Unix seconds.
    pub(crate) fn json_for(&self, id: PeerId, subject: Option<[u8; 8]>, now: u64) -> (u32, String) {
        let stun = RtcIceServer { urls: &self.stun, credentials: None };
        let turn = self.turn.as_ref().map(|turn| RtcIceServer {
            urls: &turn.urls,
            credentials: Some(
                turn.credentials(now.saturating_add(self.ttl_seconds.into()), label(id, subject)),
            ),
        });
        let servers: Vec<_> =
            Some(stun).into_iter().chain(turn).filter(|server| !server.urls.is_empty()).collect();
        let text = serde_json::to_string(&servers).expect("texts can be written as JSON");
        (self.ttl_seconds, text)
    }
}

impl fmt::Debug for IceServers {
    /// Writes the URLs, and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers")
            .field("stun", &self.stun)
            .field("turn", &self.turn.as_ref().map(|turn| &turn.urls))
            .finish_non_exhaustive()
    }
}

impl Turn {
    fn credentials(&self, expires_at: u64, label: u32) -> Credentials {
        let username = format!("{expires_at}:{label:08x}");
        let credential = STANDARD.encode(hmac::sign(&self.secret, username.as_bytes()));
        Credentials { username, credential }
    }
}

/// Returns the number in the name of credentials.
fn label(id: PeerId, subject: Option<[u8; 8]>) -> u32 {
    let first = |bytes: &[u8]| bytes.first_chunk().map_or(0, |first| u32::from_be_bytes(*first));
    match subject {
        Some(digest) => first(&digest),
        None => first(digest::digest(&digest::SHA256, id.as_bytes()).as_ref()),
    }
}

fn check_kind(option: &'static str, urls: &[IceUrl], kind: IceKind) -> Result<(), IceError> {
    match urls.iter().find(|url| url.kind() != kind) {
        Some(url) => Err(IceError::Kind { option, url: url.clone() }),
        None => Ok(()),
    }
}

fn wrong_kind(kind: IceKind) -> &'static str {
    match kind {
        IceKind::Stun => "a STUN server belongs in ice-stun",
        IceKind::Turn => "a TURN server belongs in ice-turn",
    }
}

/// Reads the secret, which is the file's only line.
fn secret(path: &Path) -> Result<hmac::Key, IceError> {
    let bytes =
        read_secret(path).map_err(|source| IceError::Read { path: path.to_owned(), source })?;
    let line = bytes.trim_ascii();
    if line.is_empty() || line.contains(&b'\n') {
        return Err(IceError::Secret { path: path.to_owned() });
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, line))
}

/// Longest text for a client, in bytes: as much as a control frame has room for.
const MAX_JSON_LEN: usize = 4_096;

/// Shortest time for credentials: clients ask for new ones at half of it.
const MIN_TTL: Duration = Duration::from_secs(5 * 60);

/// Longest time for credentials: they cannot be revoked.
const MAX_TTL: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn id() -> PeerId {
        PeerId::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x46\x07\x88\x09\x0a\x0b\x0c\x0d\x0e\x0f")
    }

    fn urls(texts: &[&str]) -> Vec<IceUrl> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Such a file has mode 600.
    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn options(
        stun: &[&str],
        turn: &[&str],
        secret: Option<&tempfile::NamedTempFile>,
    ) -> IceOptions {
        IceOptions {
            stun: urls(stun),
            turn: urls(turn),
            turn_secret: secret.map(|file| file.path().to_owned()),
            ..IceOptions::default()
        }
    }

    fn error(options: &IceOptions) -> String {
        IceServers::load(options).unwrap_err().to_string()
    }

    /// Expected values: `printf %s NAME | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn credentials_are_those_that_coturn_computes() {
        let secret = file("north\n");
        let options = options(
            &["stun:stun.example.org"],
            &["turn:turn.example.org?transport=udp", "turns:turn.example.org:443"],
            Some(&secret),
        );
        let servers = IceServers::load(&options).unwrap().unwrap();
        let expected = concat!(
            r#"[{"urls":["stun:stun.example.org"]},"#,
            r#"{"urls":["turn:turn.example.org?transport=udp","turns:turn.example.org:443"],"#,
            r#""username":"1800003600:af73551b","credential":"AlqM2lOf8w7/yD0ocuUk31C6cWo="}]"#,
        );
        assert_eq!(servers.json_for(id(), None, NOW), (3_600, expected.to_owned()));
        let (_, of_subject) =
            servers.json_for(id(), Some(*b"\x01\x02\x03\x04\xff\xff\xff\xff"), NOW);
        let expected =
            r#""username":"1800003600:01020304","credential":"0R/ehAaHLHDPN9GjRCh+LeV/bSY="}]"#;
        assert!(of_subject.ends_with(expected), "{of_subject}");
    }

    #[test]
    fn without_turn_there_are_no_credentials() {
        let servers =
            IceServers::load(&options(&["stun:a", "stun:b"], &[], None)).unwrap().unwrap();
        let expected = r#"[{"urls":["stun:a","stun:b"]}]"#;
        assert_eq!(servers.json_for(id(), None, NOW), (3_600, expected.to_owned()));
        assert!(IceServers::load(&IceOptions::default()).unwrap().is_none());
    }

    #[test]
    fn without_stun_turn_is_the_only_entry() {
        let secret = file("north");
        let servers = IceServers::load(&options(&[], &["turn:a"], Some(&secret))).unwrap().unwrap();
        let (_, text) = servers.json_for(id(), None, NOW);
        assert!(text.starts_with(r#"[{"urls":["turn:a"],"username":"#), "{text}");
    }

    #[test]
    fn contradictory_options_have_an_error_that_names_one() {
        let secret = file("north");
        for (options, expected) in [
            (options(&["turn:a"], &[], None), "ice-stun turn:a: a TURN server belongs in ice-turn"),
            (options(&[], &["stun:a"], None), "ice-turn stun:a: a STUN server belongs in ice-stun"),
            (options(&[], &["turn:a"], None), "ice-turn: needs ice-turn-secret"),
            (options(&["stun:a"], &[], Some(&secret)), "ice-turn-secret: needs"),
            (
                IceOptions { turn_ttl: Duration::from_secs(299), ..IceOptions::default() },
                "ice-turn-ttl: expected a time from 5m to 24h",
            ),
            (
                IceOptions { turn_ttl: Duration::from_secs(86_401), ..IceOptions::default() },
                "ice-turn-ttl",
            ),
        ] {
            let error = error(&options);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn an_unusable_secret_is_named_and_not_shown() {
        for text in ["", " \n", "hidden\nhidden\n"] {
            let secret = file(text);
            let error = error(&options(&[], &["turn:a"], Some(&secret)));
            let expected =
                format!("ice-turn-secret {}: expected one line", secret.path().display());
            assert!(error.starts_with(&expected), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let options = IceOptions {
            turn: urls(&["turn:a"]),
            turn_secret: Some("/no/such/file".into()),
            ..IceOptions::default()
        };
        assert!(error(&options).starts_with("ice-turn-secret /no/such/file: No such file"));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let secret = file("hidden");
        let servers = IceServers::load(&options(&[], &["turn:a"], Some(&secret))).unwrap();
        assert!(!format!("{servers:?}").contains("hidden"), "{servers:?}");
    }

    #[test]
    fn a_text_of_the_longest_length_fits_at_any_time() {
        let secret = file("north");
        let with_host = |len: usize| {
            let url = format!("turn:{}", "a".repeat(len));
            IceServers::load(&options(&[], &[&url], Some(&secret)))
        };
        let fixed = with_host(1).unwrap().unwrap().json_for(id(), None, u64::MAX).1.len() - 1;
        let longest = with_host(MAX_JSON_LEN - fixed).unwrap().unwrap();
        assert_eq!(longest.json_for(id(), None, u64::MAX).1.len(), MAX_JSON_LEN);
        assert!(longest.json_for(id(), Some([9; 8]), NOW).1.len() < MAX_JSON_LEN);
        let error = with_host(MAX_JSON_LEN - fixed + 1).unwrap_err().to_string();
        assert!(error.starts_with("ice-turn: 4097 bytes"), "{error}");
    }
}
