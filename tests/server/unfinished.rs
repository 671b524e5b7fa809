//! Frames that are never finished: limits on their memory and on their time.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use waddell_tests::transport::Via;

use crate::support::admin::{read, serve_operators};
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{soon, until};

const CEILING: usize = 4 << 20;

const HELD: &str = "waddell_unfinished_frames_bytes";

/// Returns most of the longest frame.
fn begun() -> Vec<u8> {
    [&[0xff, 0xff][..], &[7; 60_000]].concat()
}

fn start() -> TestServer {
    TestServer::start_with(|config| {
        config.limits.outbox_total_bytes = CEILING;
        serve_operators(config);
    })
}

#[tokio::test]
async fn any_number_of_unfinished_frames_holds_no_more_than_the_ceiling() {
    let server = start();
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    let mut reader = Peer::connect(&server, Via::Wss).await;
    let mut greedy = Vec::new();
    let mut most_held = 0;
    while server.metrics().peers_crowded_out < 8 {
        let mut peer = Peer::connect(&server, Via::DIRECT[greedy.len() % 4]).await;
        // The write fails if the server has closed the connection.
        let _ = peer.try_send(&begun()).await;
        greedy.push(peer);
        // A healthy pair is not affected.
        sender.send(reader.id, 1, b"meanwhile").await;
        assert_eq!(reader.receive().await.body, &b"meanwhile"[..]);
        let held = read(&server, HELD).await;
        assert!(held <= CEILING as u64, "{held}");
        most_held = held.max(most_held);
    }
    assert!(most_held > CEILING as u64 / 2, "{most_held}");
    assert_eq!(read(&server, "waddell_outbox_bytes").await, 0, "outboxes are counted apart");
    drop(greedy);
    until(|| server.handle.peers() == 2).await;
    let metrics = server.metrics();
    until(|| server.metrics().peers_disconnected == metrics.peers_connected - 2).await;
    assert_eq!(read(&server, HELD).await, 0);
    sender.echo().await;
}

#[tokio::test]
async fn unfinished_frames_of_others_do_not_end_a_peer_whose_frame_comes_in_pieces() {
    let server = start();
    let mut healthy = Peer::connect(&server, Via::Tcp).await;
    let frame = message(healthy.id, 1, &[7; 2000]);
    let mut greedy = Vec::new();
    // Ever shorter frames leave ever less of the memory.
    for len in [60_000, 15_000, 4_000, 1_000] {
        let crowded_out = server.metrics().peers_crowded_out;
        while server.metrics().peers_crowded_out < crowded_out + 20 {
            let mut peer = Peer::connect(&server, Via::Tcp).await;
            let _ = peer.try_send(&begun()[..len]).await;
            greedy.push(peer);
            healthy.send_bytes(&frame[..1500]).await;
            let held = read(&server, HELD).await;
            assert!(held <= CEILING as u64, "{held}");
            healthy.send_bytes(&frame[1500..]).await;
            assert_eq!(healthy.receive().await.body.len(), 2000, "{len}");
        }
    }
}

#[tokio::test]
async fn a_finished_frame_gives_its_memory_back() {
    let server = start();
    for via in Via::DIRECT {
        let mut peer = Peer::connect(&server, via).await;
        peer.send_bytes(&begun()).await;
        while read(&server, HELD).await < 60_000 {}
        assert!(read(&server, HELD).await <= 65_537, "{via:?}: no more than its own length");
        peer.send_bytes(&[7; 5_535]).await;
        peer.echo().await;
        assert_eq!(read(&server, HELD).await, 0, "{via:?}");
        // So does a peer that disconnects inside a frame.
        peer.send_bytes(&begun()[..1000]).await;
        while read(&server, HELD).await < 1000 {}
        peer.finish().await;
        until(|| server.handle.peers() == 0).await;
        while read(&server, HELD).await > 0 {}
    }
}

/// Starts a server with that frame timeout.
fn start_impatient(frame_timeout: Duration) -> TestServer {
    TestServer::start_with(|config| {
        config.timeouts.frame = frame_timeout;
        serve_operators(config);
    })
}

#[tokio::test]
async fn a_frame_that_is_not_finished_in_time_ends_the_connection() {
    let server = start_impatient(Duration::from_millis(300));
    let mut healthy = Peer::connect(&server, Via::Tcp).await;
    let mut silent = Vec::new();
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        peer.echo().await;
        peer.send_bytes(&begun()[..10]).await;
        silent.push(peer);
    }
    until(|| server.metrics().peers_timed_out == Via::ALL.len() as u64).await;
    // Sending a byte at a time does not help.
    for via in [Via::Tcp, Via::Ws, Via::Tls] {
        let mut peer = Peer::connect(&server, via).await;
        let timed_out = server.metrics().peers_timed_out;
        soon(async {
            while peer.try_send(&[0xff]).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        until(|| server.metrics().peers_timed_out == timed_out + 1).await;
    }
    until(|| server.handle.peers() == 1).await;
    healthy.echo().await;
    while read(&server, HELD).await > 0 {}
}

#[tokio::test]
async fn frames_in_pieces_that_are_each_finished_in_time_go_on() {
    let server = start_impatient(Duration::from_secs(2));
    for via in [Via::Tcp, Via::Wss] {
        let mut peer = Peer::connect(&server, via).await;
        let frame = message(peer.id, 1, &[7; 100]);
        let (head, tail) = frame.split_at(50);
        // At any time a frame is unfinished, for longer than one frame may take.
        let next = [tail, head].concat();
        peer.send_bytes(head).await;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            peer.send_bytes(&next).await;
            peer.receive().await;
            sleep(Duration::from_millis(10)).await;
        }
        peer.send_bytes(tail).await;
        peer.receive().await;
        peer.echo().await;
    }
    assert_eq!(server.metrics().peers_timed_out, 0);
}
