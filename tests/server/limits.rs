//! Limits on handshakes, connections and rates, and traces of thousands of connections.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use waddell_core::KEEP_ALIVE_FRAME;
use waddell_server::{RateLimit, ServerConfig};
use waddell_tests::transport::Via;

use crate::support::peer::Peer;
use crate::support::server::TestServer;
use crate::support::{soon, until};

#[tokio::test]
async fn handshakes_that_take_too_long_are_closed_even_if_they_look_busy() {
    let server = TestServer::start_with(|config| {
        config.timeouts.handshake = Duration::from_millis(300);
    });
    let mut slow = JoinSet::new();
    for scheme in ["tls", "ws", "wss", "auto"] {
        // One client is silent. The others send a request's head or a hello, a byte at a time.
        let hello: &[u8] = &[0x16, 3, 1, 1, 0];
        for words in [&b""[..], b"GET /ws HTTP/1.1\r\nx: ", hello] {
            if scheme == "auto" && words.is_empty() {
                continue;
            }
            let mut socket = server.connect(scheme).await;
            slow.spawn(async move {
                let (mut read, mut write) = socket.split();
                let send = async {
                    for byte in words.iter().copied().chain(std::iter::repeat(b'1')) {
                        if words.is_empty() || write.write_all(&[byte]).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    std::future::pending::<()>().await;
                };
                let mut heard = Vec::new();
                tokio::select! {
                    () = send => {}
                    _ = soon(read.read_to_end(&mut heard)) => {}
                }
            });
        }
    }
    let count = slow.len() as u64;
    slow.join_all().await;
    until(|| server.metrics().handshakes_failed == count).await;
    assert_eq!(server.metrics().peers_connected, 0);
    // Fast clients are still served.
    Peer::connect(&server, Via::Tcp).await.echo().await;
}

#[tokio::test]
async fn there_are_no_more_connections_than_allowed() {
    for change in [
        |config: &mut ServerConfig| config.limits.max_connections = 3,
        |config: &mut ServerConfig| config.limits.max_connections_per_address = 3,
    ] {
        let server = TestServer::start_with(change);
        let first = Peer::connect(&server, Via::Tcp).await;
        let mut second = Peer::connect(&server, Via::Wss).await;
        // A connection counts as soon as it is accepted.
        let third = server.connect("tls").await;
        until(|| server.metrics().connections_accepted == 3).await;
        let mut refused = server.connect("tcp").await;
        let mut heard = Vec::new();
        let _ = soon(refused.read_to_end(&mut heard)).await;
        assert_eq!(heard, b"", "a client beyond the limit is not greeted");
        until(|| server.metrics().connections_refused == 1).await;
        second.echo().await;
        drop(first);
        until(|| server.metrics().peers_disconnected == 1).await;
        let mut again = Peer::connect(&server, Via::Tls).await;
        again.echo().await;
        drop(third);
        until(|| server.metrics().handshakes_failed == 1).await;
        Peer::connect(&server, Via::Ws).await.echo().await;
    }
}

#[tokio::test]
async fn connections_beyond_the_accept_rate_wait_and_are_not_refused() {
    let server = TestServer::start_with(|config| config.limits.accept_rate = NonZeroU32::new(20));
    let start = Instant::now();
    let mut arrivals = JoinSet::new();
    for via in Via::DIRECT.into_iter().cycle().take(36) {
        let socket = server.connect(via.scheme()).await;
        let stream = (via == Via::Tcp).then_some(socket);
        arrivals.spawn(async move {
            // Raw TCP shows the greeting in its turn. Of the others it is enough that they wait.
            if let Some(stream) = stream {
                Peer::over(Box::new(stream), via).await.echo().await;
            }
        });
    }
    arrivals.join_all().await;
    until(|| server.metrics().connections_accepted == 36).await;
    // All listeners share the rate: 20 at once, and 16 more at 20 per second.
    assert!(start.elapsed() >= Duration::from_millis(800), "{:?}", start.elapsed());
    let metrics = server.metrics();
    assert!(metrics.accepts_paused > 0);
    assert_eq!(metrics.connections_refused, 0);
}

#[tokio::test]
async fn refused_connections_do_not_count_towards_the_accept_rate() {
    let server = TestServer::start_with(|config| {
        config.limits.accept_rate = NonZeroU32::new(2);
        config.limits.max_connections_per_address = 1;
    });
    let _peer = Peer::connect(&server, Via::Tcp).await;
    // At two per second this would take longer than any wait in these tests.
    for refused in 1..=200 {
        let _stream = server.connect(Via::Tcp.scheme()).await;
        until(|| server.metrics().connections_refused == refused).await;
    }
    assert_eq!(server.metrics().accepts_paused, 0);
}

#[tokio::test]
async fn a_new_accept_rate_applies_without_a_restart() {
    let mut config = ServerConfig::default();
    let server = TestServer::start_with(|own| {
        own.limits.accept_rate = NonZeroU32::new(1);
        config = own.clone();
    });
    let first = Peer::connect(&server, Via::Tcp).await;
    config.limits.accept_rate = None;
    let needs_restart = server.handle.reload(&config).expect("the certificate is the same");
    assert_eq!(needs_restart, Vec::<&str>::new());
    // At one per second this would take longer than any wait in these tests.
    let mut peers = vec![first];
    for _ in 0..100 {
        peers.push(Peer::connect(&server, Via::Tcp).await);
    }
    assert_eq!(server.handle.peers(), 101);
}

#[tokio::test]
async fn thousands_come_and_go_and_leave_nothing_behind() {
    const ROUNDS: usize = 25;
    const AT_ONCE: usize = 80;
    let server = TestServer::start();
    let mut steady = Peer::connect(&server, Via::Tcp).await;
    for round in 0..ROUNDS {
        let mut churn = JoinSet::new();
        for number in 0..AT_ONCE {
            let via = Via::ALL[number % Via::ALL.len()];
            let stream = server.dial(via).await;
            let steady = steady.id;
            churn.spawn(async move {
                let mut peer = Peer::over(stream, via).await;
                peer.send(steady, 1, b"here").await;
                match (round + number / 8) % 3 {
                    // With a close, with half a frame, or without both.
                    0 => peer.finish().await,
                    1 => peer.send_bytes(b"\xff\xff").await,
                    _ => {}
                }
            });
        }
        for _ in 0..AT_ONCE {
            assert_eq!(steady.receive().await.body, &b"here"[..]);
        }
        churn.join_all().await;
    }
    until(|| server.handle.peers() == 1).await;
    let count = (ROUNDS * AT_ONCE) as u64;
    until(|| server.metrics().peers_disconnected == count).await;
    let metrics = server.metrics();
    assert_eq!(metrics.peers_connected, count + 1);
    assert_eq!(metrics.connections_accepted, count + 1);
    assert_eq!(metrics.handshakes_failed, 0);
    assert_eq!(metrics.frames_forwarded, count);
    assert_eq!(metrics.frames_in, metrics.frames_forwarded + metrics.keep_alives);
    steady.echo().await;
    drop(steady);
    until(|| server.handle.peers() == 0).await;
    until(|| server.metrics().peers_connected == server.metrics().peers_disconnected).await;
}

#[tokio::test]
async fn a_peer_is_kept_to_its_rate_and_loses_nothing() {
    for via in [Via::Tcp, Via::Wss] {
        let server = TestServer::start_with(|config| {
            config.limits.rate_limit = Some(RateLimit {
                frames_per_second: NonZeroU32::new(100),
                bytes_per_second: None,
                burst: Duration::from_millis(100),
            });
        });
        let mut fast = Peer::connect(&server, via).await;
        let mut other = Peer::connect(&server, Via::Tcp).await;
        let start = Instant::now();
        for number in 0..60 {
            fast.send(other.id, number, &[7; 1000]).await;
        }
        for number in 0..60 {
            assert_eq!(other.receive().await.topic.0, number);
        }
        // 60 less the burst of 10 and the few more of one read, at 100 per second.
        assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn bytes_that_tls_adds_count_towards_the_rate() {
    let server = TestServer::start_with(|config| {
        config.limits.rate_limit = Some(RateLimit {
            frames_per_second: None,
            bytes_per_second: NonZeroU32::new(10 << 10),
            burst: Duration::from_secs(1),
        });
    });
    let frames = KEEP_ALIVE_FRAME.repeat(1000);
    for (via, paused) in [(Via::Tcp, false), (Via::Tls, true)] {
        let mut peer = Peer::connect(&server, via).await;
        // Over TLS each byte is a record of 23 bytes.
        for byte in &frames {
            peer.send_bytes(&[*byte]).await;
        }
        if paused {
            until(|| server.metrics().peers_paused > 0).await;
        } else {
            until(|| server.metrics().keep_alives == 1000).await;
            assert_eq!(server.metrics().peers_paused, 0);
        }
    }
}
