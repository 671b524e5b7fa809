//! The `waddell` command, used as in a script.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use rcgen::{CertificateParams, SanType};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use waddell_client::{Capabilities, Client, MAX_BODY_LEN, PeerId, TopicId};

use crate::fake_server::FakeServer;
use crate::transports::{certificate, serve_tls, signed_certificate, tls_config};

#[tokio::test]
async fn listen_prints_its_id_and_then_the_messages() {
    let url = format!("tcp://{}", FakeServer::new().listen().await);
    let mut listener = Listener::start(&["listen", &url, "--topic", "7", "--count", "3"]).await;
    let id = listener.id.to_string();
    let client = Client::connect(&url).await.unwrap();

    let output = waddell(&["send", &url, &id, "--topic", "7", "hello\u{1b}"]).await;
    assert_eq!(output, (0, format!("sent 6 bytes to {id} on topic 7\n"), String::new()));
    let line = listener.line().await;
    assert!(line.starts_with("from ") && line.ends_with(" topic 7 size 6: hello\\u{1b}"), "{line}");

    let topic = client.topic(TopicId(7));
    topic.send_to(listener.id, b"\xff\x00".as_slice()).await.unwrap();
    let me = client.id().unwrap();
    assert_eq!(listener.line().await, format!("from {me} topic 7 size 2: 0xff00"));
    topic.send_to(listener.id, "").await.unwrap();
    assert_eq!(listener.line().await, format!("from {me} topic 7 size 0: "));
    assert!(listener.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn json_lines_are_for_scripts() {
    let url = format!("tcp://{}", FakeServer::new().listen().await);
    let mut child = command(&["listen", &url, "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line: serde_json::Value =
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(line["event"], "id");
    let id = line["id"].as_str().unwrap().to_owned();

    let (code, sent, _) = waddell(&["send", &url, &id, "\"quoted\"", "--json"]).await;
    let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!((code, &sent["event"], &sent["size"]), (0, &"sent".into(), &8.into()));
    let line: serde_json::Value =
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["from"]), (&"message".into(), &sent["from"]));
    assert_eq!((&line["topic"], &line["size"]), (&1.into(), &8.into()));
    assert_eq!(line["text"], "\"quoted\"");

    let ping = ["ping", &url, &id, "--count", "3", "--interval", "0", "--json"];
    let (code, output, _) = waddell(&ping).await;
    let lines: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (0, 4));
    assert_eq!((&lines[2]["event"], &lines[2]["number"]), (&"pong".into(), &3.into()));
    assert_eq!((&lines[3]["event"], &lines[3]["received"]), (&"summary".into(), &3.into()));
    assert!(lines[3]["min_ms"].as_f64() <= lines[3]["p99_ms"].as_f64());
}

#[tokio::test]
async fn listen_prints_its_new_id_after_a_reconnect() {
    let fake = FakeServer::new();
    let url = format!("tcp://{}", fake.listen().await);
    let mut listener = Listener::start(&["listen", &url]).await;
    fake.cut();
    let line = listener.line().await;
    assert!(line.starts_with("id ") && line != format!("id {}", listener.id), "{line}");
}

#[tokio::test]
async fn listen_keeps_its_id_if_it_is_told_to() {
    let fake = FakeServer::granting(Capabilities::RESUME);
    let url = format!("tcp://{}", fake.listen().await);
    let mut listener = Listener::start(&["listen", &url, "--resume"]).await;
    let id = listener.id.to_string();
    // It has read WELCOME when it has answered.
    assert_eq!(waddell(&["ping", &url, &id, "--count", "1"]).await.0, 0);
    fake.cut();
    assert_eq!(listener.line().await, format!("id {id}"));
}

#[tokio::test]
async fn listen_ends_when_its_output_is_closed() {
    let url = format!("tcp://{}", FakeServer::new().listen().await);
    let mut listener = Listener::start(&["listen", &url]).await;
    drop(listener.lines);
    let ended = tokio::time::timeout(Duration::from_secs(30), listener.child.wait()).await;
    assert!(ended.expect("it ends without a message").unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn listen_ends_at_an_interrupt_that_comes_while_it_prints() {
    let url = format!("tcp://{}", FakeServer::new().listen().await);
    let mut listener = Listener::start(&["listen", &url]).await;
    let client = Client::connect(&url).await.unwrap();
    let mut topic = client.topic(TopicId(1));
    // More than a pipe holds, so the command waits for its reader.
    for _ in 0..20 {
        topic.send_to(listener.id, "x".repeat(60_000)).await.unwrap();
    }
    topic.send_to(client.id().unwrap(), "all are sent").await.unwrap();
    topic.recv().await.unwrap();
    let id = listener.id.to_string();
    assert_eq!(waddell(&["ping", &url, &id, "--count", "1"]).await.0, 0, "all have arrived");
    let process = listener.child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().await.unwrap().success());
    let read = async { while listener.lines.next_line().await.unwrap().is_some() {} };
    let ended = async { tokio::join!(listener.child.wait(), read).0.unwrap() };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert!(ended.expect("it ends").success());
}

#[tokio::test]
async fn send_fails_if_the_server_ends_the_connection_instead_of_taking_the_message() {
    for with_reset in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"\x12\x00IIIIIIIIIIIIIIII\x00\x00").await.unwrap();
            // HELLO, and the beginning of the message.
            stream.read_exact(&mut [0; 30 + 20]).await.unwrap();
            if !with_reset {
                // A socket with unread bytes is reset when it is closed.
                stream.shutdown().await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.unwrap();
            }
            drop(stream);
            // A later connection works, but the message was sent on the first.
            while let Ok((stream, _)) = listener.accept().await {
                FakeServer::new().serve(stream).await;
            }
        });
        let peer = "3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11";
        let (code, output, error) = waddell(&["send", &url, peer, "hello"]).await;
        assert_eq!((code, output.as_str()), (1, ""), "{error}");
        let expected = "it is not known whether the server took the message";
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn send_says_what_became_of_the_message() {
    let url = format!("tcp://{}", FakeServer::extended().listen().await);
    let client = Client::connect(&url).await.unwrap();
    let id = client.id().unwrap().to_string();
    let (code, output, error) = waddell(&["send", &url, &id, "hello"]).await;
    let line = format!("sent 5 bytes to {id} on topic 1: forwarded\n");
    assert_eq!((code, output, error.as_str()), (0, line, ""));

    let stranger = "3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11";
    let (code, output, error) = waddell(&["send", &url, stranger, "hello"]).await;
    assert_eq!((code, output.as_str()), (1, ""), "{error}");
    let expected = format!("not delivered to {stranger}: no peer has this id; ask the peer");
    assert!(error.contains(&expected), "{error}");

    let unchecked = ["send", &url, stranger, "hello", "--no-check", "--json"];
    let (code, output, error) = waddell(&unchecked).await;
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(output.contains("\"outcome\":\"unchecked\""), "{output}");
}

#[tokio::test]
async fn token_comes_from_an_option_the_environment_or_a_command() {
    let fake = FakeServer::granting(Capabilities::VERDICTS.with(Capabilities::AUTH));
    fake.demand("sesame");
    let url = format!("tcp://{}", fake.listen().await);
    let stranger = "3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11";
    let send = ["send", &url, stranger, "hello"];
    let run = async |arguments: &[&str], variable: Option<&str>| {
        let mut command = command(&[&send[..], arguments].concat());
        command.env_remove("WADDELL_TOKEN").envs(variable.map(|it| ("WADDELL_TOKEN", it)));
        let output = command.output().await.unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    for (arguments, variable) in [
        (&["--token", "sesame"][..], None),
        (&["--token", "sesame"], Some("ignored")),
        (&[], Some("sesame")),
        (&["--token-command", "echo sesame"], None),
    ] {
        let error = run(arguments, variable).await;
        assert!(error.contains("no peer has this id"), "{arguments:?}: {error}");
    }
    for (arguments, variable, expected) in [
        (&[][..], None, "wrong token (code 4500)"),
        (&[], Some(""), "wrong token (code 4500)"),
        (&["--token", "wrong"], None, "wrong token (code 4500)"),
        (&["--token-command", "exit 3"], None, "--token-command failed: exit status: 3"),
        (&["--token-command", "true"], None, "there is no token for it"),
    ] {
        let error = run(arguments, variable).await;
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_explained() {
    let names = |names: &[&str]| {
        names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect()
    };
    type Change<'a> = &'a dyn Fn(&mut CertificateParams);
    let cases: [(Change<'_>, &str); 4] = [
        (
            &|params| params.subject_alt_names = names(&["b.example", "c.example"]),
            "not for localhost, but for b.example, c.example; use one of its names",
        ),
        (&|_no_name| {}, "not for localhost, but for no name"),
        (
            &|params| {
                params.subject_alt_names = names(&["localhost"]);
                params.not_after = rcgen::date_time_ymd(2020, 2, 3);
            },
            "expired at 2020-02-03T00:00:00Z",
        ),
        (
            &|params| {
                params.subject_alt_names = names(&["localhost"]);
                params.not_before = rcgen::date_time_ymd(3000, 1, 1);
            },
            "valid from 3000-01-01T00:00:00Z on; check the clock",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    for (change, expected) in cases {
        let (authority, signed) = signed_certificate(change);
        std::fs::write(&roots, authority).unwrap();
        let tls = tls_config(&signed, &rustls::version::TLS13);
        let server = serve_tls(&FakeServer::new(), tls).await;
        let url = format!("tls://localhost:{}", server.port());
        let mut listen = command(&["listen", &url, "--reconnect-attempts", "0"]);
        let output = listen.env("SSL_CERT_FILE", &roots).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn ping_without_an_answer_fails() {
    let fake = FakeServer::new();
    let url = format!("tcp://{}", fake.listen().await);
    let client = Client::connect(&url).await.unwrap();
    let id = client.id().unwrap().to_string();
    let (code, output, error) =
        waddell(&["ping", &url, &id, "--count", "2", "--interval", "0", "--timeout", "0.05"]).await;
    assert_eq!((code, output.as_str()), (1, "2 sent, none answered\n"));
    assert!(error.contains("check that the peer runs waddell listen"), "{error}");
}

#[tokio::test]
async fn ping_ends_at_once_when_no_peer_has_the_id() {
    let url = format!("tcp://{}", FakeServer::extended().listen().await);
    let stranger = "3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11";
    let (code, output, error) = waddell(&["ping", &url, stranger, "--timeout", "600"]).await;
    assert_eq!((code, output.as_str()), (1, "1 sent, none answered\n"));
    assert!(error.contains(&format!("no peer has the id {stranger}")), "{error}");

    let listener = Listener::start(&["listen", &url]).await;
    let id = listener.id.to_string();
    let endless = ["ping", &url, &id, "--count", "1000000", "--timeout", "600"];
    let mut ping = command(&endless).spawn().unwrap();
    let mut lines = BufReader::new(ping.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("ping 1 took"));
    drop(listener);
    assert_eq!(ping.wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn info_tells_what_the_server_can_do() {
    let plain = format!("tcp://{}", FakeServer::new().listen().await);
    assert_eq!(waddell(&["info", &plain]).await.1, "extension    none\n");
    let json: serde_json::Value =
        serde_json::from_str(&waddell(&["info", &plain, "--json"]).await.1).unwrap();
    assert_eq!((&json["event"], &json["extension"]), (&"info".into(), &serde_json::Value::Null));

    let fake = FakeServer::granting(Capabilities::VERDICTS.with(Capabilities::ICE));
    let extended = format!("tcp://{}", fake.listen().await);
    let expected = "extension    version 2\n\
                    parts        verdicts, ice\n\
                    max payload  65535 bytes\n\
                    ICE servers  [{\"urls\":\"stun:1.example\"}]\n";
    assert_eq!(waddell(&["info", &extended]).await.1, expected);
    let json: serde_json::Value =
        serde_json::from_str(&waddell(&["info", &extended, "--json"]).await.1).unwrap();
    assert_eq!(json["parts"], serde_json::json!(["verdicts", "ice"]));
    assert_eq!(json["ice_servers"][0]["urls"], "stun:2.example");
}

#[tokio::test]
async fn bench_checks_and_counts_every_message() {
    let url = format!("tcp://{}", FakeServer::new().listen().await);
    let bench =
        ["bench", &url, "--pairs", "3", "--size", "100", "--window", "4", "--duration", "0.2"];
    let (code, output, error) = waddell(&bench).await;
    assert_eq!((code, error.as_str()), (0, ""), "progress is for terminals only");
    let words: Vec<_> = output.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(words, ["connected", "round trips", "throughput", "checked"], "{output}");
    assert!(output.ends_with("; 0 lost, 0 misordered, 0 damaged\n"), "{output}");

    let (code, output, _) = waddell(&[&bench[..], &["--json"]].concat()).await;
    let lines: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (0, 4));
    assert_eq!((&lines[0]["event"], &lines[0]["peers"]), (&"connected".into(), &6.into()));
    assert!(lines[1]["min_ms"].as_f64() > Some(0.0), "{output}");
    assert!(lines[1]["min_ms"].as_f64() <= lines[1]["p99_ms"].as_f64(), "{output}");
    assert!(lines[2]["messages_per_second"].as_f64() > Some(0.0), "{output}");
    assert!(lines[3]["sent"].as_u64() > Some(6), "{output}");
    assert_eq!((&lines[3]["lost"], &lines[3]["damaged"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn bench_fails_when_the_server_goes_away() {
    let fake = FakeServer::new();
    let url = format!("tcp://{}", fake.listen().await);
    let mut child = command(&["bench", &url, "--pairs", "1", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("connected"));
    fake.cut();
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert_eq!(lines.next_line().await.unwrap(), None);
}

#[tokio::test]
async fn message_is_read_from_standard_input() {
    let url = format!("tcp://{}", FakeServer::new().listen().await);
    let client = Client::connect(&url).await.unwrap();
    let id = client.id().unwrap().to_string();
    for len in [0, 3, MAX_BODY_LEN, MAX_BODY_LEN + 1] {
        let mut child = command(&["send", &url, &id, "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![b'x'; len]).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        if len > MAX_BODY_LEN {
            assert_eq!(output.status.code(), Some(1));
        } else {
            assert_eq!(output.status.code(), Some(0));
            assert_eq!(client.topic(TopicId(1)).recv().await.unwrap().body.len(), len);
        }
    }
}

#[tokio::test]
async fn certificate_is_pinned_from_a_file() {
    let certificate = certificate(|_| {});
    let server =
        serve_tls(&FakeServer::new(), tls_config(&certificate, &rustls::version::TLS13)).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(certificate.pem.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let url = format!("tls://{server}");
    Listener::start(&["listen", &url, "--cert", path]).await;
    let (code, _, error) = waddell(&["listen", &url, "--reconnect-attempts", "0"]).await;
    assert_eq!(code, 1);
    assert!(error.starts_with(&format!("waddell: {url}: could not connect: ")), "{error}");
}

#[tokio::test]
async fn bad_usage_exits_with_2_and_says_why() {
    let id = "3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11";
    let url = "tcp://127.0.0.1:1";
    for (arguments, problem) in [
        (vec![], "Usage"),
        (vec!["listen", "127.0.0.1"], "must begin with tcp://"),
        (vec!["listen", url, "--topic", "65536"], "65536"),
        (vec!["listen", url, "--topic", "65534"], "waddell ping"),
        (vec!["listen", url, "--cert", "/nonexistent"], "No such file"),
        (vec!["listen", url, "--cert", "Cargo.toml"], "no certificate"),
        (vec!["send", url, "me", "x"], "not a peer id"),
        (vec!["send", url, "00000000-0000-0000-0000-000000000000", "x"], "nil id"),
        (vec!["send", url, id], "TEXT"),
        (vec!["ping", url, id, "--size", "20"], "21"),
        (vec!["ping", url, id, "--interval=-1"], "seconds from 0"),
        (vec!["ping", url, id, "--count", "0"], "count"),
        (vec!["bench", url, "--size", "7"], "8..=65517"),
        (vec!["bench", url, "--duration", "0"], "from 0.1 to 600"),
        (vec!["bench", url, "--pairs", "0"], "pairs"),
    ] {
        let (code, output, error) = waddell(&arguments).await;
        assert_eq!((code, output.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.contains(problem), "{arguments:?}: {error}");
    }
    let (code, _, error) = waddell(&["send", url, id, "x"]).await;
    assert_eq!(code, 1);
    assert!(error.contains("tcp://127.0.0.1:1: could not connect: Connection refused"), "{error}");
}

/// A running `waddell listen` without `--json`.
struct Listener {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    id: PeerId,
}

impl Listener {
    async fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it is connected");
        let id = line.strip_prefix("id ").expect("its id comes first").parse().unwrap();
        Self { child, lines, id }
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().expect("another line comes")
    }
}

/// Runs the command to its end: exit code, standard output, standard error.
async fn waddell(arguments: &[&str]) -> (i32, String, String) {
    let output = command(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waddell"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
