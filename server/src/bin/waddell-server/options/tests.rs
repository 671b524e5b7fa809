//! The table of options: consistent, complete, and with errors that name the option.

mod example;
mod precedence;

use std::fs;
use std::time::Duration;

use waddell_server::AllowLegacy;

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
fn paths_in_a_file_are_relative_to_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let identity = waddell_server::self_signed("localhost", folder.path()).unwrap();
    fs::create_dir(folder.path().join("pages")).unwrap();
    let toml = folder.path().join("waddell.toml");
    let text = "cert = 'localhost.cert.pem'\nkey = './localhost.key.pem'\nwww = 'pages'\n\
                resume-key = 'resume.key'\n";
    fs::write(&toml, text).unwrap();
    let resume_key = folder.path().join("resume.key");
    let key = file(&ResumeKeys::generate_line());
    key.persist(&resume_key).unwrap();
    let arguments = ["--config", toml.to_str().unwrap()];
    let with_file = config(&arguments).unwrap();
    assert_eq!(with_file.identity, Some(identity));
    assert_eq!(with_file.extension.resume_key, Some(resume_key));
    assert_eq!(with_file.http.www, waddell_server::Www::Folder(folder.path().join("pages")));

    // What is printed means the same in another folder.
    let printed = options(&[&arguments[..], &["--print-config"]].concat()).unwrap_err();
    let elsewhere = file(&printed);
    assert_eq!(config(&["--config", elsewhere.path().to_str().unwrap()]).unwrap(), with_file);

    fs::write(&toml, "www = 'off'").unwrap();
    assert_eq!(config(&arguments).unwrap().http.www, waddell_server::Www::Off);
    let absolute = format!("www = {:?}", folder.path());
    fs::write(&toml, absolute).unwrap();
    assert_eq!(
        config(&arguments).unwrap().http.www,
        waddell_server::Www::Folder(folder.path().to_owned())
    );
}

#[test]
fn origins_are_printed_as_they_are_compared() {
    let origins = ["--origin", "HTTPS://Example.org:443", "--print-config"];
    let printed = options(&origins).unwrap_err();
    assert!(printed.contains("origin = [\"https://example.org\"]\n"), "{printed}");
}

/// Fails if the library has a default for an option that has none here, or one that cannot be
/// written as text.
#[test]
fn without_options_the_configuration_is_the_default_of_the_library() {
    assert_eq!(config(&[]).unwrap(), ServerConfig::default());
}

#[test]
fn the_help_names_the_default_listeners() {
    let command = Options::command();
    let listen = command.get_arguments().find(|argument| argument.get_long() == Some("listen"));
    let help = listen.unwrap().get_help().unwrap().to_string();
    for url in ServerConfig::default().listen {
        assert!(help.contains(&url.to_string()), "{url}: {help}");
    }
}

#[test]
fn with_a_certificate_the_default_listeners_speak_tls() {
    let secured = urls(&["--self-signed", "localhost", "--check"]);
    assert_eq!(secured, ["tls://0.0.0.0:62443", "wss://0.0.0.0:62480"]);
}

#[test]
fn addresses_are_read_with_one_dash_or_two_and_add_up() {
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
fn an_error_is_one_line_that_names_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = file("listn = \"tcp://127.0.0.1:1\"\n");
    let broken = file("outbox = \n");
    let nested = file("[outbox]\nbytes = 1\n");
    let bad_value = file("outbox = \"lots\"\n");
    let text = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let absent = folder.path().join("absent.pem").to_str().unwrap().to_owned();
    for (arguments, expected) in [
        (&["--listen", "foo://127.0.0.1:1"][..], &["--listen", "foo://127.0.0.1:1", "scheme"][..]),
        (&["--listen", "http://127.0.0.1:1"], &["--listen", "scheme"]),
        (&["--listen", "tcp://127.0.0.1"], &["--listen", "port"]),
        (&["--listen", "tcp://127.0.0.1:70000"], &["--listen", "port"]),
        (
            &["--listen", "tls://127.0.0.1:1"],
            &["--listen tls://127.0.0.1:1: needs --cert and --key, or --self-signed"],
        ),
        (&["--cert", &absent], &["--cert: needs --key"]),
        (&["--key", &absent], &["--key: needs --cert"]),
        (&["--cert", &absent, "--key", &absent], &["--cert", "absent.pem"]),
        (&["--self-signed", "a", "--cert", "b", "--key", "c"], &["--self-signed", "--cert"]),
        (&["--outbox", "1KiB"], &["--outbox", "--max-frame"]),
        (&["--outbox", "many"], &["--outbox", "1MiB"]),
        (&["--outbox", "64MiB"], &["--outbox-total", "16 times"]),
        (&["--outbox-total", "1MiB"], &["--outbox-total", "8MiB"]),
        (&["--max-frame", "17"], &["--max-frame"]),
        (&["--max-frame", "65536"], &["--max-frame"]),
        (&["--max-connections", "-1"], &["-1"]),
        (&["--write-timeout", "0s"], &["--write-timeout", "1ms"]),
        (&["--write-timeout", "soon"], &["--write-timeout", "500ms"]),
        (&["--www", &absent], &["--www", "no such folder"]),
        (&["--origin", "https://example.org/page"], &["--origin", "without a path"]),
        (&["--origin", "example.org"], &["--origin", "https://"]),
        (&["--workers", "-1"], &["--workers"]),
        (&["--workers", "100000"], &["--workers", "1024"]),
        (
            &["--trusted-proxies", "10.0.0.0/33"],
            &["--trusted-proxies", "10.0.0.0/33", "10.0.0.0/8"],
        ),
        (
            &["--trusted-proxies", "10.0.0.0/8,proxy.example"],
            &["--trusted-proxies", "proxy.example"],
        ),
        (&["--proxy-protocol"], &["--proxy-protocol", "--trusted-proxies"]),
        (&["--resume-key", &absent], &["--resume-key", "absent.pem"]),
        (&["--resume-key", &text(&unknown)], &["--resume-key", "line 1", "--new-key"]),
        (&["--resume-window", "1s"], &["--resume-window", "10s to 24h"]),
        (&["--away-time", "2h"], &["--away-time", "0s to 1h"]),
        (&["--auth-tokens", &absent], &["--auth-tokens", "absent.pem"]),
        (&["--auth-tokens", &text(&nested)], &["--auth-tokens", "line 1"]),
        (&["--auth-secret", &text(&unknown)], &["--auth-secret", "32 bytes"]),
        (&["--auth-keys", &text(&unknown)], &["--auth-keys", "no public key"]),
        (&["--auth-audience", "a"], &["--auth-audience", "needs auth-secret"]),
        (&["--auth-url", "not a url"], &["--auth-url", "not a url"]),
        (&["--auth-url", "ftp://example.org"], &["--auth-url", "https://"]),
        (&["--auth-failure", "maybe"], &["--auth-failure", "closed"]),
        (&["--allow-legacy", "on"], &["--allow-legacy", "needs auth-tokens"]),
        (&["--allow-legacy", "on,10.0.0.0/8"], &["--allow-legacy", "networks"]),
        (&["--max-connections-per-subject", "1"], &["--max-connections-per-subject", "needs"]),
        (&["--log-subjects", "on"], &["--log-subjects", "needs"]),
        (
            &["--extension", "off", "--auth-url", "http://127.0.0.1:1/"],
            &["--extension off", "credentials"],
        ),
        (&["--ice-stun", "stun://a"], &["--ice-stun", "slashes"]),
        (&["--ice-turn", "turn:a"], &["--ice-turn", "ice-turn-secret"]),
        (&["--ice-turn-secret", &absent], &["--ice-turn-secret", "ice-turn"]),
        (&["--ice-turn-ttl", "1m"], &["--ice-turn-ttl", "5m to 24h"]),
        (&["--addr", "nowhere"], &["--addr", "port is missing"]),
        (&["--log", "loud"], &["--log"]),
        (&["--log-format", "xml"], &["--log-format", "json"]),
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
fn options_of_the_command_line_are_not_allowed_in_a_file() {
    for key in ["check", "print-config", "config", "help", "new-key", "version"] {
        let file = file(&format!("{key} = true\n"));
        let error = options(&["--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.contains(&format!("{key}: not allowed in a file; use --{key}")), "{error}");
    }
}

#[test]
fn a_new_key_is_printed_whatever_the_other_options_say() {
    let keys: Vec<_> = (0..2)
        .map(|_| options(&["--new-key", "--config", "/no/such/file"]).expect_err("it is printed"))
        .collect();
    let key = file(&keys.concat());
    let path = key.path().to_owned();
    let config = config(&["--resume-key", path.to_str().unwrap()]).unwrap();
    assert_eq!(config.extension.resume_key, Some(path));
}

#[test]
fn legacy_clients_are_named_by_a_word_or_by_networks() {
    let tokens = file("label 0123456789abcdef\n");
    let tokens = tokens.path().to_str().unwrap();
    let allowed = |value: &str| {
        let file = file(&format!("auth-tokens = {tokens:?}\nallow-legacy = {value}\n"));
        config(&["--config", file.path().to_str().unwrap()]).unwrap().access.allow_legacy
    };
    assert_eq!(allowed("'off'"), AllowLegacy::Off);
    assert_eq!(allowed("false"), AllowLegacy::Off);
    assert_eq!(allowed("'on'"), AllowLegacy::On);
    let networks = ["10.0.0.0/8", "192.0.2.1/32"].map(|network| network.parse().unwrap()).into();
    assert_eq!(allowed("['10.0.0.0/8', '192.0.2.1']"), AllowLegacy::Networks(networks));
}

#[test]
fn switches_accept_the_same_words_everywhere() {
    for (word, value) in [("on", true), ("yes", true), ("1", true), ("off", false), ("no", false)] {
        let file = file(&format!(
            "admin-debug = {word:?}\nproxy-protocol = {word:?}\nlog-addresses = {word:?}\n\
             trusted-proxies = \"192.0.2.1\"\n"
        ));
        let config = config(&["--config", file.path().to_str().unwrap()]).unwrap();
        let set = [config.admin.debug, config.proxies.send_header, config.log_addresses];
        assert_eq!(set, [value; 3], "{word}");
    }
}
