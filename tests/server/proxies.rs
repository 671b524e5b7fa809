//! Clients behind proxies: which forwarded addresses are trusted, and how they count.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use waddell_core::PeerId;
use waddell_server::ServerConfig;
use waddell_tests::transport::Via;

use crate::support::admin::{by_label, serve_operators};
use crate::support::http::{UPGRADE, ask};
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::{soon, until};

/// Addresses of a listed proxy, of another listed proxy, and of a stranger.
const PROXY: [u8; 4] = [127, 1, 0, 1];
const OTHER_PROXY: [u8; 4] = [127, 1, 0, 2];
const STRANGER: [u8; 4] = [127, 2, 0, 1];

const FAILED: &str = "waddell_handshakes_failed_total";

/// Allows one connection per address, and lists proxies in 127.1.0.0/16.
fn one_each(config: &mut ServerConfig) {
    serve_operators(config);
    config.limits.max_connections_per_address = 1;
    config.proxies.networks = vec!["127.1.0.0/16".parse().expect("it is a network")];
}

fn with_headers(config: &mut ServerConfig) {
    one_each(config);
    config.proxies.send_header = true;
}

async fn connect(server: &TestServer, scheme: &str, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are descriptors left");
    socket.bind((IpAddr::from(from), 0).into()).expect("it is an address of this machine");
    socket.set_nodelay(true).expect("it is a socket");
    soon(socket.connect(server.address(scheme))).await.expect("it listens")
}

fn version_1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 4660 443\r\n").into_bytes()
}

fn version_2(client: [u8; 4]) -> Vec<u8> {
    let tlv = [4, 0, 3, 0, 0, 0];
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12";
    [&head[..], &client, &[192, 0, 2, 1, 0x12, 0x34, 1, 0xbb], &tlv].concat()
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Makes a peer of a connection whose first bytes are `first`.
async fn peer(server: &TestServer, via: Via, from: [u8; 4], first: &[u8]) -> Peer {
    let mut socket = connect(server, via.scheme(), from).await;
    soon(socket.write_all(first)).await.expect("it is connected");
    Peer::over(server.start_tls(via, socket).await, via).await
}

/// Sends bytes, and returns everything up to the end of the connection.
async fn exchange(server: &TestServer, scheme: &str, from: [u8; 4], bytes: &[u8]) -> Vec<u8> {
    let mut socket = connect(server, scheme, from).await;
    soon(socket.write_all(bytes)).await.expect("it is connected");
    let mut answer = Vec::new();
    let _ = soon(socket.read_to_end(&mut answer)).await;
    answer
}

async fn open_for(server: &TestServer, from: [u8; 4], forwarded: &str) -> (u16, TcpStream) {
    let mut stream = connect(server, "ws", from).await;
    let lines = forwarded.split('|').map(|line| format!("\nx-forwarded-for: {line}"));
    let response = ask(&mut stream, &format!("{UPGRADE}{}", lines.collect::<String>())).await;
    (response.status, stream)
}

#[tokio::test]
async fn a_listed_proxy_names_the_client() {
    let server = TestServer::start_with(one_each);
    let (first, _held) = open_for(&server, PROXY, "203.0.113.1").await;
    let (second, _also_held) = open_for(&server, PROXY, "203.0.113.2").await;
    assert_eq!((first, second), (101, 101), "two clients of one proxy");
    // In every form, and through any further proxy, it is the same client.
    for forwarded in [
        "203.0.113.1",
        "203.0.113.1:4660",
        "::ffff:203.0.113.1",
        "198.51.100.1, 203.0.113.1",
        "198.51.100.1|203.0.113.1|127.1.2.3 , 127.1.0.9",
    ] {
        let (status, _) = open_for(&server, OTHER_PROXY, forwarded).await;
        assert_eq!(status, 429, "{forwarded}");
    }
    assert_eq!(server.metrics().connections_refused, 5);
    let refused = by_label(&server, "waddell_upgrades_refused_total").await;
    assert_eq!(refused, [("address".to_owned(), 5)]);
    assert_eq!(server.metrics().forwarded_ignored, 0);
}

#[tokio::test]
async fn a_refused_client_is_told_and_the_place_is_given_back() {
    let server = TestServer::start_with(one_each);
    let (_, held) = open_for(&server, PROXY, "203.0.113.1").await;
    // One connection of the proxy carries requests of several clients in turn.
    let mut stream = connect(&server, "ws", PROXY).await;
    let request = |client| format!("{UPGRADE}\nx-forwarded-for: {client}");
    let refused = ask(&mut stream, &request("203.0.113.1")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.text(), "there are too many connections from your address\n");
    assert_eq!(ask(&mut stream, "GET /healthz\nx-forwarded-for: 203.0.113.1").await.status, 200);
    drop(held);
    soon(async { while ask(&mut stream, &request("203.0.113.1")).await.status != 101 {} }).await;
    assert_eq!(open_for(&server, PROXY, "203.0.113.1").await.0, 429);
}

#[tokio::test]
async fn proxies_themselves_are_not_counted() {
    let server = TestServer::start_with(one_each);
    let mut held = Vec::new();
    for forwarded in ["", "rubbish", "127.1.0.5, 127.1.0.6", "203.0.113.1, rubbish"] {
        for _ in 0..2 {
            let (status, stream) = open_for(&server, PROXY, forwarded).await;
            assert_eq!(status, 101, "{forwarded}");
            held.push(stream);
        }
    }
    for via in [Via::Tcp, Via::Tcp, Via::Tls, Via::AutoTcp] {
        peer(&server, via, PROXY, b"").await.echo().await;
    }
}

#[tokio::test]
async fn an_unlisted_proxy_is_not_trusted() {
    let server = TestServer::start_with(one_each);
    let (status, _held) = open_for(&server, STRANGER, "203.0.113.1").await;
    assert_eq!(status, 101);
    // It counts for its own address, whatever it claims.
    let mut refused = connect(&server, "ws", STRANGER).await;
    let mut heard = Vec::new();
    let _ = soon(refused.read_to_end(&mut heard)).await;
    assert_eq!(heard, b"");
    until(|| server.metrics().connections_refused == 1).await;
    assert_eq!(open_for(&server, PROXY, "203.0.113.1").await.0, 101, "its place is free");
    assert_eq!(server.metrics().forwarded_ignored, 1);
    let ignored = by_label(&server, "waddell_claims_ignored_total").await;
    assert_eq!(ignored, [("x-forwarded-for".to_owned(), 1)]);
}

#[tokio::test]
async fn a_proxy_header_names_the_client_on_every_transport() {
    let server = TestServer::start_with(with_headers);
    for (number, via) in (1..).zip(Via::ALL) {
        let client = [203, 0, 113, number];
        let text = IpAddr::from(client).to_string();
        let mut first = peer(&server, via, PROXY, &version_1(&text)).await;
        first.echo().await;
        // The same client in the other version of the header: there is no place for it.
        assert_eq!(exchange(&server, via.scheme(), OTHER_PROXY, &version_2(client)).await, b"");
        until(|| server.metrics().connections_refused == u64::from(number)).await;
        first.echo().await;
        peer(&server, via, PROXY, &version_2([203, 0, 114, number])).await.echo().await;
    }
    assert_eq!(by_label(&server, FAILED).await, [("refused".to_owned(), 8)]);
}

#[tokio::test]
async fn a_proxy_header_may_arrive_in_pieces_with_frames_right_behind_it() {
    let server = TestServer::start_with(with_headers);
    let mut recipient = peer(&server, Via::Tcp, PROXY, &version_1("203.0.113.1")).await;
    let frame = message(recipient.id, 7, b"right behind");
    for (number, piece) in (2..).zip([1, 11, 28, 1000]) {
        let client = IpAddr::from([203, 0, 113, number]).to_string();
        for header in [version_1(&client), version_2([203, 0, 114, number]), LOCAL.to_vec()] {
            let stream = [&header[..], &frame].concat();
            let mut socket = connect(&server, "tcp", PROXY).await;
            for bytes in stream.chunks(piece) {
                soon(socket.write_all(bytes)).await.expect("it is connected");
            }
            let sender = Peer::over(Box::new(socket), Via::Tcp).await;
            let message = recipient.receive().await;
            assert_eq!((message.from, &message.body[..]), (sender.id, &b"right behind"[..]));
        }
    }
}

#[tokio::test]
async fn a_proxy_may_connect_for_itself() {
    let server = TestServer::start_with(with_headers);
    let mut held = Vec::new();
    for header in [LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN whatever\r\n"] {
        for via in [Via::Tcp, Via::AutoWs] {
            let mut peer = peer(&server, via, PROXY, header).await;
            peer.echo().await;
            held.push(peer);
        }
    }
}

#[tokio::test]
async fn a_proxy_without_a_valid_header_is_closed_and_counted() {
    let server = TestServer::start_with(|config| {
        with_headers(config);
        config.timeouts.handshake = Duration::from_millis(200);
    });
    for scheme in ["tcp", "tls", "ws", "wss", "auto"] {
        for bytes in [
            &b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
            b"PROXY TCP4 nonsense\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"PROXY TCP4 203.0.113.1 ",
            b"",
        ] {
            let answer = exchange(&server, scheme, PROXY, bytes).await;
            assert_eq!(answer, b"", "{scheme:?} {}", bytes.escape_ascii());
        }
        // Disconnected before its header was complete.
        let mut socket = connect(&server, scheme, PROXY).await;
        soon(socket.write_all(b"PRO")).await.expect("it is connected");
    }
    until(|| server.metrics().handshakes_failed == 30).await;
    let failed = by_label(&server, FAILED).await;
    let expected = [("timeout", 10), ("no_proxy_header", 5), ("proxy_header", 10), ("closed", 5)];
    assert_eq!(failed, expected.map(|(reason, count)| (reason.to_owned(), count)));
    assert_eq!(server.metrics().peers_connected, 0);
}

#[tokio::test]
async fn a_header_of_an_unlisted_client_is_skipped_and_not_trusted() {
    let server = TestServer::start_with(with_headers);
    let vias = [Via::Tls, Via::Ws, Via::Wss, Via::AutoTcp, Via::AutoTls, Via::AutoWs, Via::AutoWss];
    for (number, via) in (1..).zip(vias) {
        let header =
            if number % 2 == 0 { version_1("203.0.113.1") } else { version_2([203, 0, 113, 1]) };
        let stranger = [127, 2, 0, number];
        let mut peer = peer(&server, via, stranger, &header).await;
        peer.echo().await;
        assert_eq!(server.metrics().proxy_headers_ignored, u64::from(number), "{via:?}");
        // It takes the place of its own address, not of the one that it named.
        let mut refused = connect(&server, "tcp", stranger).await;
        assert_eq!(soon(refused.read(&mut [0])).await.unwrap_or(0), 0);
    }
    let ignored = by_label(&server, "waddell_claims_ignored_total").await;
    assert_eq!(ignored, [("proxy header".to_owned(), 7)]);
}

#[tokio::test]
async fn a_header_of_an_unlisted_client_on_raw_tcp_closes_the_connection() {
    let server = TestServer::start_with(with_headers);
    for (count, header) in (1..).zip([version_1("203.0.113.1"), version_2([203, 0, 113, 1])]) {
        for piece in [1, header.len()] {
            let stranger = [127, 2, count, piece as u8];
            let mut socket = connect(&server, "tcp", stranger).await;
            // An unlisted client is greeted at once.
            soon(socket.read_exact(&mut [0; 20])).await.expect("it is greeted");
            for bytes in header.chunks(piece) {
                // The server may have closed the connection in between.
                let _ = soon(socket.write_all(bytes)).await;
            }
            let mut rest = Vec::new();
            let _ = soon(socket.read_to_end(&mut rest)).await;
            assert_eq!(rest, b"");
        }
        assert_eq!(server.metrics().proxy_headers_ignored, 2 * u64::from(count));
        assert_eq!(server.metrics().peers_misbehaved, 2 * u64::from(count));
    }
}

#[tokio::test]
async fn an_unlisted_client_is_served_as_usual() {
    let server = TestServer::start_with(with_headers);
    for (number, via) in (1..).zip(Via::ALL) {
        let from = [127, 2, 1, number];
        let mut peer = peer(&server, via, from, b"").await;
        peer.echo().await;
        // Frames of these lengths begin like a header.
        for len in [0x5250, 0x0a0d] {
            peer.send(PeerId::from_random(*b"OXY TCP4 1.2.3.4"), 1, &vec![0; len - 18]).await;
        }
        peer.echo().await;
    }
    assert_eq!(server.metrics().proxy_headers_ignored, 0);
    assert_eq!(server.metrics().handshakes_failed, 0);
}

#[tokio::test]
async fn an_unlisted_client_may_wait_for_its_greeting_on_an_auto_listener() {
    let server = TestServer::start_with(|config| {
        with_headers(config);
        config.timeouts.auto_silence = Duration::from_millis(20);
    });
    let silent = connect(&server, "auto", STRANGER).await;
    Peer::over(Box::new(silent), Via::Tcp).await.echo().await;
    assert_eq!(server.metrics().handshakes_failed, 0);
}

#[tokio::test]
async fn after_a_header_only_a_listed_address_can_name_another() {
    let server = TestServer::start_with(with_headers);
    let open = async |client: &str, forwarded: &str| {
        let mut stream = connect(&server, "ws", PROXY).await;
        soon(stream.write_all(&version_1(client))).await.expect("it is connected");
        let request = format!("{UPGRADE}\nx-forwarded-for: {forwarded}");
        (ask(&mut stream, &request).await.status, stream)
    };
    let (status, _client) = open("203.0.113.1", "198.51.100.1").await;
    assert_eq!((status, server.metrics().forwarded_ignored), (101, 1));
    let (status, _chained) = open("127.1.0.9", "198.51.100.1").await;
    assert_eq!((status, server.metrics().forwarded_ignored), (101, 1));
    let (status, _) = open("127.1.0.9", "198.51.100.1").await;
    assert_eq!(status, 429);
    assert_eq!(server.metrics().connections_refused, 1);
}

#[tokio::test]
async fn a_new_list_applies_to_later_connections() {
    let mut config = ServerConfig::default();
    let server = TestServer::start_with(|own| {
        one_each(own);
        own.proxies.networks.clear();
        config = own.clone();
    });
    let (_, _held) = open_for(&server, PROXY, "203.0.113.1").await;
    assert_eq!(server.metrics().forwarded_ignored, 1);
    one_each(&mut config);
    let needs_restart = server.handle.reload(&config).expect("the certificate is the same");
    assert_eq!(needs_restart, Vec::<&str>::new());
    assert_eq!(open_for(&server, PROXY, "203.0.113.1").await.0, 101);
    assert_eq!(server.metrics().forwarded_ignored, 1);
}
