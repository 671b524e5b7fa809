//! Clients of 2015 on servers with and without the extension.

use std::time::Duration;

use waddell_core::{Hello, PeerId, PeerIds, Request};
use waddell_tests::transport::Via;

use crate::support::extended::ALL;
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::until;

const UNKNOWN: PeerId = PeerId::from_bytes([7; 16]);

#[tokio::test]
async fn a_client_of_2015_gets_the_same_bytes_with_and_without_the_extension() {
    for via in Via::ALL {
        let with = converse(via, true).await;
        let without = converse(via, false).await;
        assert!(with.len() > 80, "{via:?}: it got its messages");
        assert_eq!(with, without, "{via:?}");
    }
}

/// Lets a client of 2015 and one that asks for the extension do the same on a server. Returns what
/// the former received, with names in place of ids.
async fn converse(via: Via, extension: bool) -> Vec<(&'static str, u16, Vec<u8>)> {
    let server = TestServer::start_with(|config| {
        config.extension.enabled = extension;
        config.timeouts.drain = Duration::from_millis(100);
    });
    let mut legacy = Peer::connect(&server, via).await;
    let mut hello = Vec::new();
    Hello::new(ALL).encode(&mut hello);
    let stream = server.dial(Via::Tcp).await;
    let mut other = Peer::over_saying(stream, Via::Tcp, &hello).await;
    let mut received = Vec::new();
    for round in 0..40_u16 {
        let size = usize::from(round) * 50;
        let mut frames = message(other.id, round, &vec![1; size]);
        frames.extend(message(legacy.id, round, &vec![2; size]));
        frames.extend(message(UNKNOWN, round, b"unknown"));
        frames.extend(message(PeerId::NIL, round, b"reserved"));
        frames.extend(b"\x03\x00abc\x01\x00k");
        // Requests mean nothing from a client that has not said HELLO first, and neither does HELLO
        // when it comes later.
        Request::Sync { seen: 0 }.encode(&mut frames);
        Request::Watch(PeerIds::from(&other.id)).encode(&mut frames);
        Request::Renew.encode(&mut frames);
        Hello::new(ALL).encode(&mut frames);
        legacy.send_bytes(&frames).await;
        let mut frames = Vec::new();
        Request::Watch(PeerIds::from(&legacy.id)).encode(&mut frames);
        frames.extend(message(legacy.id, round, &vec![3; size]));
        Request::Sync { seen: 0 }.encode(&mut frames);
        other.send_bytes(&frames).await;
        for _ in 0..2 {
            let message = legacy.receive().await;
            let from = [("itself", legacy.id), ("the other", other.id)];
            let name = from.into_iter().find(|(_, id)| *id == message.from);
            let (name, _) = name.expect("no other peer writes");
            received.push((name, message.topic.0, message.body.to_vec()));
        }
    }
    drop(other);
    until(|| server.handle.peers() == 1).await;
    let last = message(legacy.id, u16::MAX, b"last");
    legacy.send_bytes(&last).await;
    let stopping = server.stop();
    for message in legacy.rest().await {
        assert_eq!(message.from, legacy.id);
        received.push(("itself", message.topic.0, message.body.to_vec()));
    }
    stopping.done().await;
    // Two senders' messages may come in any order.
    received.sort_by_key(|(name, topic, _)| (*name, *topic));
    received
}
