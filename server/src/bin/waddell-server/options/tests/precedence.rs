//! Of options that stand for the same, the one that was said nearest holds.

use super::*;

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// The certificate, the key and the name of a self-signed one that flags and a file come to.
fn chosen(file_says: &str, flags: &[&str]) -> [Option<String>; 3] {
    let file = file(file_says);
    let options = options(&[&["--config", path(&file)], flags].concat()).unwrap();
    let text = |path: Option<&PathBuf>| path.map(|path| path.to_str().unwrap().to_owned());
    let Options { listening, .. } = &*options;
    [text(listening.cert()), text(listening.key()), listening.self_signed.clone()]
}

fn is(cert: &str, key: &str, self_signed: &str) -> [Option<String>; 3] {
    [cert, key, self_signed].map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

#[test]
fn an_address_wins_over_the_file_by_either_name() {
    for (file_says, flags, expected) in [
        ("listen = 'ws://127.0.0.1:1'", ["--addr", "127.0.0.1:9"], "tcp://127.0.0.1:9"),
        ("addr = '127.0.0.1:1'", ["--listen", "ws://127.0.0.1:9"], "ws://127.0.0.1:9"),
        ("addr = '127.0.0.1:1'", ["--addr", "127.0.0.1:9"], "tcp://127.0.0.1:9"),
    ] {
        let file = file(file_says);
        assert_eq!(urls(&[&["--config", path(&file)], &flags[..]].concat()), [expected]);
    }
    // Said at the same place they add up.
    let both = file("listen = 'ws://127.0.0.1:1'\naddr = '127.0.0.1:2'");
    assert_eq!(urls(&["--config", path(&both)]), ["ws://127.0.0.1:1", "tcp://127.0.0.1:2"]);
    assert_eq!(
        urls(&["--listen", "ws://127.0.0.1:1", "--addr", "127.0.0.1:2"]),
        ["ws://127.0.0.1:1", "tcp://127.0.0.1:2"]
    );
}

#[test]
fn a_certificate_wins_over_the_file_by_either_name() {
    let ours = "cert = 'file.pem'\nkey = 'file.key'";
    let theirs = "certfile = 'file.pem'\npkfile = 'file.key'";
    for file_says in [ours, theirs] {
        for flags in [
            ["-certfile", "flag.pem", "-pkfile", "flag.key"],
            ["--cert", "flag.pem", "--key", "flag.key"],
            ["--cert", "flag.pem", "-pkfile", "flag.key"],
        ] {
            assert_eq!(chosen(file_says, &flags), is("flag.pem", "flag.key", ""), "{flags:?}");
        }
        assert_eq!(chosen(file_says, &["-pkfile", "flag.key"]), is("file.pem", "flag.key", ""));
        assert_eq!(chosen(file_says, &["--cert", "flag.pem"]), is("flag.pem", "file.key", ""));
        assert_eq!(chosen(file_says, &[]), is("file.pem", "file.key", ""));
    }
}

#[test]
fn a_pair_and_a_self_signed_certificate_win_over_the_other_in_the_file() {
    for pair in ["cert = 'a'\nkey = 'b'", "certfile = 'a'\npkfile = 'b'"] {
        assert_eq!(chosen(pair, &["--self-signed", "localhost"]), is("", "", "localhost"));
    }
    for pair in [["--cert", "a", "--key", "b"], ["-certfile", "a", "-pkfile", "b"]] {
        assert_eq!(chosen("self-signed = 'localhost'", &pair), is("a", "b", ""));
    }
    // Said at the same place they contradict each other.
    let both = file("self-signed = 'localhost'\ncert = 'a'\nkey = 'b'");
    let error = config(&["--config", path(&both)]).unwrap_err();
    assert!(error.starts_with("--self-signed: "), "{error}");
}

#[test]
fn what_is_printed_is_what_holds() {
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
