//! `auto` listeners, and the greeting that a client waits for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waddell_core::{KEEP_ALIVE_FRAME, TopicId};
use waddell_tests::transport::Via;

use crate::support::http::{UPGRADE, ask};
use crate::support::peer::{Peer, message};
use crate::support::server::{Duplex, TestServer};
use crate::support::soon;

/// Returns a stream that sends bytes one at a time, each in its own TCP segment.
fn byte_by_byte(mut stream: TcpStream) -> impl Duplex {
    let (writer, mut written) = tokio::io::duplex(1);
    let (reader, mut heard) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut from_server, mut to_server) = stream.split();
        let up = async {
            let mut byte = [0];
            while matches!(written.read(&mut byte).await, Ok(1)) {
                if to_server.write_all(&byte).await.is_err() {
                    return;
                }
            }
        };
        let down = tokio::io::copy(&mut from_server, &mut heard);
        // Either end may be dropped first; the last one closes the socket.
        let _ = tokio::join!(up, down);
    });
    tokio::io::join(reader, writer)
}

#[tokio::test]
async fn the_greeting_is_sent_first_without_a_request() {
    let server = TestServer::start();
    for via in Via::DIRECT {
        let peer = Peer::connect(&server, via).await;
        assert_eq!(peer.id.as_bytes()[6] >> 4, 4, "{via:?}: the version of a random UUID");
        assert_eq!(peer.id.as_bytes()[8] >> 6, 2, "{via:?}: the variant");
    }
}

#[tokio::test]
async fn a_silent_client_is_greeted_after_the_silence() {
    let server = TestServer::start_with(|config| {
        config.timeouts.auto_silence = Duration::from_millis(20);
    });
    let socket = server.connect("auto").await;
    let mut silent = Peer::over(Box::new(socket), Via::Tcp).await;
    silent.echo().await;
}

#[tokio::test]
async fn a_client_that_is_silent_within_tls_is_greeted_there() {
    // Longer than a handshake takes on a busy machine. The test waits for it twice.
    let server =
        TestServer::start_with(|config| config.timeouts.auto_silence = Duration::from_secs(3));
    let socket = server.connect("auto").await;
    let stream = soon(server.tls(&[], socket)).await.expect("it shakes hands");
    let mut silent = Peer::over(Box::new(stream), Via::Tls).await;
    silent.echo().await;
}

#[tokio::test]
async fn first_bytes_may_come_one_at_a_time() {
    let server = TestServer::start();
    for via in Via::ALL {
        let socket = server.connect(via.scheme()).await;
        let stream = server.start_tls(via, byte_by_byte(socket)).await;
        let mut peer = Peer::over(stream, via).await;
        peer.send(peer.id, 5, b"in pieces").await;
        let message = peer.receive().await;
        assert_eq!((message.topic, &message.body[..]), (TopicId(5), &b"in pieces"[..]), "{via:?}");
    }
}

#[tokio::test]
async fn alpn_is_http_or_absent() {
    let server = TestServer::start();
    for scheme in ["wss", "auto"] {
        for offer in [&[][..], &[&b"http/1.1"[..]], &[b"h2", b"http/1.1"]] {
            let socket = server.connect(scheme).await;
            let mut stream = soon(server.tls(offer, socket)).await.expect("it shakes hands");
            let agreed = stream.get_ref().1.alpn_protocol();
            assert_eq!(agreed, (!offer.is_empty()).then_some(&b"http/1.1"[..]), "{scheme:?}");
            assert_eq!(ask(&mut stream, "GET /healthz").await.status, 200, "{scheme:?}");
            assert_eq!(ask(&mut stream, UPGRADE).await.status, 101, "{scheme:?}");
        }
        let socket = server.connect(scheme).await;
        let refused = soon(server.tls(&[b"h2"], socket)).await;
        assert!(refused.is_err(), "{scheme:?} speaks no h2");
    }
    // A plain TLS listener accepts any offer.
    let socket = server.connect("tls").await;
    let stream = soon(server.tls(&[b"h2"], socket)).await.expect("it shakes hands");
    Peer::over(Box::new(stream), Via::Tls).await.echo().await;
}

/// Frames whose prefix begins like an HTTP method or a TLS record.
#[tokio::test]
async fn frames_that_begin_like_http_or_tls_are_told_apart() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for first_byte in [0x16, b'G', b'H', b'P', b'D', b'O', b'T', b'C'] {
        let body = vec![1; usize::from(first_byte) - 18];
        let frame = message(recipient.id, 1, &body);
        assert_eq!(frame[0], first_byte);
        let mut socket = server.connect("auto").await;
        for byte in frame {
            soon(socket.write_all(&[byte])).await.expect("it is connected");
        }
        assert_eq!(recipient.receive().await.body, body, "{first_byte:#x}");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_without_a_byte_does_no_harm() {
    let server = TestServer::start();
    for _ in 0..10 {
        drop(server.connect("auto").await);
    }
    let mut socket = server.connect("auto").await;
    soon(socket.write_all(KEEP_ALIVE_FRAME)).await.expect("it is connected");
    Peer::over(Box::new(socket), Via::Tcp).await.echo().await;
    crate::support::until(|| {
        let metrics = server.metrics();
        let ended = metrics.handshakes_failed + metrics.peers_disconnected;
        metrics.connections_accepted == 11 && ended == 11
    })
    .await;
}
