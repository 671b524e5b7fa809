//! Peers that read slowly or not at all: no other peer waits for them, and they cost little.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waddell_core::TopicId;
use waddell_tests::transport::Via;

use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{pattern, until};

/// Bytes that fit into the two sockets of a connection: far more than any system's default.
const SOCKETS: u64 = 48 << 20;

#[tokio::test]
async fn a_sender_does_not_wait_for_a_recipient_that_does_not_read() {
    const OUTBOX: usize = 256 * 1024;
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = OUTBOX);
    let mut reader = Peer::connect(&server, Via::Tcp).await;
    for via in [Via::Tcp, Via::Tls, Via::Ws, Via::Wss] {
        let before = server.metrics();
        let socket = server.connect_narrow(via.scheme()).await;
        let mut stuck = Peer::over(server.start_tls(via, socket).await, via).await;
        let mut sender = Peer::connect(&server, via).await;
        let body = pattern(60_000, 1);
        let mut sent = 0;
        // Each message to the stuck peer is followed by one to the reader, which arrives at once.
        while server.metrics().frames_dropped_full < before.frames_dropped_full + 100 {
            sender.send(stuck.id, sent, &body).await;
            sender.send(reader.id, sent, b"meanwhile").await;
            let message = reader.receive().await;
            assert_eq!((message.from, message.topic), (sender.id, TopicId(sent)), "{via:?}");
            sent += 1;
        }
        let metrics = server.metrics();
        let waiting = metrics.bytes_forwarded - before.bytes_forwarded;
        assert!(waiting < OUTBOX as u64 + SOCKETS, "{via:?}: {waiting} bytes wait");

        // Accepted frames are neither lost nor out of order: the newest were dropped.
        let forwarded = metrics.frames_forwarded - before.frames_forwarded - u64::from(sent);
        for number in 0..forwarded {
            let message = stuck.receive().await;
            assert_eq!(message.from, sender.id, "{via:?}");
            assert!(u64::from(message.topic.0) >= number, "{via:?}");
            assert!(message.body == body, "{via:?}");
        }
        sender.send(stuck.id, 0xffff, b"and on it goes").await;
        let message = stuck.receive().await;
        assert_eq!(message.topic, TopicId(0xffff), "{via:?}: nothing came that was not counted");
    }
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_disconnected_after_the_write_timeout() {
    let server = TestServer::start_with(|config| {
        config.limits.outbox_bytes = 128 * 1024;
        config.timeouts.write = Duration::from_millis(200);
    });
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    for (round, via) in (1..).zip([Via::Tcp, Via::Tls, Via::Ws, Via::Wss]) {
        let stuck = Peer::connect(&server, via).await;
        while server.metrics().peers_stalled < round {
            sender.send(stuck.id, 1, &[0; 8_000]).await;
            sender.echo().await;
        }
        until(|| server.metrics().peers_disconnected == round).await;
        assert_eq!(server.metrics().peers_stalled, round, "{via:?} {:?}", server.metrics());
        assert_eq!(server.handle.peers(), 1, "{via:?}: its id is gone");
        let unknown = server.metrics().frames_dropped_unknown;
        sender.send(stuck.id, 2, b"too late").await;
        sender.echo().await;
        assert_eq!(server.metrics().frames_dropped_unknown, unknown + 1, "{via:?}");
        drop(stuck);
    }
}

/// To TCP, a peer with a full receive buffer looks like a lost one.
#[tokio::test]
async fn a_peer_that_reads_nothing_is_given_the_write_timeout_even_if_tcp_s_is_shorter() {
    let server = TestServer::start_with(|config| {
        config.limits.outbox_bytes = 128 * 1024;
        config.timeouts.write = Duration::from_secs(2);
        config.tcp.user_timeout = Duration::from_secs(1);
    });
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    let stuck = Peer::connect(&server, Via::Tcp).await;
    let start = Instant::now();
    while server.handle.peers() == 2 {
        sender.send(stuck.id, 1, &[0; 8_000]).await;
        sender.echo().await;
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

/// The system reports room only after a third of the socket's buffer is read, which may take longer
/// than the write timeout.
#[tokio::test]
async fn a_peer_that_reads_slowly_but_steadily_stays_connected() {
    let write_timeout = Duration::from_secs(4);
    let server = TestServer::start_with(|config| config.timeouts.write = write_timeout);
    let mut peers = tokio::task::JoinSet::new();
    for via in [Via::Tcp, Via::Wss] {
        let mut slow = Peer::connect(&server, via).await;
        let mut sender = Peer::connect(&server, Via::Tcp).await;
        let dropped = server.metrics().frames_dropped_full;
        while server.metrics().frames_dropped_full == dropped {
            sender.send(slow.id, 1, &[0; 8_000]).await;
        }
        peers.spawn(async move {
            let begin = Instant::now();
            while begin.elapsed() < write_timeout * 2 {
                slow.receive().await;
                sleep(Duration::from_millis(50)).await;
            }
            (slow, sender)
        });
    }
    let peers = peers.join_all().await;
    assert_eq!(server.metrics().peers_stalled, 0);
    assert_eq!(server.handle.peers(), 2 * peers.len());
}

#[tokio::test]
async fn a_burst_larger_than_the_outbox_reaches_a_peer_that_reads() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 4096);
    let mut one = Peer::connect(&server, Via::Tcp).await;
    let mut other = Peer::connect(&server, Via::Tcp).await;
    let burst: Vec<u8> = (0..100).flat_map(|topic| message(other.id, topic, &[7; 100])).collect();
    one.send_bytes(&burst).await;
    for topic in 0..100 {
        assert_eq!(other.receive().await.topic.0, topic);
    }
    assert_eq!(server.metrics().frames_dropped_full, 0);
}
