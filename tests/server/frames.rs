//! The effect of each kind of frame on the server and its counters.

use waddell_core::{HEADER_LEN, KEEP_ALIVE_FRAME, PeerId};
use waddell_tests::transport::Via;

use crate::support::peer::{Peer, frame, message};
use crate::support::server::TestServer;
use crate::support::until;

#[tokio::test]
async fn undeliverable_frames_are_counted_and_keep_the_connection_open() {
    let server = TestServer::start();
    for (round, via) in (1..).zip(Via::ALL) {
        let mut peer = Peer::connect(&server, via).await;
        // A peer on `auto` has sent one keep-alive, to show that it speaks no HTTP.
        peer.echo().await;
        let before = server.metrics().keep_alives;
        for len in 0..HEADER_LEN {
            peer.send_bytes(&frame(&vec![b'x'; len])).await;
        }
        // A frame to this peer with half a topic.
        peer.send_bytes(&frame(peer.id.as_bytes())).await;
        peer.send_bytes(&frame(&[&peer.id.as_bytes()[..], b"t"].concat())).await;
        peer.send_bytes(KEEP_ALIVE_FRAME).await;
        peer.send_bytes(&frame(b"K")).await;
        peer.send(PeerId::from_bytes([0; 16]), 1, b"to the nil id").await;
        peer.send(PeerId::from_random([7; 16]), 1, b"to an unknown peer").await;
        peer.echo().await;
        let metrics = server.metrics();
        assert_eq!(metrics.frames_rejected_short, 21 * round, "{via:?}");
        assert_eq!(metrics.frames_rejected_reserved, round, "{via:?}");
        assert_eq!(metrics.frames_dropped_unknown, round, "{via:?}");
        assert_eq!(metrics.keep_alives, before + 1, "{via:?}");
        assert_eq!(metrics.frames_forwarded, 2 * round, "{via:?}");
    }
    until(|| server.handle.peers() == 0).await;
}

#[tokio::test]
async fn every_frame_is_counted_once_by_its_outcome() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 70_000);
    let mut peer = Peer::connect(&server, Via::Tcp).await;
    let stuck = Peer::connect(&server, Via::Ws).await;
    let mut bytes = 0;
    for number in 0..400_u16 {
        let frames = [
            message(peer.id, number, b"to myself"),
            message(stuck.id, number, &[0; 60_000]),
            frame(b""),
            KEEP_ALIVE_FRAME.to_vec(),
            message(PeerId::from_random([7; 16]), number, b"unknown"),
            message(PeerId::from_bytes([0; 16]), number, b"reserved"),
        ]
        .concat();
        bytes += frames.len() as u64;
        peer.send_bytes(&frames).await;
    }
    for number in 0..400 {
        assert_eq!(peer.receive().await.topic.0, number);
    }
    until(|| server.metrics().bytes_in == bytes).await;
    let metrics = server.metrics();
    assert_eq!(metrics.frames_in, 6 * 400);
    assert_eq!(metrics.frames_rejected_short, 400);
    assert_eq!(metrics.keep_alives, 400);
    assert_eq!(metrics.frames_dropped_unknown, 400);
    assert_eq!(metrics.frames_rejected_reserved, 400);
    assert_eq!(metrics.frames_forwarded + metrics.frames_dropped_full, 800);
    assert!(metrics.frames_dropped_full > 0, "24 MB fit into no socket");
}

#[tokio::test]
async fn a_frame_beyond_the_limit_closes_the_connection() {
    let server = TestServer::start_with(|config| config.limits.max_frame_len = 100);
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for (round, via) in (1..).zip(Via::ALL) {
        let mut peer = Peer::connect(&server, via).await;
        peer.send(recipient.id, 1, &[1; 82]).await;
        assert_eq!(recipient.receive().await.body, &[1; 82][..], "{via:?}: the longest");
        peer.send(recipient.id, 2, &[2; 83]).await;
        assert_eq!(peer.rest().await, [], "{via:?}");
        let code = via.is_websocket().then_some(Some(1009));
        assert_eq!(peer.close_code(), code, "{via:?}");
        drop(peer);
        until(|| server.metrics().peers_disconnected == round).await;
    }
    assert_eq!(server.metrics().peers_misbehaved, 8);
    recipient.echo().await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_the_end_of_its_id() {
    let server = TestServer::start();
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    let mut seen = vec![sender.id];
    for via in Via::ALL {
        let gone = Peer::connect(&server, via).await.id;
        assert!(!seen.contains(&gone), "ids are never used again");
        seen.push(gone);
        until(|| server.handle.peers() == 1).await;
        let before = server.metrics().frames_dropped_unknown;
        sender.send(gone, 1, b"too late").await;
        until(|| server.metrics().frames_dropped_unknown == before + 1).await;
    }
}

#[tokio::test]
async fn a_peer_without_frames_is_disconnected_after_the_idle_timeout() {
    let server = TestServer::start_with(|config| {
        config.timeouts.idle = Some(std::time::Duration::from_secs(3));
    });
    let mut idle = Peer::connect(&server, Via::Tcp).await;
    let mut busy = Peer::connect(&server, Via::Tcp).await;
    let rest = idle.rest();
    let keep_alives = async {
        loop {
            busy.send_bytes(KEEP_ALIVE_FRAME).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        rest = rest => assert_eq!(rest, []),
        () = keep_alives => {}
    }
    until(|| server.metrics().peers_timed_out == 1).await;
    busy.echo().await;
}
