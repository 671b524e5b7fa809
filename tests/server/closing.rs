//! Peers that disconnect: the frames that they sent and those in their outboxes are delivered.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use waddell_core::TopicId;
use waddell_tests::transport::Via;

use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{pattern, soon, until};

#[tokio::test]
async fn frames_sent_before_a_close_are_delivered() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        let frames: Vec<u8> =
            (0..100).flat_map(|number| message(recipient.id, number, &pattern(700, 1))).collect();
        peer.send_bytes(&frames).await;
        peer.finish().await;
        for number in 0..100 {
            let message = recipient.receive().await;
            assert_eq!((message.from, message.topic), (peer.id, TopicId(number)), "{via:?}");
        }
        assert_eq!(peer.rest().await, [], "{via:?}");
        drop(peer);
        until(|| server.handle.peers() == 1).await;
    }
    assert_eq!(server.metrics().peers_misbehaved, 0);
}

#[tokio::test]
async fn a_frame_that_a_close_cuts_short_is_not_delivered() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        let frame = message(recipient.id, 1, b"whole");
        peer.send_bytes(&[&frame[..], &frame[..frame.len() - 1]].concat()).await;
        peer.finish().await;
        assert_eq!(recipient.receive().await.body, &b"whole"[..], "{via:?}");
        assert_eq!(peer.rest().await, [], "{via:?}");
        recipient.echo().await;
    }
}

#[tokio::test]
async fn a_peer_that_ends_its_sending_side_still_receives_its_outbox() {
    const COUNT: u16 = 200;
    let server = TestServer::start_with(|config| {
        config.limits.outbox_bytes = 64 << 20;
        // A slow machine would answer a ping when the server has closed the socket, which resets
        // the connection.
        config.timeouts.ping_interval = Duration::from_secs(3_600);
    });
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        // More than both sockets hold.
        for number in 0..COUNT {
            sender.send(peer.id, number, &pattern(60_000, 1)).await;
        }
        sender.echo().await;
        peer.finish().await;
        until(|| server.handle.peers() == 1).await;
        let messages = peer.rest().await;
        assert_eq!(messages.len(), usize::from(COUNT), "{via:?}");
        for (number, message) in (0..).zip(messages) {
            assert_eq!(message.topic, TopicId(number), "{via:?}");
            assert!(message.body == pattern(60_000, 1), "{via:?}");
        }
        assert_eq!(peer.close_code(), via.is_websocket().then_some(None), "{via:?}");
    }
}

/// The write timeout must not limit the whole time of a peer that reads steadily.
#[tokio::test]
async fn a_peer_that_reads_steadily_receives_its_outbox_without_a_time_limit() {
    const COUNT: u16 = 200;
    let write_timeout = Duration::from_secs(4);
    let server = TestServer::start_with(|config| {
        config.limits.outbox_bytes = 64 << 20;
        config.timeouts.write = write_timeout;
    });
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    let mut peer = Peer::connect(&server, Via::Tcp).await;
    for number in 0..COUNT {
        sender.send(peer.id, number, &[0; 60_000]).await;
    }
    sender.echo().await;
    peer.finish().await;
    until(|| server.handle.peers() == 1).await;
    for number in 0..COUNT {
        assert_eq!(peer.receive().await.topic, TopicId(number));
        sleep(write_timeout * 3 / 2 / u32::from(COUNT)).await;
    }
    assert_eq!(peer.rest().await, []);
}

#[tokio::test]
async fn a_peer_that_resets_is_gone_and_its_frames_are_delivered() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in [Via::Tcp, Via::Ws] {
        let socket = server.connect(via.scheme()).await;
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("it is a socket");
        let mut peer = Peer::over(Box::new(socket), via).await;
        peer.send(recipient.id, 1, b"last words").await;
        assert_eq!(recipient.receive().await.from, peer.id, "{via:?}");
        drop(peer);
        until(|| server.handle.peers() == 1).await;
    }
    until(|| server.metrics().peers_disconnected == 2).await;
}

/// The end of the client's sending side does not end the server's.
#[tokio::test]
async fn a_client_that_ends_its_sending_side_at_once_is_greeted() {
    let server = TestServer::start();
    let mut socket = server.connect("tcp").await;
    soon(socket.shutdown()).await.expect("it is connected");
    let mut peer = Peer::over(Box::new(socket), Via::Tcp).await;
    assert_eq!(peer.rest().await, []);
}
