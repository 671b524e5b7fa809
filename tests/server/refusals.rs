//! Failed handshakes and refused WebSockets, each counted by reason.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waddell_tests::transport::Via;

use crate::support::admin::{by_label, serve_operators};
use crate::support::http::{UPGRADE, ask};
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
        (UPGRADE.replace("GET", "POST"), 426),
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
