//! Counters, health and readiness, as operators see them.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use waddell_core::PeerId;
use waddell_server::raise_descriptor_limit;
use waddell_tests::transport::Via;

use crate::support::admin::{get, read, serve_operators, value};
use crate::support::http::ask;
use crate::support::peer::Peer;
use crate::support::server::TestServer;
use crate::support::{soon, until};

#[tokio::test]
async fn counters_show_the_outcome_of_every_frame() {
    let server = TestServer::start_with(serve_operators);
    let mut one = Peer::connect(&server, Via::Tcp).await;
    let mut other = Peer::connect(&server, Via::Wss).await;
    one.send(other.id, 1, b"forwarded").await;
    other.receive().await;
    one.send(PeerId::from_random([9; 16]), 1, b"to an unknown peer").await;
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
        ("waddell_frames_dropped_total{reason=\"no memory\"}", 0),
        ("waddell_certificate_reloads_total{result=\"ok\"}", 0),
        ("waddell_certificate_reloads_total{result=\"failed\"}", 0),
    ] {
        assert_eq!(value(metrics.text(), name), expected, "{name}");
    }
    let expires = value(metrics.text(), "waddell_certificate_expires_timestamp_seconds");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    assert!(expires > now.as_secs(), "{expires}");
    drop((one, other));
    until(|| server.metrics().peers_disconnected == 2).await;
    let metrics = get(&server, "/metrics").await;
    assert_eq!(value(metrics.text(), "waddell_peers{transport=\"tcp\"}"), 0);
    assert_eq!(get(&server, "/healthz").await.status, 200);
    assert_eq!(get(&server, "/readyz").await.status, 200);
    assert_eq!(get(&server, "/").await.status, 404);
}

/// Returns the number of observations of `waddell_forward_seconds` above a bound.
async fn forwarded_in_more_than(server: &TestServer, bound: &str) -> u64 {
    let metrics = get(server, "/metrics").await;
    let all = value(metrics.text(), "waddell_forward_seconds_count");
    all - value(metrics.text(), &format!("waddell_forward_seconds_bucket{{le=\"{bound}\"}}"))
}

#[tokio::test]
async fn the_histogram_tells_fast_recipients_from_slow_ones() {
    let server = TestServer::start_with(|config| {
        serve_operators(config);
        config.limits.outbox_bytes = 256 * 1024;
    });
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    let mut reader = Peer::connect(&server, Via::Ws).await;
    for number in 0..100 {
        sender.send(reader.id, number, b"one at a time").await;
        reader.receive().await;
    }
    // A write may be seen shortly before it is counted.
    while read(&server, "waddell_forward_seconds_count").await < 100 {}
    assert_eq!(read(&server, "waddell_forward_seconds_count").await, 100);
    let late = forwarded_in_more_than(&server, "1").await;
    assert!(late < 50, "hardly any of them takes a second: {late}");

    let socket = server.connect_narrow(Via::Tcp.scheme()).await;
    let mut stuck = Peer::over(Box::new(socket), Via::Tcp).await;
    while server.metrics().frames_dropped_full == 0 {
        sender.send(stuck.id, 1, &[0; 8_000]).await;
    }
    assert_eq!(read(&server, "waddell_outboxes_waiting").await, 1);
    // Frames in the outbox by now will have waited for longer than this.
    sleep(Duration::from_millis(1100)).await;
    let late = forwarded_in_more_than(&server, "1").await;
    while read(&server, "waddell_outboxes_waiting").await > 0 {
        stuck.receive().await;
    }
    assert!(forwarded_in_more_than(&server, "1").await > late);
    let metrics = get(&server, "/metrics").await;
    let sum =
        metrics.text().lines().find_map(|line| line.strip_prefix("waddell_forward_seconds_sum "));
    assert!(sum.expect("it is there").parse::<f64>().expect("it is a number") > 1.0);
    // The timers of the workers.
    until_lag_is_measured(&server).await;
}

/// Waits until both workers have measured their event-loop delay.
async fn until_lag_is_measured(server: &TestServer) {
    for worker in 0..2 {
        let count = format!("waddell_event_loop_lag_seconds_count{{worker=\"{worker}\"}}");
        while read(server, &count).await == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_off_the_admin_port() {
    raise_descriptor_limit();
    let server = TestServer::start_with(serve_operators);
    let admin = server.admin.expect("it is configured");
    let mut monitor = soon(TcpStream::connect(admin)).await.expect("it listens");
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(soon(TcpStream::connect(admin)).await.expect("it listens"));
        // A connection that is used is not idle.
        assert_eq!(ask(&mut monitor, "GET /readyz").await.status, 200);
    }
    assert_eq!(get(&server, "/healthz").await.status, 200);
    // The oldest were closed; the newest are not.
    for stream in &mut idle[..100] {
        assert_eq!(soon(stream.read(&mut [0; 1])).await.expect("it ends in order"), 0);
    }
    for stream in idle.iter_mut().rev().take(60) {
        assert_eq!(ask(stream, "GET /healthz").await.status, 200);
    }
}

#[tokio::test]
async fn peers_are_listed_if_the_operator_enables_it() {
    let server = TestServer::start_with(serve_operators);
    let refused = get(&server, "/debug/peers").await;
    assert_eq!(refused.status, 404);
    assert!(refused.text().contains("--admin-debug"), "{}", refused.text());

    let server = TestServer::start_with(|config| {
        serve_operators(config);
        config.admin.debug = true;
        config.limits.outbox_bytes = 256 * 1024;
    });
    let mut sender = Peer::connect(&server, Via::Tls).await;
    let reader = Peer::connect(&server, Via::Ws).await;
    let socket = server.connect_narrow(Via::Tcp.scheme()).await;
    let stuck = Peer::over(Box::new(socket), Via::Tcp).await;
    sender.send(reader.id, 7, b"a secret").await;
    while server.metrics().frames_dropped_full == 0 {
        sender.send(stuck.id, 1, &[b'x'; 8_000]).await;
    }
    sender.echo().await;
    let metrics = server.metrics();
    let answer = get(&server, "/debug/peers").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    for id in [sender.id, reader.id, stuck.id] {
        assert!(
            !answer.text().contains(&id.to_string()),
            "an id is all it takes to write to a peer"
        );
    }
    assert!(!answer.text().contains("secret") && !answer.text().contains("xxx"));
    let json: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    assert_eq!(json["connected"], 3);
    let [first, second, third] = json["peers"].as_array().expect("a list").as_slice() else {
        panic!("three peers: {json}");
    };
    assert!(stuck.id.to_string().starts_with(first["id"].as_str().expect("text")));
    assert_eq!((&first["transport"], &first["flow"]), (&json!("tcp"), &json!("blocked")));
    assert!(first["stalled_seconds"].is_number() && first["connected_seconds"].is_number());
    assert!((100_000..=256 * 1024).contains(&first["outbox_bytes"].as_u64().expect("a number")));
    // The sender has the most traffic.
    assert!(sender.id.to_string().starts_with(second["id"].as_str().expect("text")));
    assert_eq!((&second["transport"], &second["flow"]), (&json!("tls"), &json!("idle")));
    assert_eq!(second["frames_in"], metrics.frames_in);
    assert_eq!(second["bytes_in"], metrics.bytes_in);
    assert_eq!((&second["frames_out"], &second["bytes_out"]), (&json!(1), &json!(29)));
    assert_eq!(third["transport"], "ws");
    assert_eq!((&third["frames_in"], &third["frames_out"]), (&json!(0), &json!(1)));
    assert_eq!((&third["outbox_bytes"], &third["stalled_seconds"]), (&json!(0), &Value::Null));

    let one = get(&server, "/debug/peers?limit=1").await;
    let one: Value = serde_json::from_slice(&one.body).expect("it is JSON");
    assert_eq!(
        (one["connected"].as_u64(), one["peers"].as_array().map(Vec::len)),
        (Some(3), Some(1))
    );
    for query in ["limit=0", "limit=1001", "limit=", "limit=x", "all", ""] {
        assert_eq!(get(&server, &format!("/debug/peers?{query}")).await.status, 400, "{query}");
    }
}
