//! Precedence among options with the same meaning.

use super::*;

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Returns the certificate, the key and the self-signed name that result from a file and flags.
fn chosen(in_file: &str, flags: &[&str]) -> [Option<String>; 3] {
    let file = file(in_file);
    let options = options(&[&["--config", path(&file)], flags].concat()).unwrap();
    let text = |path: Option<&PathBuf>| path.map(|path| path.to_str().unwrap().to_owned());
    let Options { listening, .. } = &*options;
    [text(listening.cert()), text(listening.key()), listening.self_signed.clone()]
}

fn expected(cert: &str, key: &str, self_signed: &str) -> [Option<String>; 3] {
    [cert, key, self_signed].map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

#[test]
fn a_flag_for_an_address_wins_over_the_file_under_either_name() {
    for (in_file, flags, expected) in [
        ("listen = 'ws://127.0.0.1:1'", ["--addr", "127.0.0.1:9"], "tcp://127.0.0.1:9"),
        ("addr = '127.0.0.1:1'", ["--listen", "ws://127.0.0.1:9"], "ws://127.0.0.1:9"),
        ("addr = '127.0.0.1:1'", ["--addr", "127.0.0.1:9"], "tcp://127.0.0.1:9"),
    ] {
        let file = file(in_file);
        assert_eq!(urls(&[&["--config", path(&file)], &flags[..]].concat()), [expected]);
    }
    // In the same place they add up.
    let both = file("listen = 'ws://127.0.0.1:1'\naddr = '127.0.0.1:2'");
    assert_eq!(urls(&["--config", path(&both)]), ["ws://127.0.0.1:1", "tcp://127.0.0.1:2"]);
    assert_eq!(
        urls(&["--listen", "ws://127.0.0.1:1", "--addr", "127.0.0.1:2"]),
        ["ws://127.0.0.1:1", "tcp://127.0.0.1:2"]
    );
}

#[test]
fn a_flag_for_a_certificate_wins_over_the_file_under_either_name() {
    let new_names = "cert = '/file.pem'\nkey = '/file.key'";
    let old_names = "certfile = '/file.pem'\npkfile = '/file.key'";
    for in_file in [new_names, old_names] {
        for flags in [
            ["-certfile", "flag.pem", "-pkfile", "flag.key"],
            ["--cert", "flag.pem", "--key", "flag.key"],
            ["--cert", "flag.pem", "-pkfile", "flag.key"],
        ] {
            assert_eq!(chosen(in_file, &flags), expected("flag.pem", "flag.key", ""), "{flags:?}");
        }
        assert_eq!(
            chosen(in_file, &["-pkfile", "flag.key"]),
            expected("/file.pem", "flag.key", "")
        );
        assert_eq!(chosen(in_file, &["--cert", "flag.pem"]), expected("flag.pem", "/file.key", ""));
        assert_eq!(chosen(in_file, &[]), expected("/file.pem", "/file.key", ""));
    }
}

#[test]
fn a_flag_for_one_kind_of_certificate_wins_over_the_other_kind_in_the_file() {
    for pair in ["cert = 'a'\nkey = 'b'", "certfile = 'a'\npkfile = 'b'"] {
        assert_eq!(chosen(pair, &["--self-signed", "localhost"]), expected("", "", "localhost"));
    }
    for pair in [["--cert", "a", "--key", "b"], ["-certfile", "a", "-pkfile", "b"]] {
        assert_eq!(chosen("self-signed = 'localhost'", &pair), expected("a", "b", ""));
    }
    // In the same place they contradict each other.
    let both = file("self-signed = 'localhost'\ncert = 'a'\nkey = 'b'");
    let error = config(&["--config", path(&both)]).unwrap_err();
    assert!(error.starts_with("--self-signed: "), "{error}");
}

#[test]
fn the_printed_configuration_is_the_one_in_effect() {
    let pair = file("cert = 'a'\nkey = 'b'");
    let printed = options(&[
        "--config",
        path(&pair),
        "--self-signed",
        "localhost",
        "--addr",
        "127.0.0.1:9",
        "--print-config",
    ]);
    let printed = printed.expect_err("it is printed");
    assert!(printed.contains("self-signed = \"localhost\"\n"), "{printed}");
    assert!(printed.contains("listen = [\"tls://127.0.0.1:9\"]\n"), "{printed}");
    assert!(!printed.contains("cert = "), "{printed}");
}
