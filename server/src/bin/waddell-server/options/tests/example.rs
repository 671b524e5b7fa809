//! The commented file, the table of options and what the server makes of them are one.

use std::collections::BTreeMap;
use std::path::Path;

use waddell_server::{Identity, self_signed};

use super::*;
use crate::options::values::{bytes, delay};

const EXAMPLE: &str = include_str!("../../../../../waddell.example.toml");

/// Options that have no place in the example: what is asked once, on a command line, and the
/// original's names for others.
const NOT_IN_THE_EXAMPLE: [&str; 8] =
    ["help", "version", "config", "check", "print-config", "addr", "certfile", "pkfile"];

/// The example's keys, each without the `#` before it, with what is said above it.
fn entries() -> BTreeMap<String, (toml::Value, String)> {
    let mut entries = BTreeMap::new();
    let mut said = String::new();
    for line in EXAMPLE.lines() {
        match line.strip_prefix('#') {
            None => said.clear(),
            Some(text) if text.is_empty() || text.starts_with(' ') => said.push_str(text),
            Some(setting) => {
                let table: toml::Table = setting.parse().expect(setting);
                for (key, value) in table {
                    let before = entries.insert(key.clone(), (value, said.clone()));
                    assert!(before.is_none(), "{key} is there once");
                }
            }
        }
    }
    entries
}

fn arguments() -> Vec<clap::Arg> {
    let named = |argument: &clap::Arg| {
        argument.get_long().is_some_and(|long| !NOT_IN_THE_EXAMPLE.contains(&long))
    };
    let mut command = Options::command();
    // Flags without a value have their default, false, only once it is built.
    command.build();
    command.get_arguments().filter(|argument| named(argument)).cloned().collect()
}

/// What an option is by default, as the program says it.
fn default(argument: &clap::Arg) -> Option<String> {
    match argument.get_default_values() {
        _ if argument.get_long() == Some("listen") => {
            let urls = ServerConfig::default().listen.into_iter();
            Some(urls.map(|url| url.to_string()).collect::<Vec<_>>().join(","))
        }
        [] => None,
        [value] => Some(value.to_str().unwrap().to_owned()),
        several => panic!("several defaults: {several:?}"),
    }
}

fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Everything that the program makes of its options.
fn outcome(arguments: &[&str]) -> String {
    let options = options(arguments).unwrap();
    let config = options.to_config().unwrap();
    format!("{config:?}{:?}", options.logging)
}

fn printed(arguments: &[&str]) -> String {
    options(&[arguments, &["--print-config"]].concat()).expect_err("it is printed")
}

/// A folder with a certificate and its key twice, and a file that says to use the first.
fn certificate() -> (tempfile::TempDir, [PathBuf; 4]) {
    let folder = tempfile::tempdir().unwrap();
    let Identity { cert, key } = self_signed("localhost", folder.path()).unwrap();
    let copy = |path: &Path| {
        let copy = path.with_extension("copy");
        fs::copy(path, &copy).unwrap();
        copy
    };
    let copies = [copy(&cert), copy(&key)];
    let [other_cert, other_key] = copies;
    (folder, [cert, key, other_cert, other_key])
}

#[test]
fn the_example_has_every_option_and_nothing_else() {
    let ours: Vec<_> = entries().into_keys().collect();
    let mut theirs: Vec<_> =
        arguments().iter().map(|argument| argument.get_long().unwrap().to_owned()).collect();
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn the_example_shows_the_defaults() {
    let entries = entries();
    for argument in arguments() {
        let long = argument.get_long().unwrap();
        let (value, said) = &entries[long];
        assert_ne!(said.trim(), "", "{long} is explained");
        match default(&argument) {
            Some(default) => assert_eq!(text(value), default, "{long}"),
            None => assert!(said.contains("No default"), "{long}: {said}"),
        }
    }
}

#[test]
fn the_example_can_be_used_as_it_is_and_with_every_line_in_effect() {
    let untouched = file(EXAMPLE);
    assert_eq!(outcome(&["--config", untouched.path().to_str().unwrap()]), outcome(&[]));
    let (_folder, [cert, key, ..]) = certificate();
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with("self-signed") => line.to_owned(),
        Some(setting) if setting.starts_with("cert =") => format!("cert = {cert:?}"),
        Some(setting) if setting.starts_with("key =") => format!("key = {key:?}"),
        Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
        Some(_) | None => line.to_owned(),
    });
    let all = file(&lines.collect::<Vec<_>>().join("\n"));
    let config = config(&["--config", all.path().to_str().unwrap()]).unwrap();
    assert!(config.admin.address.unwrap().ip().is_loopback(), "an example that is safe to follow");
}

/// For each option a file without it, and one in which it is not as it is by default.
fn changes([cert, key, other_cert, other_key]: &[PathBuf; 4]) -> Vec<Change> {
    let entries = entries();
    let with_certificate = format!("cert = {cert:?}\nkey = {key:?}\n");
    let change = |argument: clap::Arg| {
        let long = argument.get_long().unwrap().to_owned();
        let (example, said) = &entries[&long];
        let basis = match &*long {
            // It makes files where the user keeps them: its own test only checks it.
            "self-signed" => return None,
            "cert" | "key" => &with_certificate,
            "rate-burst" => "rate-frames = 1\n",
            "proxy-protocol" => "trusted-proxies = \"10.0.0.0/8\"\n",
            _ => "",
        };
        let value = match default(&argument) {
            Some(default) => another(&long, &default),
            None if long == "cert" => format!("{other_cert:?}"),
            None if long == "key" => format!("{other_key:?}"),
            None => example.to_string(),
        };
        let text = match basis.lines().find(|line| line.starts_with(&format!("{long} ="))) {
            Some(line) => basis.replace(line, &format!("{long} = {value}")),
            None => format!("{basis}{long} = {value}\n"),
        };
        let needs_restart = said.contains("[restart]");
        Some(Change { long, without: file(basis), with: file(&text), needs_restart })
    };
    arguments().into_iter().filter_map(change).collect()
}

struct Change {
    long: String,
    without: tempfile::NamedTempFile,
    with: tempfile::NamedTempFile,
    needs_restart: bool,
}

impl Change {
    fn arguments(&self) -> [[&str; 2]; 2] {
        [&self.without, &self.with].map(|file| ["--config", file.path().to_str().unwrap()])
    }
}

#[test]
fn no_option_is_without_effect() {
    let (_folder, files) = certificate();
    for change in changes(&files) {
        let [without, with] = change.arguments();
        assert_ne!(outcome(&with), outcome(&without), "{} has an effect", change.long);
        assert_ne!(printed(&with), printed(&without), "{} is printed", change.long);
    }
    assert!(config(&["--check", "--self-signed", "x", "--listen", "tls://:1"]).is_ok());
}

#[test]
fn the_example_says_which_options_need_a_restart() {
    let (_folder, files) = certificate();
    for change in changes(&files) {
        // How log lines look is the program's affair.
        if change.long.starts_with("log") {
            assert_eq!(change.needs_restart, change.long == "log-format", "{}", change.long);
            continue;
        }
        let [without, with] = change.arguments().map(|[option, file]| match &*change.long {
            "listen" => vec![option, file],
            _ => vec![option, file, "--listen", "tcp://127.0.0.1:0"],
        });
        let mut before = config(&without).unwrap();
        let after = config(&with).unwrap();
        if change.long == "listen" {
            before.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        }
        let server = waddell_server::Server::bind(before).unwrap();
        let restart = server.handle().reload(&after).unwrap();
        assert_eq!(!restart.is_empty(), change.needs_restart, "{}: {restart:?}", change.long);
    }
}

/// A value that is not the default, as TOML.
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
        (_, "on") => "false".to_owned(),
        (_, "false") => "true".to_owned(),
        ("listen", _) => "\"tcp://127.0.0.1:1\"".to_owned(),
        ("log", _) => "\"debug\"".to_owned(),
        ("log-format", _) => "\"json\"".to_owned(),
        (long, default) => panic!("another value than {default:?} for {long}, please"),
    }
}

#[test]
fn what_is_printed_says_the_same_when_it_is_read_again() {
    let (_folder, [cert, key, ..]) = certificate();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    for arguments in [
        &[][..],
        &["-addr", ":1", "-certfile", cert, "-pkfile", key],
        &["--listen", "tcp://:1,ws://[::1]:2", "--addr", "127.0.0.1:3", "--max-frame", "100"],
        &["--origin", "https://a.example,https://b.example", "--www", "off"],
        &["--trusted-proxies", "10.0.0.0/8,::ffff:1.2.3.4,2001:db8::/32", "--proxy-protocol"],
        &["--rate-frames", "3", "--rate-burst", "1m", "--idle-timeout", "1h 30m"],
        &["--outbox", "128KiB", "--admin", "[::1]:1", "--log", "off", "--log-format", "json"],
    ] {
        let first = printed(arguments);
        let file = file(&first);
        let again = ["--config", file.path().to_str().unwrap()];
        assert_eq!(printed(&again), first);
        assert_eq!(outcome(&again), outcome(arguments));
    }
}

#[test]
fn what_cannot_be_used_is_not_printed() {
    let error = options(&["--print-config", "--outbox", "1KiB"]).expect_err("it is too small");
    assert!(error.contains("--outbox"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
