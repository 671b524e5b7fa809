//! Failed handshakes and refused WebSockets, each counted by reason.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waddell_tests::transport::Via;

use crate::support::admin::{by_label, serve_operators};
use crate::support::http::{UPGRADE, ask, ask_raw};
use crate::support::server::TestServer;
use crate::support::{soon, until};

const FAILED: &str = "waddell_handshakes_failed_total";

/// Sends bytes on a new connection, and reads up to its end.
async fn send(server: &TestServer, scheme: &str, bytes: &[u8]) {
    let mut socket = server.connect(scheme).await;
    soon(socket.write_all(bytes)).await.expect("it is connected");
    let mut answer = Vec::new();
    // A reset is fine too: the server has not read everything.
    let _ = soon(socket.read_to_end(&mut answer)).await;
}

async fn failed(server: &TestServer, count: u64, reasons: &[(&str, u64)]) {
    until(|| server.metrics().handshakes_failed == count).await;
    let seen = by_label(server, FAILED).await;
    let seen: Vec<_> = seen.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(seen, reasons);
    assert_eq!(server.metrics().peers_connected, 0);
}

#[tokio::test]
async fn handshakes_that_take_too_long_are_counted_as_such() {
    let server = TestServer::start_with(|config| {
        serve_operators(config);
        config.timeouts.handshake = Duration::from_millis(100);
    });
    for (scheme, bytes) in [
        ("tls", &b""[..]),
        ("ws", b"GET /ws HTTP/1.1\r\n"),
        ("wss", b"\x16\x03\x01"),
        ("auto", b"GE"),
    ] {
        send(&server, scheme, bytes).await;
    }
    failed(&server, 4, &[("timeout", 4)]).await;
}

#[tokio::test]
async fn invalid_tls_is_counted_as_such() {
    let server = TestServer::start_with(serve_operators);
    send(&server, "tls", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    send(&server, "auto", b"\x16\x03\x01\x00\x04rest").await;
    let socket = server.connect("wss").await;
    assert!(soon(server.tls(&[b"h2"], socket)).await.is_err(), "no protocol in common");
    failed(&server, 3, &[("tls", 3)]).await;
}

#[tokio::test]
async fn tls_without_a_certificate_is_counted_as_such() {
    let server = TestServer::start_with(|config| {
        serve_operators(config);
        config.listen = vec!["auto://127.0.0.1:0".parse().expect("it is valid")];
        config.identity = None;
    });
    send(&server, "auto", b"\x16\x03\x01").await;
    failed(&server, 1, &[("tls", 1)]).await;
}

#[tokio::test]
async fn invalid_http_is_counted_as_such() {
    let server = TestServer::start_with(serve_operators);
    send(&server, "ws", b"\x01\0k\r\n\r\n").await;
    send(&server, "auto", b"GET /\0 HTTP/1.1\r\n\r\n").await;
    failed(&server, 2, &[("http", 2)]).await;
}

#[tokio::test]
async fn clients_that_disconnect_in_a_handshake_are_counted_as_such() {
    let server = TestServer::start_with(serve_operators);
    for (scheme, bytes) in [
        ("tls", &b"\x16\x03"[..]),
        ("wss", b""),
        ("ws", b"GET /ws HTTP/1.1\r\n"),
        ("auto", b"\x16\x03\x01"),
    ] {
        let mut socket = server.connect(scheme).await;
        soon(socket.write_all(bytes)).await.expect("it is connected");
        soon(socket.shutdown()).await.expect("it is connected");
        let mut answer = Vec::new();
        let _ = soon(socket.read_to_end(&mut answer)).await;
    }
    failed(&server, 4, &[("closed", 4)]).await;
}

#[tokio::test]
async fn refused_upgrades_are_counted_by_reason() {
    let server = TestServer::start_with(|config| {
        serve_operators(config);
        config.http.origins = vec!["https://example.org".to_owned()];
    });
    let mut stream = server.dial(Via::Ws).await;
    for (request, status) in [
        (format!("{UPGRADE}\norigin: https://example.com"), 403),
        (UPGRADE.replace("/ws", "/elsewhere"), 404),
        (UPGRADE.replace("/ws", "/"), 200),
        (UPGRADE.replace("version: 13", "version: 8"), 426),
        (UPGRADE.replace("sec-websocket-version: 13", ""), 426),
        (UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 426),
        ("GET /ws".to_owned(), 426),
        (UPGRADE.replace("GET", "POST"), 405),
        // None of these asks for a WebSocket.
        ("GET /".to_owned(), 200),
        ("GET /nowhere".to_owned(), 404),
        (format!("{UPGRADE}\norigin: https://example.org"), 101),
    ] {
        assert_eq!(ask(&mut stream, &request).await.status, status, "{request}");
    }
    let seen = by_label(&server, "waddell_upgrades_refused_total").await;
    let expected = [("origin", 1), ("path", 2), ("version", 2), ("request", 3)];
    assert_eq!(seen, expected.map(|(reason, count)| (reason.to_owned(), count)));
    assert_eq!(server.metrics().upgrades_refused, 8);
    assert_eq!(server.metrics().handshakes_failed, 0);
}

/// Returns `length` bytes of a header's value, as cookies of other programs on the host are.
fn cookies(length: usize) -> String {
    format!("\ncookie: {}", "c=1; ".repeat(length / 5))
}

#[tokio::test]
async fn a_head_of_32_kib_is_accepted_and_a_longer_one_is_refused_in_words() {
    let server = TestServer::start_with(serve_operators);
    for via in Via::WEBSOCKETS {
        let mut stream = server.dial(via).await;
        let health = ask(&mut stream, &format!("GET /healthz{}", cookies(32_000))).await;
        assert_eq!((health.status, health.text()), (200, "ok\n"), "{via:?}");
        let mut peer = server.dial(via).await;
        assert_eq!(ask(&mut peer, &(UPGRADE.to_owned() + &cookies(32_000))).await.status, 101);

        // The second request of a connection, then the first; then without a body.
        let long = format!("GET /{}", cookies(100_000));
        let second = ask(&mut stream, &long).await;
        let first = ask(&mut server.dial(via).await, &long).await;
        for refused in [second, first] {
            assert_eq!((refused.status, refused.header("connection")), (431, Some("close")));
            assert!(refused.text().contains("at most 32 KiB"), "{}", refused.text());
        }
        let head = ask(&mut server.dial(via).await, &long.replace("GET", "HEAD")).await;
        assert_eq!((head.status, head.body.len()), (431, 0));
        let many = format!("GET /{}", "\na: b".repeat(200));
        assert_eq!(ask(&mut server.dial(via).await, &many).await.status, 431);
        let path = format!("GET /{}", "x".repeat(40_000));
        let refused = ask(&mut server.dial(via).await, &path).await;
        assert_eq!(refused.status, 414);
        assert!(refused.text().contains("target is too long"), "{}", refused.text());
    }
    let answers = by_label(&server, "waddell_http_answers_total").await;
    let kinds = Via::WEBSOCKETS.len() as u64;
    let expected = [("101", kinds), ("200", kinds), ("414", kinds), ("431", 4 * kinds)];
    assert_eq!(answers, expected.map(|(status, count)| (status.to_owned(), count)));
}

#[tokio::test]
async fn what_is_no_http_is_answered_in_words() {
    let server = TestServer::start_with(serve_operators);
    for request in [
        "hello\r\n\r\n",
        "GET /\0 HTTP/1.1\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let mut stream = server.dial(Via::Ws).await;
        let refused = ask_raw(&mut stream, request).await;
        assert_eq!((refused.status, refused.header("connection")), (400, Some("close")));
        assert!(refused.text().contains("not a valid request"), "{request}: {}", refused.text());
    }
    let answers = by_label(&server, "waddell_http_answers_total").await;
    assert_eq!(answers, [("400".to_owned(), 6)]);
}
