//! What operators see: counters, health, readiness.

use waddell_core::PeerId;

use crate::support::admin::{get, serve_operators, value};
use crate::support::peer::Peer;
use crate::support::server::{TestServer, Via};
use crate::support::until;

#[tokio::test]
async fn counters_tell_what_became_of_every_frame() {
    let server = TestServer::start_with(serve_operators);
    let mut one = Peer::connect(&server, Via::Tcp).await;
    let mut other = Peer::connect(&server, Via::Wss).await;
    one.send(other.id, 1, b"forwarded").await;
    other.receive().await;
    one.send(PeerId::from_random([9; 16]), 1, b"to nobody").await;
    one.send(PeerId::NIL, 1, b"to the reserved id").await;
    one.send_bytes(b"\x01\x00k\x03\x00abc").await;
    one.echo().await;
    let metrics = get(&server, "/metrics").await;
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
    let metrics = get(&server, "/metrics").await;
    assert_eq!(value(metrics.text(), "waddell_peers{transport=\"tcp\"}"), 0);
    assert_eq!(get(&server, "/healthz").await.status, 200);
    assert_eq!(get(&server, "/readyz").await.status, 200);
    assert_eq!(get(&server, "/").await.status, 404);
}
