//! Shutdown: the server delivers the frames that it has received, then ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waddell_core::TopicId;
use waddell_server::Timeouts;
use waddell_tests::transport::Via;

use crate::support::http::ask;
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{pattern, soon, until};

#[tokio::test]
async fn peers_are_told_and_the_server_returns() {
    let server = TestServer::start();
    let mut peers = Vec::new();
    for via in Via::ALL {
        peers.push((via, Peer::connect(&server, via).await));
    }
    let addresses = Via::ALL.map(|via| server.address(via.scheme()));
    let stopping = server.stop();
    for (via, mut peer) in peers {
        assert_eq!(peer.rest().await, [], "{via:?}: the stream ends in order");
        let code = via.is_websocket().then_some(Some(1001));
        assert_eq!(peer.close_code(), code, "{via:?}");
    }
    let handle = stopping.done().await;
    assert_eq!(handle.peers(), 0);
    assert_eq!(handle.metrics().peers_disconnected, 8);
    for address in addresses {
        assert!(soon(TcpStream::connect(address)).await.is_err(), "{address}");
    }
}

#[tokio::test]
async fn a_server_whose_timeouts_never_end_serves_and_shuts_down() {
    const NEVER: Duration = Duration::MAX;
    let server = TestServer::start_with(|config| {
        config.timeouts = Timeouts {
            write: NEVER,
            handshake: NEVER,
            auto_silence: NEVER,
            ping_interval: NEVER,
            pong: NEVER,
            idle: Some(NEVER),
            frame: NEVER,
            drain_delay: Duration::from_nanos(1),
            drain: NEVER,
        };
    });
    assert_eq!(server.handle.longest_shutdown(), NEVER);
    let mut peers = Vec::new();
    for via in Via::DIRECT {
        let mut peer = Peer::connect(&server, via).await;
        peer.echo().await;
        peer.send_bytes(&[0xff]).await;
        peers.push(peer);
    }
    let stopping = server.stop();
    for mut peer in peers {
        assert_eq!(peer.rest().await, []);
    }
    stopping.done().await;
}

#[tokio::test]
async fn messages_in_flight_are_delivered() {
    const COUNT: u16 = 200;
    let server = TestServer::start();
    let mut senders = Vec::new();
    let mut recipients = Vec::new();
    for via in Via::ALL {
        let recipient = Peer::connect(&server, via).await;
        let mut sender = Peer::connect(&server, via).await;
        // Few enough to be in the server's socket buffer when this returns.
        let frames: Vec<u8> = (0..COUNT)
            .flat_map(|number| message(recipient.id, number, &pattern(100, number.into())))
            .collect();
        sender.send_bytes(&frames).await;
        senders.push(sender);
        recipients.push((via, recipient));
    }
    let stopping = server.stop();
    for (via, mut recipient) in recipients {
        let messages = recipient.rest().await;
        assert_eq!(messages.len(), usize::from(COUNT), "{via:?}");
        for (number, message) in (0..).zip(messages) {
            assert_eq!(message.topic, TopicId(number), "{via:?}");
            assert_eq!(message.body, pattern(100, number.into()), "{via:?}");
        }
    }
    drop(senders);
    stopping.done().await;
}

/// An outbox of twelve megabytes for a peer that begins to read at the shutdown.
#[tokio::test]
async fn outboxes_are_delivered_to_peers_that_read() {
    let server = TestServer::start_with(|config| {
        config.limits.outbox_bytes = 64 << 20;
        config.timeouts.drain = Duration::from_secs(3600);
    });
    let mut stuck = Peer::connect(&server, Via::Tcp).await;
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    for number in 0..200 {
        sender.send(stuck.id, number, &pattern(60_000, 1)).await;
    }
    sender.echo().await;
    let stopping = server.stop();
    assert_eq!(sender.rest().await, []);
    assert_eq!(stuck.rest().await.len(), 200);
    drop((stuck, sender));
    stopping.done().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_does_not_delay_the_shutdown_for_long() {
    let server = TestServer::start_with(|config| {
        config.limits.outbox_bytes = 64 << 20;
        config.timeouts.drain = Duration::from_millis(300);
    });
    let mut stuck = Vec::new();
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    for via in Via::DIRECT {
        let peer = Peer::connect(&server, via).await;
        for number in 0..200 {
            sender.send(peer.id, number, &[0; 60_000]).await;
        }
        stuck.push(peer);
    }
    sender.echo().await;
    let begin = Instant::now();
    server.stop().done().await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "they are given that time");
    drop(stuck);
}

/// 600 peers at 2,000 per second: each is closed at its time, by its id, in the next 300 ms.
#[tokio::test]
async fn peers_are_disconnected_one_after_another() {
    let server = TestServer::start_with(|config| {
        config.timeouts.drain = Duration::from_secs(3600);
    });
    let mut peers = Vec::new();
    for number in 0..600 {
        let via = Via::DIRECT[number % 2 * 2];
        peers.push(Peer::connect(&server, via).await);
    }
    let begin = Instant::now();
    let stopping = server.stop();
    let mut ends = tokio::task::JoinSet::new();
    for mut peer in peers {
        ends.spawn(async move {
            assert_eq!(peer.rest().await, []);
            (peer.id, begin.elapsed())
        });
    }
    for (id, end) in ends.join_all().await {
        let [first, second, ..] = *id.as_bytes();
        let part = f64::from(u16::from_be_bytes([first, second])) / 65_536.0;
        assert!(end >= Duration::from_millis(300).mul_f64(part), "{id}: {end:?}");
    }
    stopping.done().await;
}

#[tokio::test]
async fn readiness_ends_before_the_listeners_close() {
    let server = TestServer::start_with(|config| {
        config.admin.address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.timeouts.drain_delay = Duration::from_secs(3600);
    });
    let admin = server.admin.expect("it is configured");
    let mut early = Peer::connect(&server, Via::Tcp).await;
    let address = server.address("tcp");
    let stopping = server.stop();
    let readiness = async || {
        let mut stream = soon(TcpStream::connect(admin)).await.expect("it listens");
        ask(&mut stream, "GET /readyz").await.status
    };
    while readiness().await != 503 {}
    // During the drain delay new peers are served, and so are all others.
    let stream = soon(TcpStream::connect(address)).await.expect("it listens");
    let mut late = Peer::over(Box::new(stream), Via::Tcp).await;
    late.send(early.id, 1, b"hello").await;
    assert_eq!(early.receive().await.from, late.id);
    early.echo().await;
    stopping.abort();
}

#[tokio::test]
async fn the_delay_ends_and_the_server_with_it() {
    let server =
        TestServer::start_with(|config| config.timeouts.drain_delay = Duration::from_millis(50));
    let mut peer = Peer::connect(&server, Via::Wss).await;
    let begin = Instant::now();
    let stopping = server.stop();
    assert_eq!(peer.rest().await, []);
    assert!(begin.elapsed() >= Duration::from_millis(50), "not before");
    drop(peer);
    stopping.done().await;
}

/// Clients that were accepted before the shutdown, but are still in their handshake.
#[tokio::test]
async fn clients_in_their_handshakes_are_greeted_and_then_disconnected() {
    let mut server =
        TestServer::start_with(|config| config.timeouts.drain = Duration::from_secs(3600));
    let mut clients = Vec::new();
    for via in Via::ALL.into_iter().filter(|via| *via != Via::Tcp) {
        clients.push((via, server.connect(via.scheme()).await));
    }
    stop_accepting(&mut server, 7).await;
    for (via, socket) in clients {
        let mut peer = Peer::over(server.start_tls(via, socket).await, via).await;
        assert_eq!(peer.rest().await, [], "{via:?}: the stream ends in order");
        let code = via.is_websocket().then_some(Some(1001));
        assert_eq!(peer.close_code(), code, "{via:?}");
    }
    let metrics = server.stop().done().await.metrics();
    assert_eq!(metrics.peers_disconnected, metrics.peers_connected);
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_and_an_idle_connection_is_closed() {
    let mut server =
        TestServer::start_with(|config| config.timeouts.drain = Duration::from_secs(3600));
    let mut idle = server.connect("ws").await;
    assert_eq!(ask(&mut idle, "GET /healthz").await.status, 200);
    let mut half = server.connect("ws").await;
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n").await.expect("it listens");
    stop_accepting(&mut server, 2).await;
    assert_eq!(soon(idle.read(&mut [0])).await.expect("it ends in order"), 0);
    half.write_all(b"\r\n").await.expect("it is connected");
    let mut answer = String::new();
    soon(half.read_to_string(&mut answer)).await.expect("it ends in order");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.stop().done().await;
}

#[tokio::test]
async fn silent_clients_do_not_delay_the_shutdown_for_long() {
    let mut server =
        TestServer::start_with(|config| config.timeouts.drain = Duration::from_secs(5));
    let mut silent = Vec::new();
    for scheme in ["tls", "ws", "wss", "auto"] {
        silent.push(server.connect(scheme).await);
    }
    stop_accepting(&mut server, 4).await;
    let handle = server.stop().done().await;
    assert_eq!(handle.metrics().handshakes_failed, 4, "they are not there until the time is over");
}

/// Tells the server to stop after it has accepted that number of connections, and waits until its
/// listeners are closed. The attempts may be accepted until then.
async fn stop_accepting(server: &mut TestServer, connections: u64) {
    until(|| server.metrics().connections_accepted == connections).await;
    let address = server.address("tcp");
    server.begin_stop();
    while soon(TcpStream::connect(address)).await.is_ok() {}
}

#[tokio::test]
async fn dropping_the_server_ends_every_connection() {
    let server = TestServer::start();
    let mut peers = Vec::new();
    for via in Via::ALL {
        peers.push(Peer::connect(&server, via).await);
    }
    let handle = server.handle.clone();
    let address = server.address("tcp");
    server.abort();
    for mut peer in peers {
        // The connection ends, in order or not.
        while let Ok(Some(_)) = soon(peer.try_receive()).await {}
    }
    until(|| handle.peers() == 0).await;
    let metrics = handle.metrics();
    assert_eq!(metrics.peers_connected, metrics.peers_disconnected);
    assert!(soon(TcpStream::connect(address)).await.is_err());
}
