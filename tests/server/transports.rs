//! Any peer reaches any other: on every transport, with bodies of every size, under every split.

use std::collections::BTreeSet;

use waddell_core::{KEEP_ALIVE_FRAME, MAX_BODY_LEN, TopicId};
use waddell_tests::transport::Via;

use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{pattern, soon};

/// Returns the sizes at which a rule changes: small ones, powers of two, the limits of the forms of
/// a WebSocket header (a message of one frame is 20 bytes longer than its body), and the largest.
fn sizes() -> BTreeSet<usize> {
    let mut sizes: BTreeSet<usize> = (0..=300).collect();
    for power in 9..=16 {
        for border in [1 << power, (1 << power) - 18, (1 << power) - 20] {
            sizes.extend(border - 2..=border + 2);
        }
    }
    sizes.extend(MAX_BODY_LEN - 4..=MAX_BODY_LEN);
    sizes.retain(|size| *size <= MAX_BODY_LEN);
    sizes
}

#[tokio::test]
async fn bodies_of_every_size_arrive_intact_and_in_order_between_all_transports() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 64 << 20);
    let sizes = sizes();
    let mut recipients = Vec::new();
    for via in Via::ALL {
        recipients.push((via, Peer::connect(&server, via).await));
    }
    for (seed, from) in Via::ALL.into_iter().enumerate() {
        let mut sender = Peer::connect(&server, from).await;
        let sender_id = sender.id;
        for (to, recipient) in &mut recipients {
            let recipient_id = recipient.id;
            let send = async {
                for size in &sizes {
                    sender.send(recipient_id, *size as u16, &pattern(*size, seed)).await;
                }
            };
            let receive = async {
                for size in &sizes {
                    let message = recipient.receive().await;
                    assert_eq!(message.from, sender_id, "{from:?} to {to:?}, {size} bytes");
                    assert_eq!(message.topic, TopicId(*size as u16), "{from:?} to {to:?}");
                    assert!(
                        message.body == pattern(*size, seed),
                        "{from:?} to {to:?}, {size} bytes"
                    );
                }
            };
            soon(async { tokio::join!(send, receive) }).await;
        }
    }
    let metrics = server.metrics();
    assert_eq!(metrics.frames_forwarded, 64 * sizes.len() as u64);
    assert_eq!(metrics.frames_in, metrics.frames_forwarded + metrics.keep_alives);
}

#[tokio::test]
async fn peers_write_to_themselves() {
    let server = TestServer::start();
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        for size in [0, 1, 1000, MAX_BODY_LEN] {
            peer.send(peer.id, 7, &pattern(size, 1)).await;
            let message = peer.receive().await;
            assert_eq!(message.from, peer.id, "{via:?}");
            assert!(message.body == pattern(size, 1), "{via:?}");
        }
    }
}

#[tokio::test]
async fn input_may_arrive_byte_by_byte() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        let frames = [
            message(recipient.id, 1, b""),
            KEEP_ALIVE_FRAME.to_vec(),
            message(recipient.id, 2, &pattern(300, 2)),
            message(recipient.id, 3, b"last"),
        ];
        for byte in frames.concat() {
            peer.send_bytes(&[byte]).await;
        }
        for (topic, body) in [(1, vec![]), (2, pattern(300, 2)), (3, b"last".to_vec())] {
            let message = recipient.receive().await;
            assert_eq!((message.from, message.topic), (peer.id, TopicId(topic)), "{via:?}");
            assert_eq!(message.body, body, "{via:?}");
        }
    }
}

#[tokio::test]
async fn thousands_of_frames_may_arrive_at_once() {
    const COUNT: usize = 4_000;
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 64 << 20);
    let mut recipient = Peer::connect(&server, Via::Ws).await;
    for via in Via::ALL {
        let mut peer = Peer::connect(&server, via).await;
        let frames: Vec<u8> = (0..COUNT)
            .flat_map(|number| message(recipient.id, number as u16, &pattern(number % 40, number)))
            .collect();
        // As much as a WebSocket message may hold, not cut at a frame's end.
        let pieces = frames.chunks(if via.is_websocket() { 128 * 1024 } else { usize::MAX });
        for piece in pieces {
            peer.send_bytes(piece).await;
        }
        for number in 0..COUNT {
            let message = recipient.receive().await;
            assert_eq!((message.from, message.topic), (peer.id, TopicId(number as u16)), "{via:?}");
            assert_eq!(message.body, pattern(number % 40, number), "{via:?}");
        }
    }
}

/// Frames in one write with the last bytes of the handshake are not lost.
#[tokio::test]
async fn frames_may_arrive_before_the_greeting() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in [Via::Tcp, Via::Tls, Via::AutoTcp, Via::AutoTls] {
        let mut stream = server.dial(via).await;
        let frames: Vec<u8> =
            (0..100).flat_map(|number| message(recipient.id, number, b"early")).collect();
        soon(tokio::io::AsyncWriteExt::write_all(&mut stream, &frames)).await.unwrap();
        for number in 0..100 {
            assert_eq!(recipient.receive().await.topic, TopicId(number), "{via:?}");
        }
    }
}
