//! The program: its output, its exit codes, its errors, and its limits.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod files;
mod late;
mod logs;
mod memory;
mod shutdown;
mod support;
mod systemd;

use support::{
    PROGRAM, Running, certificate, fails, greeting, message, metric, openssl, run, text, until,
};

#[test]
fn listeners_are_printed_and_sigterm_or_sigint_ends_the_program_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut server =
            Running::start(&["--listen", "tcp://127.0.0.1:0", "--listen", "ws://127.0.0.1:0"], 2);
        assert!(server.urls()[0].starts_with("tcp://127.0.0.1:"), "{:?}", server.urls());
        assert!(server.urls()[1].starts_with("ws://127.0.0.1:"), "{:?}", server.urls());
        let mut one = server.connect(0);
        let mut other = server.connect(0);
        greeting(&mut one);
        let to = greeting(&mut other);
        one.write_all(&message(to, b"in flight")).expect("the connection is open");
        server.signal(signal);
        let mut received = Vec::new();
        other.read_to_end(&mut received).expect("it is closed cleanly");
        assert_eq!(received.get(20..), Some(&b"in flight"[..]));
        drop((one, other));
        let (code, log) = server.ended();
        assert_eq!(code, Some(0), "SIG{signal}: {log}");
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let mut server = Running::start(
        &["--listen", "tcp://127.0.0.1:0", "--drain-timeout=1h", "--write-timeout=1h"],
        1,
    );
    let mut sender = server.connect(0);
    let mut stuck = server.connect(0);
    let from = greeting(&mut sender);
    let to = greeting(&mut stuck);
    // More than fits into the sockets. The answer shows that the server has read everything.
    for _ in 0..400 {
        sender.write_all(&message(to, &[0; 60_000])).expect("the connection is open");
    }
    sender.write_all(&message(from, b"done")).expect("the connection is open");
    sender.read_exact(&mut [0; 24]).expect("the answer arrives");
    server.signal("TERM");
    // The sender is disconnected; the server waits for the other one.
    assert_eq!(sender.read(&mut [0]).expect("it is closed cleanly"), 0);
    assert!(server.exited().is_none());
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(1), "{log}");
    drop(stuck);
}

/// Further options and their messages are tested with the table of options.
#[test]
fn a_bad_option_ends_the_program_with_code_2_and_one_line_that_names_it() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let (cert, key) = certificate(folder.path());
    let (cert, key) = (text(&cert), text(&key));
    openssl(folder.path(), "genpkey -algorithm ED25519 -out other.pem");
    let other = folder.path().join("other.pem");
    let other = text(&other);
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "no certificate").expect("the disk has room");
    let empty = text(&empty);
    let toml = folder.path().join("bad.toml");
    fs::write(&toml, "outbox = \"1MiB\"\nwrite_timeout = 3\n").expect("the disk has room");
    for (arguments, named) in [
        (&["--listen", "tcp://no-such-host.invalid:1"][..], "--listen"),
        (&["--outbox", "lots"], "--outbox"),
        (&["--outbox", "1KiB"], "--outbox"),
        (&["--no-such-option"], "--no-such-option"),
        (&["--cert", "/no/such.pem", "--key", key], "--cert"),
        (&["--cert", cert, "--key", "/no/such.pem"], "--key"),
        (&["--cert", empty, "--key", key], "--cert"),
        (&["--cert", cert, "--key", empty], "--key"),
        (&["--cert", cert, "--key", other], "--cert"),
        (&["--resume-key", "/no/such.key"], "--resume-key"),
        (&["--auth-tokens", "/no/such.tokens"], "--auth-tokens"),
        (&["--auth-keys", empty], "--auth-keys"),
        (&["--ice-turn", "turn:127.0.0.1"], "--ice-turn"),
        (&["--config", text(&toml)], "write_timeout"),
    ] {
        fails(Command::new(PROGRAM).args(arguments), 2, named);
        fails(Command::new(PROGRAM).args(arguments).arg("--check"), 2, named);
    }
    fails(Command::new(PROGRAM).env("WADDELL_OUTBOX", "lots"), 2, "--outbox");
}

#[test]
fn the_exit_code_is_1_for_an_address_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let url = format!("tcp://{}", taken.local_addr().expect("it is bound"));
    fails(Command::new(PROGRAM).args(["--listen", &url]), 1, &url);
}

#[test]
fn a_variable_wins_over_the_file_and_a_flag_over_both_under_any_name() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let toml = folder.path().join("waddell.toml");
    fs::write(&toml, "listen = 'ws://127.0.0.1:1'").expect("the disk has room");
    for (flags, listen) in [
        (&[][..], "listen = [\"tcp://127.0.0.1:2\"]\n"),
        (&["--listen=ws://127.0.0.1:3"], "listen = [\"ws://127.0.0.1:3\"]\n"),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(["--print-config", "--config", text(&toml)]).args(flags);
        let output =
            command.env("WADDELL_ADDR", "127.0.0.1:2").output().expect("the program exists");
        let printed = String::from_utf8(output.stdout).expect("it is text");
        assert!(printed.contains(listen), "{printed}");
    }
}

/// `/dev/full` is a file of Linux.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error_but_a_closed_pipe_is_none() {
    for option in ["--version", "--help", "--print-config", "--new-key"] {
        let closed = {
            let (reader, writer) = std::io::pipe().expect("there are descriptors");
            drop(reader);
            Command::new(PROGRAM).arg(option).stdout(writer).output().expect("the program exists")
        };
        assert_eq!((closed.status.code(), &closed.stderr[..]), (Some(0), &b""[..]), "{option}");
        let full = || fs::File::options().write(true).open("/dev/full").expect("it is on Linux");
        fails(Command::new(PROGRAM).arg(option).stdout(full()), 1, "cannot print");
        // Nothing can be said, but the exit code says enough.
        let mut mute = Command::new(PROGRAM);
        mute.arg("--no-such-option").stdout(full()).stderr(full());
        assert_eq!(mute.status().expect("the program exists").code(), Some(2));
    }
}

#[test]
fn a_check_warns_of_what_is_probably_not_meant() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let (cert, key) = expired_certificate(folder.path());
    let mut command = Command::new(PROGRAM);
    command.args(["--check", "--cert", text(&cert), "--key", text(&key)]);
    let output = command.env("WADDELL_LISTNE", "tcp://:1").output().expect("the program exists");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).expect("it is text");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].ends_with("WADDELL_LISTNE is no option; did you mean WADDELL_LISTEN?"));
    assert!(lines[1].contains("expired at 2020-02-03T00:00:00Z"), "{stderr}");
}

#[test]
fn too_few_descriptors_are_an_error_and_no_panic() {
    for count in ["5", "6", "7", "8"] {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $0; exec \"$@\"", count, PROGRAM]);
        fails(command.arg("--listen=tcp://127.0.0.1:0"), 1, "Too many open files");
    }
}

#[test]
fn a_check_without_errors_prints_nothing() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let (cert, key) = certificate(folder.path());
    let toml = folder.path().join("waddell.toml");
    let lines = format!("cert = {:?}\nkey = {:?}\n", text(&cert), text(&key));
    fs::write(&toml, lines).expect("the disk has room");
    let output = run(&["--check", "--config", text(&toml)]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b""[..], &b""[..]));
    let mut by_variable = Command::new(PROGRAM);
    let by_variable = by_variable.env("WADDELL_CHECK", "1").env("WADDELL_ADMIN_DEBUG", "on");
    assert_eq!(by_variable.output().expect("the program exists").status.code(), Some(0));
}

#[test]
fn a_running_server_uses_flags_before_variables_and_variables_before_the_file() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let toml = folder.path().join("waddell.toml");
    let lines = "listen = [\"ws://127.0.0.1:0\"]\nmax-frame = 1000\n";
    fs::write(&toml, lines).expect("the disk has room");
    let mut server = Running::start_command(
        Command::new(PROGRAM)
            .args(["--config", text(&toml), "--max-frame=100"])
            .env("WADDELL_LISTEN", "tcp://127.0.0.1:0")
            .env("WADDELL_MAX_FRAME", "50"),
        1,
    );
    assert!(server.urls()[0].starts_with("tcp://"), "{:?}", server.urls());
    let mut peer = server.connect(0);
    let id = greeting(&mut peer);
    peer.write_all(&message(id, &[0; 82])).expect("the connection is open");
    peer.read_exact(&mut [0; 102]).expect("a frame of 100 bytes is forwarded");
    peer.write_all(&message(id, &[0; 83])).expect("the connection is open");
    let end = peer.read(&mut [0]).expect("it is closed cleanly");
    assert_eq!(end, 0, "a frame of 101 bytes is rejected");
    drop(peer);
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn every_usual_format_of_certificate_and_key_is_accepted() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let folder = folder.path();
    certificate(folder);
    openssl(folder, "ec -in key.pem -out sec1.pem");
    openssl(
        folder,
        "req -x509 -nodes -days 2 -subj /CN=localhost -newkey rsa:2048 \
         -keyout rsa.pem -out rsa.cert.pem",
    );
    openssl(folder, "rsa -in rsa.pem -traditional -out pkcs1.pem");
    // An authority and a certificate signed by it; the chain file begins with the certificate.
    openssl(
        folder,
        "req -x509 -nodes -days 2 -subj /CN=authority -newkey rsa:2048 -keyout ca.key -out ca.pem",
    );
    fs::write(folder.join("leaf.ext"), "subjectAltName = DNS:localhost\n")
        .expect("the disk has room");
    openssl(folder, "req -new -key key.pem -subj /CN=localhost -out leaf.csr");
    openssl(
        folder,
        "x509 -req -days 2 -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
         -extfile leaf.ext -out leaf.pem",
    );
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the file exists");
    fs::write(folder.join("chain.pem"), read("leaf.pem") + &read("ca.pem"))
        .expect("the disk has room");
    for (key, kind) in [
        ("key.pem", "BEGIN PRIVATE KEY"),
        ("sec1.pem", "BEGIN EC PRIVATE KEY"),
        ("pkcs1.pem", "BEGIN RSA PRIVATE KEY"),
    ] {
        assert!(read(key).contains(kind), "{key}");
    }
    for (cert, key) in [
        ("cert.pem", "key.pem"),
        ("cert.pem", "sec1.pem"),
        ("rsa.cert.pem", "rsa.pem"),
        ("rsa.cert.pem", "pkcs1.pem"),
        ("chain.pem", "sec1.pem"),
    ] {
        // With one dash, as the original waddell.
        let server = Running::start(
            &[
                "-addr",
                "127.0.0.1:0",
                "-certfile",
                text(&folder.join(cert)),
                "-pkfile",
                text(&folder.join(key)),
            ],
            1,
        );
        assert!(server.urls()[0].starts_with("tls://127.0.0.1:"), "{:?}", server.urls());
        let shown = shown_certificates(&server);
        assert_eq!(shown.len(), read(cert).matches("BEGIN CERTIFICATE").count(), "{cert} {key}");
        assert!(read(cert).contains(&shown[0]), "{cert} {key}");
    }
}

/// Returns the certificates that a server presents, as PEM.
fn shown_certificates(server: &Running) -> Vec<String> {
    let output = Command::new("openssl")
        .args(["s_client", "-showcerts", "-connect", server.address(0)])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|part| part.split("-----END").next())
        .map(|base64| base64.trim().to_owned())
        .collect()
}

#[test]
fn sighup_reads_the_certificate_again() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let (cert, key) = certificate(folder.path());
    let mut server = Running::start(
        &["--listen", "tls://127.0.0.1:0", "--cert", text(&cert), "--key", text(&key)],
        1,
    );
    let mut log = server.log();
    let first = shown_certificates(&server);
    // The key without its certificate: the old pair stays in use.
    let renewed = tempfile::tempdir().expect("the disk has room");
    let (new_cert, new_key) = certificate(renewed.path());
    fs::copy(new_key, &key).expect("the disk has room");
    server.signal("HUP");
    let refused = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("ERROR")));
    assert!(refused.is_some_and(|line| line.is_ok_and(|line| line.contains(text(&key)))));
    assert_eq!(shown_certificates(&server), first);
    fs::copy(&new_cert, &cert).expect("the disk has room");
    server.signal("HUP");
    let new = fs::read_to_string(&new_cert).expect("the file exists");
    until(|| shown_certificates(&server).first().is_some_and(|shown| new.contains(shown)));
}

/// Makes a certificate that expired in 2020.
fn expired_certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let pair = rcgen::KeyPair::generate().expect("there are random numbers");
    let mut params =
        rcgen::CertificateParams::new(["localhost".to_owned()]).expect("the name is valid");
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    let expired = params.self_signed(&pair).expect("it can be signed");
    fs::write(&cert, expired.pem()).expect("the disk has room");
    fs::write(&key, pair.serialize_pem()).expect("the disk has room");
    (cert, key)
}

#[test]
fn an_expired_certificate_is_used_with_a_warning() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let (cert, key) = expired_certificate(folder.path());
    let mut server = Running::start(
        &["--listen", "tls://127.0.0.1:0", "--cert", text(&cert), "--key", text(&key)],
        1,
    );
    let warning = server.log().find_map(|line| line.ok().filter(|line| line.contains("expired=")));
    let warning = warning.expect("the log goes on");
    assert!(warning.contains("WARN"), "{warning}");
    assert!(warning.contains("expired=2020-02-03T00:00:00Z"), "{warning}");
    assert_eq!(shown_certificates(&server).len(), 1);
}

#[test]
fn sighup_reads_the_file_again_and_names_options_that_need_a_restart() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let file = folder.path().join("waddell.toml");
    let write = |rest: &str| {
        let text = format!("listen = [\"tcp://127.0.0.1:0\", \"ws://127.0.0.1:0\"]\n{rest}");
        fs::write(&file, text).expect("the disk has room");
    };
    write("");
    let mut server = Running::start(&["--config", text(&file)], 2);
    let mut log = server.log();
    let mut logged = |words: &str| {
        log.find_map(|line| line.ok().filter(|line| line.contains(words)))
            .expect("the line is logged")
    };
    let status = |server: &Running| {
        let mut stream = server.connect(1);
        stream
            .write_all(
                b"GET /ws HTTP/1.1\r\nhost: a\r\norigin: https://a.example\r\n\
                  connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                  sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .expect("the server listens");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("the server answers");
        line.split(' ').nth(1).expect("the answer is HTTP").to_owned()
    };
    assert_eq!(status(&server), "101");
    let mut first = server.connect(0);
    greeting(&mut first);
    write("origin = \"https://b.example\"\nmax-connections = 1\nworkers = 3\n");
    server.signal("HUP");
    assert!(logged("need a restart").contains("workers"));
    // The existing connection stays, and is the only one allowed.
    let mut refused = server.connect(0);
    assert!(matches!(refused.read(&mut [0; 1]), Ok(0) | Err(_)));
    drop(first);
    until(|| {
        let mut stream = server.connect(1);
        let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        matches!(stream.read(&mut [0; 1]), Ok(1))
    });
    until(|| {
        let mut stream = server.connect(1);
        let asked =
            stream.write_all(b"GET /ws HTTP/1.1\r\nhost: a\r\norigin: https://a.example\r\n\r\n");
        let mut line = String::new();
        let read = BufReader::new(stream).read_line(&mut line);
        asked.is_ok() && read.is_ok() && line.contains("403")
    });
    write("outbox = \"tiny\"\n");
    server.signal("HUP");
    assert!(logged("ERROR").contains("--outbox"));
    // Lines of this level were not logged before.
    write("log = \"debug\"\n");
    server.signal("HUP");
    logged("configuration reloaded");
    server.connect(1).write_all(b"rubbish\r\n\r\n").expect("the server listens");
    assert!(logged("handshake failed").contains("DEBUG"));
}

#[test]
fn connections_beyond_the_last_descriptor_are_refused() {
    let mut server = Running::start_command(
        Command::new("sh").args([
            "-c",
            "ulimit -n 200; exec \"$0\" \"$@\"",
            PROGRAM,
            "--listen",
            "tcp://127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--workers=1",
            "--log=warn",
        ]),
        1,
    );
    let admin = server.admin();
    let mut log = server.log();
    let mut logged = |words: &str| {
        log.find_map(|line| line.ok().filter(|line| line.contains(words)))
            .expect("the line is logged")
    };
    assert!(logged("max-connections-per-address cannot be reached").contains("one address"));
    assert!(logged("max-connections cannot be reached").contains("ulimit -n"));
    let mut first = server.connect(0);
    let id = greeting(&mut first);
    let crowd: Vec<_> = (0..300).map(|_| server.connect(0)).collect();
    assert!(logged("connection refused").contains("LimitNOFILE"));
    let refused = "waddell_connections_refused_total";
    let accepted = "waddell_connections_accepted_total";
    until(|| metric(admin, refused) + metric(admin, accepted) == 301);
    assert!(metric(admin, accepted) > 50);
    assert_eq!(metric(admin, "waddell_accept_errors_total"), 0);
    first.write_all(&message(id, b"still here")).expect("the connection is open");
    first.read_exact(&mut [0; 30]).expect("connected peers are served");
    drop(crowd);
    until(|| {
        let mut stream = server.connect(0);
        matches!(stream.read(&mut [0; 1]), Ok(1))
    });
}

/// A client that does not read its answer needs one descriptor, whatever file it has asked for.
#[test]
fn answers_that_are_not_read_keep_no_file_open() {
    const UNREAD: usize = 100;
    let folder = tempfile::tempdir().expect("the disk has room");
    let large = fs::File::create(folder.path().join("large")).expect("the disk has room");
    large.set_len(64 << 20).expect("it takes no room");
    fs::write(folder.path().join("small"), "a small file").expect("the disk has room");
    let mut server = Running::start_command(
        Command::new("sh").args([
            "-c",
            "ulimit -n 200; exec \"$0\" \"$@\"",
            PROGRAM,
            "--listen=ws://127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--workers=1",
            "--log=off",
            "--www",
            text(folder.path()),
        ]),
        1,
    );
    let admin = server.admin();
    let small = || {
        let mut stream = server.connect(0);
        stream.write_all(b"GET /small HTTP/1.0\r\n\r\n").expect("it is connected");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.ends_with("a small file"), "{answer}");
    };
    small();
    let before = server.descriptors();
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let mut stream = server.connect(0);
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").expect("it is connected");
        stream.read_exact(&mut [0; 12]).expect("the answer begins");
        unread.push(stream);
    }
    // A few files are open until the sockets are full.
    until(|| server.descriptors() <= before + UNREAD);
    small();
    assert_eq!(metric(admin, "waddell_connections_refused_total"), 0);
    assert_eq!(metric(admin, "waddell_accept_errors_total"), 0);
}

#[test]
fn the_soft_limit_on_descriptors_is_raised() {
    let mut server = Running::start_command(
        Command::new("sh").args([
            "-c",
            "ulimit -Sn 64; exec \"$0\" \"$@\"",
            PROGRAM,
            "--listen",
            "tcp://127.0.0.1:0",
            "--workers=1",
            "--log=off",
        ]),
        1,
    );
    let mut crowd: Vec<_> = (0..100).map(|_| server.connect(0)).collect();
    for stream in &mut crowd {
        greeting(stream);
    }
    server.signal("TERM");
    drop(crowd);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn closed_connections_leave_no_descriptors_behind() {
    let server = Running::start(
        &["--listen", "tcp://127.0.0.1:0", "--listen", "ws://127.0.0.1:0", "--log=off"],
        2,
    );
    let mut steady = server.connect(0);
    greeting(&mut steady);
    let before = server.descriptors();
    for round in 0..1_000 {
        let mut stream = server.connect(round % 2);
        if round % 2 == 0 {
            greeting(&mut stream);
        } else if round % 4 == 1 {
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                .expect("the connection is open");
            stream.read_exact(&mut [0; 12]).expect("the server answers");
        }
    }
    until(|| server.descriptors() == before);
}
