//! Lines of the log: their contents, their number and their reader.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use waddell_core::{Capabilities, Hello, Request};

use crate::support::{PATIENCE, PROGRAM, Running, greeting, message, metric, until};

/// Connects from 127.0.0.99, which only this client uses.
fn connect_from_99(server: &Running, index: usize) -> TcpStream {
    let address: SocketAddr = server.address(index).parse().expect("it is an address");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
    let from = SocketAddr::from(([127, 0, 0, 99], 0));
    socket.bind(&from.into()).expect("127.0.0.0/8 belongs to this machine");
    socket.connect(&address.into()).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    socket.into()
}

/// Returns the log of a server whose clients cause every kind of line about clients.
fn log_of_every_kind(addresses: &str) -> String {
    let arguments = ["--log=trace", "--log-addresses", addresses, "--auto-silence=1ms"];
    let listeners = ["--listen=tcp://127.0.0.1:0", "--listen=ws://127.0.0.1:0"];
    let mut server =
        Running::start(&[&arguments[..], &listeners, &["--listen=auto://127.0.0.1:0"]].concat(), 3);
    // A peer, an ignored PROXY header, a peer that breaks a rule, and failed handshakes.
    greeting(&mut connect_from_99(&server, 0));
    greeting(&mut connect_from_99(&server, 2));
    for (index, bytes) in [
        (0, &b"PROXY TCP4 127.0.0.99 127.0.0.1 1 2\r\n"[..]),
        (1, b"rubbish\r\n\r\n"),
        (
            1,
            b"GET /ws HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 1.2.3.4\r\nconnection: close\r\n\r\n",
        ),
        (2, b"\x16\x03\x01\x00\x05hello"),
    ] {
        let mut stream = connect_from_99(&server, index);
        stream.write_all(bytes).expect("the connection is open");
        // How the connection ends does not matter.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    log
}

#[test]
fn addresses_are_logged_unless_log_addresses_is_off() {
    let with = log_of_every_kind("on");
    for line in ["connected", "handshake failed", "WebSocket refused", "ignored"] {
        let lines = || with.lines().filter(|logged| logged.contains(line));
        assert!(lines().any(|line| line.contains("127.0.0.99")), "{line}: {with}");
    }
    let without = log_of_every_kind("off");
    for line in ["connected", "handshake failed", "WebSocket refused", "ignored"] {
        assert!(without.contains(line), "{line}: {without}");
    }
    assert!(!without.contains("127.0.0.99"), "{without}");
}

#[test]
fn a_head_that_is_too_large_is_logged_where_operators_look() {
    let mut server = Running::start(&["--listen=ws://127.0.0.1:0"], 1);
    let mut stream = connect_from_99(&server, 0);
    let head = format!("GET /ws HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", "c".repeat(50_000));
    stream.write_all(head.as_bytes()).expect("the connection is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is not reset");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    drop(stream);
    server.signal("TERM");
    let (_, log) = server.ended();
    let line = log.lines().find(|line| line.contains("HTTP request refused")).expect(&log);
    assert!(line.contains("INFO") && line.contains("127.0.0.99"), "{line}");
    assert!(line.contains("431") && !line.contains("ccc"), "{line}");
}

/// Five thousand peers connect and disconnect. Each is logged or counted, and each line is one JSON
/// object.
#[test]
fn a_flood_of_connections_is_summed_up() {
    const COUNT: u64 = 5_000;
    let mut server = Running::start(&["--listen=tcp://127.0.0.1:0", "--log-format=json"], 1);
    // The log may be longer than the buffer of the pipe.
    let log = server.log();
    let reader = std::thread::spawn(move || log.collect::<Result<Vec<_>, _>>());
    for _ in 0..COUNT {
        greeting(&mut server.connect(0));
    }
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    let log = reader.join().expect("it does not panic").expect("it is text");
    let (mut logged, mut summed_up, mut reasons) = ([0; 2], [0; 2], Vec::new());
    for line in log {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let fields = &line["fields"];
        let index = |message: &Value| match message.as_str() {
            Some("connected") => Some(0),
            Some("disconnected") => Some(1),
            _ => None,
        };
        if let Some(index) = index(&fields["message"]) {
            logged[index] += 1;
            if index == 1 {
                assert!(fields["seconds"].is_u64() && fields["frames_in"] == 0, "{line}");
                reasons.push(fields["reason"].as_str().expect("it is a word").to_owned());
            }
        }
        if let Some(index) = index(&fields["line"]) {
            summed_up[index] += fields["times"].as_u64().expect("it is a number");
        }
    }
    for (logged, summed_up) in logged.into_iter().zip(summed_up) {
        assert_eq!(logged + summed_up, COUNT);
        assert!(summed_up > 0, "the log has fewer lines than events");
    }
    assert!(reasons.iter().all(|reason| reason == "closed" || reason == "broken"), "{reasons:?}");
}

/// Makes connections that each cause a log line of some 200 bytes.
fn fill_log(server: &Running, index: usize, count: usize) {
    for _ in 0..count {
        let mut stream = server.connect(index);
        stream.write_all(b"rubbish\r\n\r\n").expect("the connection is open");
        // How the connection ends does not matter.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_stalled_log_reader_does_not_block_the_server() {
    let arguments = ["--log=debug", "--log-format=json", "--admin=127.0.0.1:0"];
    let listeners = ["--listen=tcp://127.0.0.1:0", "--listen=ws://127.0.0.1:0"];
    let mut server = Running::start(&[&arguments[..], &listeners].concat(), 2);
    let admin = server.admin();
    // Standard error is a pipe of 64 KiB. The server keeps 1 MiB twice before it drops lines.
    fill_log(&server, 1, 15_000);
    let mut peer = server.connect(0);
    let id = greeting(&mut peer);
    peer.write_all(&message(id, b"still here")).expect("the connection is open");
    peer.read_exact(&mut [0; 30]).expect("new peers are served");
    until(|| metric(admin, "waddell_log_lines_dropped_total") > 0);
    // The log is read again. It has a line at the gap, and its end is complete.
    let mut log = server.log();
    let dropped =
        log.find(|line| line.as_ref().is_ok_and(|line| line.contains("log lines dropped")));
    assert!(dropped.is_some_and(|line| line.is_ok_and(|line| line.contains("WARN"))));
    server.signal("TERM");
    assert!(
        log.any(|line| line.is_ok_and(|line| line.contains("shutdown"))),
        "the end of the log is complete"
    );
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_stalled_log_reader_does_not_delay_the_end_of_the_program() {
    let mut server = Running::start(&["--listen=ws://127.0.0.1:0", "--log=debug"], 1);
    fill_log(&server, 0, 1_000);
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn the_last_error_is_a_json_line_in_a_json_log() {
    let folder = tempfile::tempdir().expect("the disk has room");
    let file = folder.path().join("waddell.toml");
    fs::write(&file, "log-format = \"json\"\noutbox = \"lots\"\n").expect("the disk has room");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let url = format!("tcp://{}", taken.local_addr().expect("it is bound"));
    for (arguments, variable, code, named) in [
        (&["--log-format=json", "--outbox=lots"][..], "text", 2, "--outbox"),
        (&["--log-format", "json", "--no-such-option"], "text", 2, "--no-such-option"),
        (&["--outbox=lots"], "json", 2, "--outbox"),
        (&["--log-format=json", "--listen", &url, "--log=off"], "text", 1, &url),
        (&["--log-format=json", "--cert=x"], "text", 2, "--cert"),
    ] {
        let mut command = Command::new(PROGRAM);
        fails_with_json(command.args(arguments).env("WADDELL_LOG_FORMAT", variable), code, named);
    }
    fails_with_json(Command::new(PROGRAM).arg("--config").arg(&file), 2, "--outbox");
}

/// Checks that the program ends with one line of JSON whose message contains `text`.
#[track_caller]
fn fails_with_json(command: &mut Command, code: i32, text: &str) {
    let output = command.output().expect("the program is there");
    let stderr = String::from_utf8(output.stderr).expect("it is text");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let line: Value = serde_json::from_str(&stderr).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(line["level"], "ERROR", "{stderr}");
    let message = line["fields"]["message"].as_str().expect("there is a message");
    assert!(message.contains(text), "{stderr}");
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_is_logged_with_its_ipv4_address() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        eprintln!("this machine has no IPv6: the test is skipped");
        return;
    }
    let mut server = Running::start(&["--listen=tcp://[::]:0"], 1);
    let port = server.urls()[0].rsplit(':').next().expect("the URL has a port");
    let address = format!("127.0.0.1:{port}");
    greeting(&mut TcpStream::connect(address).expect("the socket accepts IPv4"));
    server.signal("TERM");
    let (_, log) = server.ended();
    assert!(log.contains("address=127.0.0.1"), "{log}");
}

/// Returns the log of a server whose clients show credentials that are good, and others.
fn log_of_credentials(subjects: &str) -> String {
    // Such a file has mode 600.
    let tokens = tempfile::NamedTempFile::new().expect("there is room for it");
    fs::write(tokens.path(), "alice a-secret-of-alice").expect("it can be written");
    let tokens = format!("--auth-tokens={}", tokens.path().display());
    let arguments = ["--log=trace", "--log-subjects", subjects, &tokens];
    let listeners = ["--listen=tcp://127.0.0.1:0", "--listen=ws://127.0.0.1:0"];
    let mut server = Running::start(&[&arguments[..], &listeners].concat(), 2);
    for credentials in [&b"a-secret-of-alice"[..], b"a-secret-of-mallory"] {
        let hello = Hello { credentials: Some(credentials), ..Hello::new(Capabilities::AUTH) };
        let mut frame = Vec::new();
        hello.encode(&mut frame);
        let name = URL_SAFE_NO_PAD.encode(&frame[20..]);
        let upgrade = format!(
            "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: waddell.2, waddell.2.hello.{name}\r\n\r\n"
        );
        // And the same while connected.
        Request::Auth(credentials).encode(&mut frame);
        for (index, bytes) in [(0, &frame[..]), (1, upgrade.as_bytes())] {
            let mut stream = server.connect(index);
            stream.write_all(bytes).expect("it is connected");
            // The greeting or CLOSING, or the answer to the request.
            stream.read_exact(&mut [0; 20]).expect("the server answers");
            stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
            let _ = stream.read_to_end(&mut Vec::new());
        }
        assert!(!name.is_empty());
    }
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("client not admitted"), "{log}");
    assert!(!log.contains("secret"), "{log}");
    // The first letters of such a secret in base64.
    let encoded = URL_SAFE_NO_PAD.encode("a-secret-of");
    assert!(!log.contains(&encoded[..8]) && !log.contains("waddell.2.hello"), "{log}");
    log
}

#[test]
fn credentials_are_never_logged_and_subjects_only_on_request() {
    let without = log_of_credentials("off");
    assert!(without.contains("connected") && !without.contains("alice"), "{without}");
    let with = log_of_credentials("on");
    let mut lines = with.lines().filter(|line| line.contains(" connected"));
    assert!(lines.any(|line| line.contains("subject=\"alice\"")), "{with}");
}
