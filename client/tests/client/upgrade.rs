//! Answers to the client's request for a WebSocket, in every form that HTTP allows.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use waddell_client::{Capabilities, Client, ClientConfig, PeerId, TopicId};
use waddell_core::{Notice, Welcome};

/// The answer of RFC 6455. ACCEPT stands for the key that belongs to the request.
const USUAL: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

/// A greeting as a WebSocket message.
const GREETING: &[u8] = b"\x82\x14\x12\x00IIIIIIIIIIIIIIII\x00\x00";

/// Reads a request, and returns its lines.
async fn read_request(stream: &mut TcpStream) -> Vec<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().lines().map(str::to_owned).collect()
}

fn value<'a>(request: &'a [String], name: &str) -> Option<&'a str> {
    request.iter().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Serves one client: answers with `answer`, then a greeting, so many bytes at a time.
async fn serve(answer: String, piece: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = read_request(&mut stream).await;
        assert_eq!(request[0], "GET /ws?room=1 HTTP/1.1");
        assert_eq!(value(&request, "host"), Some(&*server.to_string()));
        assert_eq!(value(&request, "sec-websocket-protocol"), Some("waddell"));
        let key = value(&request, "sec-websocket-key").expect("there is a key");
        let answer = answer.replace("ACCEPT", &derive_accept_key(key.as_bytes()));
        let bytes = [answer.as_bytes(), GREETING].concat();
        for piece in bytes.chunks(piece) {
            // Fails once the client has refused the answer.
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    server
}

fn config(server: SocketAddr) -> ClientConfig {
    ClientConfig::new(&format!("ws://{server}/ws?room=1")).unwrap().reconnect_attempts(0)
}

#[tokio::test]
async fn an_answer_that_opens_a_websocket_is_taken_in_any_form() {
    for answer in [
        USUAL.to_owned(),
        USUAL.replace("Connection: Upgrade", "connection: keep-alive, upgrade"),
        USUAL.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE"),
        USUAL.replace("websocket\r\n", "WebSocket\r\nSec-WebSocket-Protocol: waddell\r\n"),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{USUAL}"),
        USUAL.replace("\r\n\r\n", &format!("\r\nCookie: {}\r\n\r\n", "a".repeat(20_000))),
    ] {
        for piece in [usize::MAX, 1000, 1] {
            let client = Client::connect(config(serve(answer.clone(), piece).await)).await;
            let client = client.unwrap_or_else(|error| panic!("{answer}: {error}"));
            assert_eq!(client.id().unwrap().as_bytes(), b"IIIIIIIIIIIIIIII");
        }
    }
}

#[tokio::test]
async fn an_answer_that_opens_no_websocket_is_refused_with_the_reason() {
    for (answer, reason) in [
        (USUAL.replace("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "does not belong"),
        (USUAL.replace("Sec-WebSocket-Accept: ACCEPT\r\n", ""), "does not belong"),
        (USUAL.replace("Upgrade: websocket", "Upgrade: h2c"), "`Upgrade: websocket`"),
        (USUAL.replace("Connection: Upgrade", "Connection: close"), "`Connection: Upgrade`"),
        (
            USUAL.replace("Upgrade\r\n", "Upgrade\r\nSec-WebSocket-Extensions: a\r\n"),
            "an extension that was not offered",
        ),
        (
            USUAL.replace("Upgrade\r\n", "Upgrade\r\nSec-WebSocket-Protocol: chat\r\n"),
            "a subprotocol that was not offered",
        ),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n".to_owned(), "HTTP 403 Forbidden"),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 16\r\n\r\n no\x1b[2J origin\r\nx"
                .to_owned(),
            "HTTP 403 Forbidden instead of opening a WebSocket: no[2J origin",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nfull:\r\n6\r\n later\r\n0\r\n\r\n"
                .to_owned(),
            "WebSocket: full: later",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n\
             <p>no</p>"
                .to_owned(),
            "WebSocket; check the path",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".to_owned(), "HTTP 302 Found"),
        ("\x12\0no HTTP at all\r\n".to_owned(), "does not speak HTTP"),
    ] {
        for piece in [usize::MAX, 1] {
            let client = Client::connect(config(serve(answer.clone(), piece).await)).await;
            let error = client.expect_err(&answer).to_string();
            assert!(error.contains(reason), "{answer}: {error}");
        }
    }
}

#[tokio::test]
async fn a_refusal_without_the_end_of_its_reason_is_told_with_what_there_is() {
    let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 99999\r\n";
    let long = "a".repeat(5000);
    for (body, then_closes, reason) in [
        ("", true, "; check the path"),
        ("half a rea", true, ": half a rea"),
        ("half a rea", false, ": half a rea"),
        (&long, false, &format!(": {}", "a".repeat(1024))),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let answer = format!("{head}\r\n{body}");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !then_closes {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        let error = Client::connect(config(server)).await.unwrap_err().to_string();
        let expected = format!("HTTP 403 Forbidden instead of opening a WebSocket{reason}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_told_apart() {
    for answer in ["", "HTTP/1.1 101 Switching"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let error = Client::connect(config(server)).await.unwrap_err().to_string();
        assert!(error.contains("closed the connection instead of answering"), "{error}");
    }
}

/// Serves one WebSocket: answers with that subprotocol, greets, and welcomes with the flag that
/// HELLO may come in the upgrade. Returns what the client offered, and the stream.
async fn welcome(listener: &TcpListener, subprotocol: &str) -> (String, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = read_request(&mut stream).await;
    let key = value(&request, "sec-websocket-key").expect("there is a key");
    let accept = derive_accept_key(key.as_bytes());
    let chosen = format!("{accept}\r\nSec-WebSocket-Protocol: {subprotocol}");
    let mut bytes = USUAL.replace("ACCEPT", &chosen).into_bytes();
    let id = PeerId::from_bytes(*b"IIIIIIIIIIIIIIII");
    let welcome = Welcome {
        reads_hello_in_upgrade: true,
        ..Welcome::new(Capabilities::VERDICTS, id, u16::MAX)
    };
    let mut frame = Vec::new();
    Notice::Welcome(welcome).encode(&mut frame);
    bytes.extend_from_slice(GREETING);
    bytes.extend_from_slice(&[0x82, frame.len() as u8]);
    bytes.extend_from_slice(&frame);
    stream.write_all(&bytes).await.unwrap();
    (value(&request, "sec-websocket-protocol").unwrap().to_owned(), stream)
}

/// Reads a masked WebSocket message of less than 126 bytes.
async fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut payload).await.unwrap();
    payload.iter().zip(head[2..].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

#[tokio::test]
async fn reconnect_brings_hello_in_the_upgrade_where_the_server_reads_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let connecting = tokio::spawn(async move { Client::connect(&url).await.unwrap() });
    let (offered, mut stream) = welcome(&listener, "waddell").await;
    assert_eq!(offered, "waddell", "it does not know the server yet");
    let hello = read_message(&mut stream).await;
    let client = connecting.await.unwrap();
    let mut extension = client.watch_extension();
    drop(extension.wait_for(Option::is_some).await.unwrap());
    drop(stream);

    let (offered, mut stream) = welcome(&listener, "waddell.2").await;
    let offers: Vec<_> = offered.split(", ").collect();
    // The body of HELLO: kind, "wad2", version 2, and so on.
    assert_eq!((offers[0], offers[2]), ("waddell.2", "waddell"));
    assert!(offers[1].starts_with("waddell.2.hello.AXdhZDIC"), "{offered}");
    let topic = client.topic(TopicId(7));
    let stranger = PeerId::from_bytes([7; 16]);
    topic.send_to(stranger, "first").await.unwrap();
    assert_eq!(read_message(&mut stream).await[20..], *b"first", "HELLO is not sent again");
    drop(stream);

    // The server has become one that does not read it.
    let (offered, mut stream) = welcome(&listener, "waddell").await;
    assert!(offered.contains("waddell.2.hello."), "{offered}");
    let again = read_message(&mut stream).await;
    // It has one field more: the number of the next frame.
    assert_eq!(again[2..30], hello[2..30], "HELLO goes in band");
    drop(client);
}
