//! The table of options: consistent, complete, and clear about what is wrong.

mod example;
mod precedence;

use std::fs;
use std::time::Duration;

use super::*;

fn options(arguments: &[&str]) -> Result<Box<Options>, String> {
    let arguments = std::iter::once("waddell-server").chain(arguments.iter().copied());
    match Request::from_arguments(arguments.map(OsString::from)) {
        Ok(Request::Run(options)) => Ok(options),
        Ok(Request::Print(text)) => Err(text),
        Err(error) => Err(error.to_string()),
    }
}

fn config(arguments: &[&str]) -> Result<ServerConfig, String> {
    options(arguments)?.to_config().map_err(|error| error.to_string())
}

fn urls(arguments: &[&str]) -> Vec<String> {
    config(arguments).unwrap().listen.iter().map(ToString::to_string).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_table_of_options_is_consistent() {
    Options::command().debug_assert();
    for argument in Options::command().get_arguments() {
        let Some(long) = argument.get_long() else { continue };
        if !matches!(long, "help" | "version") {
            let variable = format!("WADDELL_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env(), Some(variable.as_ref()), "--{long}");
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_library() {
    let (ours, library) = (config(&[]).unwrap(), ServerConfig::default());
    assert_eq!(format!("{ours:?}"), format!("{library:?}"));
}

#[test]
fn addresses_add_up() {
    assert_eq!(urls(&[]), ["tcp://0.0.0.0:62443", "ws://0.0.0.0:62480"]);
    assert_eq!(
        urls(&["--self-signed", "localhost", "--check"]),
        ["tls://0.0.0.0:62443", "wss://0.0.0.0:62480"]
    );
    assert_eq!(urls(&["-addr", ":62443"]), ["tcp://0.0.0.0:62443"]);
    assert_eq!(urls(&["-addr=127.0.0.1:1"]), ["tcp://127.0.0.1:1"]);
    assert_eq!(
        urls(&["--listen", "ws://127.0.0.1:1", "--listen", "auto://127.0.0.1:2"]),
        ["ws://127.0.0.1:1", "auto://127.0.0.1:2"]
    );
}

#[test]
fn flags_win_over_the_file() {
    let file = file(
        "listen = [\"tcp://127.0.0.1:1\", \"ws://127.0.0.1:2\"]\n\
         outbox = \"2MiB\"\nworkers = 3\nwrite-timeout = \"5s\"\nidle-timeout = 60\n",
    );
    let path = file.path().to_str().unwrap();
    let config = config(&["--config", path, "--write-timeout", "7s"]).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.limits.outbox_bytes, 2 << 20);
    assert_eq!(config.workers, 3);
    assert_eq!(config.timeouts.write, Duration::from_secs(7));
    assert_eq!(config.timeouts.idle, Some(Duration::from_secs(60)));
    assert_eq!(urls(&["--config", path, "--listen", "tcp://127.0.0.1:9"]), ["tcp://127.0.0.1:9"]);
}

#[test]
fn what_is_wrong_is_one_line_that_names_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = file("listn = \"tcp://127.0.0.1:1\"\n");
    let broken = file("outbox = \n");
    let nested = file("[outbox]\nbytes = 1\n");
    let bad_value = file("outbox = \"lots\"\n");
    let text = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let absent = folder.path().join("absent.pem").to_str().unwrap().to_owned();
    for (arguments, expected) in [
        (&["--listen", "foo://127.0.0.1:1"][..], &["--listen", "foo://127.0.0.1:1", "scheme"][..]),
        (&["--listen", "tls://127.0.0.1:1"], &["--listen tls://127.0.0.1:1", "--cert"]),
        (&["--cert", &absent], &["--cert", "--key"]),
        (&["--cert", &absent, "--key", &absent], &["--cert", "absent.pem"]),
        (&["--self-signed", "a", "--cert", "b", "--key", "c"], &["--self-signed", "--cert"]),
        (&["--outbox", "1KiB"], &["--outbox", "--max-frame"]),
        (&["--outbox", "many"], &["--outbox", "1MiB"]),
        (&["--max-frame", "17"], &["--max-frame"]),
        (&["--write-timeout", "soon"], &["--write-timeout", "500ms"]),
        (&["--www", &absent], &["--www", "no such folder"]),
        (&["--origin", "https://example.org/page"], &["--origin", "without a path"]),
        (&["--workers", "-1"], &["--workers"]),
        (
            &["--trusted-proxies", "10.0.0.0/33"],
            &["--trusted-proxies", "10.0.0.0/33", "10.0.0.0/8"],
        ),
        (
            &["--trusted-proxies", "10.0.0.0/8,proxy.example"],
            &["--trusted-proxies", "proxy.example"],
        ),
        (&["--proxy-protocol"], &["--proxy-protocol", "--trusted-proxies"]),
        (&["--addr", "nowhere"], &["--addr", "port is missing"]),
        (&["--log", "loud"], &["--log"]),
        (&["--config", &absent], &["--config", "absent.pem"]),
        (&["--config", &text(&unknown)], &["listn", "did you mean \"listen\""]),
        (&["--config", &text(&broken)], &["--config", "line 1"]),
        (&["--config", &text(&nested)], &["outbox", "expected text"]),
        (&["--config", &text(&bad_value)], &["--outbox", "lots"]),
        (&["--nonsense"], &["--nonsense"]),
        (&["--listne", "tcp://127.0.0.1:1"], &["--listne", "--listen"]),
    ] {
        let error = config(arguments).expect_err(&format!("{arguments:?}"));
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in expected {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
}

#[test]
fn what_belongs_on_the_command_line_is_refused_in_a_file() {
    for key in ["check", "print-config", "config", "help", "version"] {
        let file = file(&format!("{key} = true\n"));
        let error = options(&["--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.contains(&format!("{key}: belongs on the command line")), "{error}");
    }
}

#[test]
fn what_is_on_or_off_takes_the_same_words_everywhere() {
    for (word, truth) in [("on", true), ("yes", true), ("1", true), ("off", false), ("no", false)] {
        let file = file(&format!(
            "admin-debug = {word:?}\nproxy-protocol = {word:?}\nlog-addresses = {word:?}\n\
             trusted-proxies = \"192.0.2.1\"\n"
        ));
        let config = config(&["--config", file.path().to_str().unwrap()]).unwrap();
        let taken = [config.admin.debug, config.proxies.send_header, config.log_addresses];
        assert_eq!(taken, [truth; 3], "{word}");
    }
}
