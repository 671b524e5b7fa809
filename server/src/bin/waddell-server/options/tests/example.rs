//! The example file agrees with the table of options and with the server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use waddell_server::{Identity, self_signed};

use super::*;

mod changes;

use changes::{Secrets, changes};

const EXAMPLE: &str = include_str!("../../../../../waddell.example.toml");

/// Options that the example leaves out: those of the command line, and the original's names.
const NOT_IN_THE_EXAMPLE: [&str; 9] =
    ["help", "version", "config", "check", "print-config", "new-key", "addr", "certfile", "pkfile"];

/// Returns the keys of the example, each with its value and the comment above it.
fn entries() -> BTreeMap<String, (toml::Value, String)> {
    let mut entries = BTreeMap::new();
    let mut comment = String::new();
    for line in EXAMPLE.lines() {
        match line.strip_prefix('#') {
            None => comment.clear(),
            Some(text) if text.is_empty() || text.starts_with(' ') => comment.push_str(text),
            Some(setting) => {
                let table: toml::Table = setting.parse().expect(setting);
                for (key, value) in table {
                    let before = entries.insert(key.clone(), (value, comment.clone()));
                    assert!(before.is_none(), "{key} occurs once");
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

/// Returns the default of an option, as text.
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

/// Returns everything that the program reads from its options, as text.
fn outcome(arguments: &[&str]) -> String {
    let options = options(arguments).unwrap();
    let config = options.to_config().unwrap();
    format!("{config:?}{:?}", options.logging)
}

fn printed(arguments: &[&str]) -> String {
    options(&[arguments, &["--print-config"]].concat()).expect_err("it is printed")
}

/// Returns a folder, and in it a certificate, its key, and a copy of each.
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
        let (value, comment) = &entries[long];
        assert_ne!(comment.trim(), "", "{long} is explained");
        match default(&argument) {
            Some(default) => assert_eq!(text(value), default, "{long}"),
            None => assert!(comment.contains("No default"), "{long}: {comment}"),
        }
    }
}

#[test]
fn the_example_can_be_used_as_it_is_and_with_every_key_uncommented() {
    let untouched = file(EXAMPLE);
    assert_eq!(outcome(&["--config", untouched.path().to_str().unwrap()]), outcome(&[]));
    let (_folder, [cert, key, ..]) = certificate();
    let secrets = Secrets::new();
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with("self-signed") => line.to_owned(),
        Some(setting) if setting.starts_with("cert =") => format!("cert = {cert:?}"),
        Some(setting) if setting.starts_with("key =") => format!("key = {key:?}"),
        Some(setting) if !setting.starts_with(' ') => {
            let long = setting.split(' ').next().unwrap_or_default();
            secrets.path(long).map_or(setting.to_owned(), |path| format!("{long} = {path:?}"))
        }
        Some(_) | None => line.to_owned(),
    });
    let all = file(&lines.collect::<Vec<_>>().join("\n"));
    let config = config(&["--config", all.path().to_str().unwrap()]).unwrap();
    assert!(
        config.admin.address.unwrap().ip().is_loopback(),
        "the example of an admin address is safe"
    );
}

#[test]
fn no_option_is_without_effect() {
    let (_folder, files) = certificate();
    for change in changes(&files, &Secrets::new()) {
        let [without, with] = change.arguments();
        assert_ne!(outcome(&with), outcome(&without), "{} has an effect", change.long);
        assert_ne!(printed(&with), printed(&without), "{} is printed", change.long);
    }
    assert!(config(&["--check", "--self-signed", "x", "--listen", "tls://:1"]).is_ok());
}

#[test]
fn the_example_says_which_options_need_a_restart() {
    let (_folder, files) = certificate();
    for change in changes(&files, &Secrets::new()) {
        // The log is the program's, and unknown to the library.
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

#[test]
fn the_help_names_the_options_that_need_a_restart() {
    let (_, list) = EXAMPLES.split_once("These options need a restart:").unwrap();
    let (list, _) = list.split_once('.').unwrap();
    let in_help: BTreeSet<_> = list.split(',').map(|option| option.trim().to_owned()).collect();
    let marked = entries().into_iter().filter(|(_, (_, comment))| comment.contains("[restart]"));
    let marked = marked.map(|(key, _)| format!("--{key}"));
    // The original's name for `listen` is not in the example.
    let expected: BTreeSet<_> = marked.chain(["--addr".to_owned()]).collect();
    assert_eq!(in_help, expected);
}

#[test]
fn the_printed_configuration_has_the_same_meaning_when_it_is_read() {
    let (_folder, [cert, key, ..]) = certificate();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    for arguments in [
        &[][..],
        &["-addr", ":1", "-certfile", cert, "-pkfile", key],
        &["--listen", "tcp://:1,ws://[::1]:2", "--addr", "127.0.0.1:3", "--max-frame", "100"],
        &["--origin", "https://a.example,https://b.example", "--www", "off"],
        &["--trusted-proxies", "10.0.0.0/8,::ffff:1.2.3.4,2001:db8::/32", "--proxy-protocol"],
        &["--rate-frames", "3", "--rate-burst", "1m", "--idle-timeout", "1h 30m"],
        &["--ice-stun", "stun:a,stuns:b:1", "--away-time", "0", "--restart-elsewhere", "on"],
        &["--auth-url", "http://[::1]:1/a?b", "--allow-legacy", "10.0.0.0/8,192.0.2.1"],
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
fn a_configuration_that_cannot_be_used_is_not_printed() {
    let error = options(&["--print-config", "--outbox", "1KiB"]).expect_err("it is too small");
    assert!(error.contains("--outbox"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
