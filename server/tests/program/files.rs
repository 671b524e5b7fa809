//! Files of the operator that cannot be read like others.

use std::fs;
use std::process::Command;

use crate::support::{PROGRAM, Running, fails, text};

#[test]
fn a_fifo_is_an_error_for_a_check_and_for_a_reload() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is installed");
    assert!(made.success());
    let path = text(&fifo);
    for (arguments, named) in [
        (&["--config", path][..], "--config"),
        (&["--cert", path, "--key", path], "--cert: cannot read the certificate"),
    ] {
        fails(Command::new(PROGRAM).arg("--check").args(arguments), 2, named);
    }

    let toml = folder.path().join("waddell.toml");
    fs::write(&toml, "outbox = '1MiB'\n").expect("the disk has room");
    let mut server = Running::start(&["--config", text(&toml), "--listen=tcp://127.0.0.1:0"], 1);
    let mut log = server.log();
    let mut logged = |part: &str| log.any(|line| line.is_ok_and(|line| line.contains(part)));
    fs::rename(&fifo, &toml).expect("both are in one folder");
    server.signal("HUP");
    assert!(logged("it is not a regular file"));
    fs::remove_file(&toml).expect("it is there");
    fs::write(&toml, "outbox = '2MiB'\n").expect("the disk has room");
    server.signal("HUP");
    assert!(logged("configuration reloaded"));
}
