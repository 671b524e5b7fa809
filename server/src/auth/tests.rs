//! The ways together, and the options about them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::admitted::Subject;
use super::*;

const SECRET: &str = "a secret of 32 bytes, or of more";
const TOKEN: &str = "hidden0123456789";

/// A folder of files with mode 600.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, name: &str, text: &str) -> Option<PathBuf> {
        let path = self.0.path().join(name);
        let file = tempfile::NamedTempFile::new_in(self.0.path()).unwrap();
        fs::write(file.path(), text).unwrap();
        file.persist(&path).unwrap();
        Some(path)
    }
}

fn credentials(token: &str) -> Credentials {
    Credentials {
        token: token.into(),
        address: [192, 0, 2, 1].into(),
        origin: None,
        transport: "tcp",
        agent: None,
    }
}

/// A service that is down. A request to it fails at once.
fn down() -> AccessOptions {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    AccessOptions {
        url: Some(format!("http://{}/", free.local_addr().unwrap()).parse().unwrap()),
        timeout: Duration::from_secs(600),
        ..AccessOptions::default()
    }
}

fn error(options: &AccessOptions) -> String {
    options.check().unwrap_err().to_string()
}

#[tokio::test]
async fn the_first_way_that_knows_the_token_decides() {
    let files = Files::new();
    // A token in the file that is a valid JSON Web Token too.
    let jwt = |sub: &str, exp: u64| {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        encode(&Header::default(), &json!({"sub": sub, "exp": exp}), &key).unwrap()
    };
    let (listed, valid, expired) =
        (jwt("mallory", u64::MAX), jwt("alice", u64::MAX), jwt("alice", 1));
    let local = AccessOptions {
        tokens: files.add("tokens", &format!("bob {TOKEN}\ncarol {listed}\n")),
        secret: files.add("secret", SECRET),
        ..AccessOptions::default()
    };
    let with_service = AccessOptions { url: down().url, ..local.clone() };
    let open = AccessOptions { failure: AuthFailure::Open, ..with_service.clone() };
    let unknown = jwt("alice", u64::MAX).replace('.', "..");
    for (options, unknown_is) in
        [(local, Err(Refused::Unauthorized)), (with_service, Err(Refused::Busy)), (open, Ok(None))]
    {
        let access = Access::load(&options).unwrap().unwrap();
        for (token, expected) in [
            (TOKEN, Ok(Some("bob"))),
            (&*listed, Ok(Some("carol"))),
            (&*valid, Ok(Some("alice"))),
            // It is known, so the service is not asked.
            (&*expired, Err(Refused::Unauthorized)),
            (&*unknown, unknown_is),
            ("hidden0123456780", unknown_is),
        ] {
            let decided = access.check(&credentials(token)).await;
            let subject = decided.as_ref().map(|it| it.subject.as_ref().map(Subject::as_str));
            assert_eq!(subject.map_err(|refused| *refused), expected, "{token}");
        }
    }
}

#[test]
fn without_a_way_there_is_no_authentication() {
    assert!(Access::load(&AccessOptions::default()).unwrap().is_none());
    assert!(!AccessOptions::default().has_mode());
}

#[test]
fn an_option_without_effect_is_an_error() {
    let files = Files::new();
    let default = AccessOptions::default;
    let tokens =
        || AccessOptions { tokens: files.add("tokens", &format!("bob {TOKEN}")), ..default() };
    let text = || vec!["text".to_owned()];
    for (options, expected) in [
        (AccessOptions { audience: text(), ..tokens() }, "auth-audience: needs auth-secret"),
        (AccessOptions { issuer: text(), ..tokens() }, "auth-issuer: needs auth-secret"),
        (AccessOptions { failure: AuthFailure::Open, ..tokens() }, "auth-failure: needs auth-url"),
        (AccessOptions { timeout: Duration::ZERO, ..down() }, "auth-timeout: "),
        (AccessOptions { allow_legacy: AllowLegacy::On, ..default() }, "allow-legacy: needs"),
        (
            AccessOptions { max_connections_per_subject: 1, ..default() },
            "max-connections-per-subject: needs",
        ),
        (AccessOptions { log_subjects: true, ..default() }, "log-subjects: needs"),
    ] {
        let error = error(&options);
        assert!(error.starts_with(expected), "{error}");
    }
    let all = AccessOptions {
        allow_legacy: AllowLegacy::On,
        max_connections_per_subject: 1,
        log_subjects: true,
        ..tokens()
    };
    all.check().unwrap();
}

#[test]
fn an_unusable_file_is_named_with_its_option_and_not_shown() {
    let files = Files::new();
    let absent = || Some(files.0.path().join("absent"));
    let default = AccessOptions::default;
    for options in [
        AccessOptions { tokens: absent(), ..default() },
        AccessOptions { tokens: files.add("bad", "hidden"), ..default() },
        AccessOptions { secret: absent(), ..default() },
        AccessOptions { secret: files.add("short", "hidden"), ..default() },
        AccessOptions { keys: absent(), ..default() },
        AccessOptions { keys: files.add("none", "hidden"), ..default() },
    ] {
        let error = error(&options);
        let file = [("auth-tokens", &options.tokens), ("auth-secret", &options.secret)]
            .into_iter()
            .chain([("auth-keys", &options.keys)])
            .find_map(|(option, path)| Some((option, path.as_ref()?.display())));
        let (option, path) = file.unwrap();
        assert!(error.starts_with(&format!("{option} {path}: ")), "{error}");
        assert!(!error.contains("hidden"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[cfg(unix)]
#[test]
fn secrets_must_be_private_and_public_keys_need_not() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    let files = Files::new();
    let x = URL_SAFE_NO_PAD.encode(
        b"\xd7\x5a\x98\x01\x82\xb1\x0a\xb7\xd5\x4b\xfe\xd3\xc9\x64\
        \x07\x3a\x0e\xe1\x72\xf3\xda\xa6\x23\x25\xaf\x02\x1a\x68\xf7\x07\x51\x1a",
    );
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string();
    let open = |name: &str, text: &str| {
        let path = files.add(name, text);
        fs::set_permissions(path.as_ref().unwrap(), Permissions::from_mode(0o644)).unwrap();
        path
    };
    let default = AccessOptions::default;
    let tokens = AccessOptions { tokens: open("tokens", &format!("bob {TOKEN}")), ..default() };
    let secret = AccessOptions { secret: open("secret", SECRET), ..default() };
    for options in [tokens, secret] {
        assert!(error(&options).ends_with("set it to 600"), "{}", error(&options));
    }
    AccessOptions { keys: open("keys", &keys), ..default() }.check().unwrap();
}

#[test]
fn legacy_clients_are_allowed_by_their_address() {
    let networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let networks = AllowLegacy::Networks(networks);
    for (address, expected) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("2001:db8::1", true),
        ("192.0.2.1", false),
        ("::1", false),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(networks.contains(address), expected, "{address}");
        assert!(AllowLegacy::On.contains(address));
        assert!(!AllowLegacy::Off.contains(address));
    }
}
