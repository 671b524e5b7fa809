//! Each option with a value that is not its default.

use super::*;
use crate::options::values::{bytes, delay};

/// Files for the options that have one, with what may be in it.
pub(super) struct Secrets(BTreeMap<&'static str, tempfile::NamedTempFile>);

impl Secrets {
    pub(super) fn new() -> Self {
        let key = "7".repeat(64);
        // RFC 8037, A.2.
        let jwks = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let texts = [
            ("resume-key", &*key),
            ("auth-tokens", "label 0123456789abcdef"),
            ("auth-secret", "a secret of 32 bytes, or of more"),
            ("auth-keys", jwks),
            ("ice-turn-secret", "north"),
        ];
        Self(texts.map(|(long, text)| (long, file(text))).into())
    }

    pub(super) fn path(&self, long: &str) -> Option<&Path> {
        self.0.get(long).map(tempfile::NamedTempFile::path)
    }

    fn line(&self, long: &str) -> String {
        format!("{long} = {:?}\n", self.path(long).unwrap())
    }
}

/// Returns the lines without which an option would contradict the others.
fn basis(long: &str, [cert, key, ..]: &[PathBuf; 4], secrets: &Secrets) -> String {
    match long {
        "cert" | "key" => format!("cert = {cert:?}\nkey = {key:?}\n"),
        "rate-burst" => "rate-frames = 1\n".to_owned(),
        "proxy-protocol" => "trusted-proxies = \"10.0.0.0/8\"\n".to_owned(),
        "auth-audience" | "auth-issuer" => secrets.line("auth-secret"),
        "auth-timeout" | "auth-failure" => "auth-url = \"http://127.0.0.1:1/\"\n".to_owned(),
        "allow-legacy" | "max-connections-per-subject" | "log-subjects" => {
            secrets.line("auth-tokens")
        }
        "ice-turn" | "ice-turn-secret" => {
            // Another file than that of the option.
            let secret = secrets.path("auth-secret").unwrap();
            format!("ice-turn = \"turn:a\"\nice-turn-secret = {secret:?}\n")
        }
        _ => String::new(),
    }
}

/// Returns two files for each option: one without it, and one with a value that is not its default.
pub(super) fn changes(files: &[PathBuf; 4], secrets: &Secrets) -> Vec<Change> {
    let entries = entries();
    let [.., other_cert, other_key] = files;
    let change = |argument: clap::Arg| {
        let long = argument.get_long().unwrap().to_owned();
        let (example, comment) = &entries[&long];
        if long == "self-signed" {
            // It creates files in the home folder. A test below checks it without creating them.
            return None;
        }
        let basis = basis(&long, files, secrets);
        let value = match default(&argument) {
            Some(default) => another(&long, &default),
            None if long == "cert" => format!("{other_cert:?}"),
            None if long == "key" => format!("{other_key:?}"),
            None => match secrets.path(&long) {
                Some(path) => format!("{path:?}"),
                None => example.to_string(),
            },
        };
        let text = match basis.lines().find(|line| line.starts_with(&format!("{long} ="))) {
            Some(line) => basis.replace(line, &format!("{long} = {value}")),
            None => format!("{basis}{long} = {value}\n"),
        };
        let needs_restart = comment.contains("[restart]");
        Some(Change { long, without: file(&basis), with: file(&text), needs_restart })
    };
    arguments().into_iter().filter_map(change).collect()
}

pub(super) struct Change {
    pub(super) long: String,
    without: tempfile::NamedTempFile,
    with: tempfile::NamedTempFile,
    pub(super) needs_restart: bool,
}

impl Change {
    pub(super) fn arguments(&self) -> [[&str; 2]; 2] {
        [&self.without, &self.with].map(|file| ["--config", file.path().to_str().unwrap()])
    }
}

/// Returns a value that is not the default, as TOML.
fn another(long: &str, default: &str) -> String {
    if let Ok(number) = default.parse::<i64>() {
        return if number > 100 { number - 1 } else { number + 1 }.to_string();
    }
    if let Ok(time) = delay(default) {
        return format!("\"{}ms\"", time.as_millis() + 1);
    }
    if let Ok(bytes) = bytes(default) {
        return (bytes + 1).to_string();
    }
    match (long, default) {
        ("allow-legacy", _) => "\"on\"".to_owned(),
        ("auth-failure", _) => "\"open\"".to_owned(),
        (_, "on") => "false".to_owned(),
        (_, "off") => "true".to_owned(),
        (_, "false") => "true".to_owned(),
        ("listen", _) => "\"tcp://127.0.0.1:1\"".to_owned(),
        ("log", _) => "\"debug\"".to_owned(),
        ("log-format", _) => "\"json\"".to_owned(),
        (long, default) => panic!("add a value other than {default:?} for {long}"),
    }
}
