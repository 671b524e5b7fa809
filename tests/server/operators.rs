//! What operators see: counters, health, readiness.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use waddell_core::PeerId;

use crate::support::http::{Response, ask};
use crate::support::peer::Peer;
use crate::support::server::{TestServer, Via};
use crate::support::{soon, until};

async fn get(admin: SocketAddr, path: &str) -> Response {
    let mut stream = soon(TcpStream::connect(admin)).await.expect("it listens");
    ask(&mut stream, &format!("GET {path}")).await
}

/// The value of a line of `/metrics`.
fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is there: {metrics}")).parse().expect("it is a number")
}

#[tokio::test]
async fn counters_tell_what_became_of_every_frame() {
    let server = TestServer::start_with(|config| {
        config.admin = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    });
    let admin = server.admin.expect("it is configured");
    let mut one = Peer::connect(&server, Via::Tcp).await;
    let mut other = Peer::connect(&server, Via::Wss).await;
    one.send(other.id, 1, b"forwarded").await;
    other.receive().await;
    one.send(PeerId::from_random([9; 16]), 1, b"to nobody").await;
    one.send(PeerId::NIL, 1, b"to the reserved id").await;
    one.send_bytes(b"\x01\x00k\x03\x00abc").await;
    one.echo().await;
    let metrics = get(admin, "/metrics").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for (name, expected) in [
        ("waddell_peers{transport=\"tcp\"}", 1),
        ("waddell_peers{transport=\"wss\"}", 1),
        ("waddell_peers{transport=\"ws\"}", 0),
        ("waddell_frames_in_total", 6),
        ("waddell_frames_forwarded_total", 2),
        ("waddell_keep_alives_total", 1),
        ("waddell_frames_rejected_total{reason=\"short\"}", 1),
        ("waddell_frames_rejected_total{reason=\"reserved recipient\"}", 1),
        ("waddell_frames_dropped_total{reason=\"unknown recipient\"}", 1),
        ("waddell_frames_dropped_total{reason=\"outbox full\"}", 0),
    ] {
        assert_eq!(value(metrics.text(), name), expected, "{name}");
    }
    drop((one, other));
    until(|| server.metrics().peers_disconnected == 2).await;
    let metrics = get(admin, "/metrics").await;
    assert_eq!(value(metrics.text(), "waddell_peers{transport=\"tcp\"}"), 0);
    assert_eq!(get(admin, "/healthz").await.status, 200);
    assert_eq!(get(admin, "/readyz").await.status, 200);
    assert_eq!(get(admin, "/").await.status, 404);
}
