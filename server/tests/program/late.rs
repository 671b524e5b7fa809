//! A server that was stopped for longer than its timeouts does not blame its peers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Running, greeting, message};

/// Stops the server for longer than the timeout of 3 s of these tests. Meanwhile the peer sends
/// `bytes`.
fn send_while_stopped(server: &Running, peer: &mut TcpStream, bytes: &[u8]) {
    server.signal("STOP");
    peer.write_all(bytes).expect("the connection is open");
    sleep(Duration::from_secs(4));
    server.signal("CONT");
}

#[test]
fn a_peer_with_unread_frames_does_not_count_as_idle() {
    let server = Running::start(&["--listen", "tcp://127.0.0.1:0", "--idle-timeout", "3s"], 1);
    let mut peer = server.connect(0);
    let id = greeting(&mut peer);
    send_while_stopped(&server, &mut peer, b"\x01\x00k");
    let echo = message(id, b"still here");
    peer.write_all(&echo).expect("the connection is open");
    let mut received = vec![0; echo.len()];
    peer.read_exact(&mut received).expect("the peer is served");
    assert_eq!(received, echo);
}

#[test]
fn a_peer_with_an_unread_pong_does_not_count_as_dead() {
    let server = Running::start(
        &["--listen", "ws://127.0.0.1:0", "--ping-interval", "1s", "--pong-timeout", "3s"],
        1,
    );
    let mut peer = server.connect(0);
    peer.write_all(
        b"GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .expect("the connection is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).expect("the server answers");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    peer.read_exact(&mut [0; 2]).expect("a message begins");
    let id = greeting(&mut peer);
    let mut ping = [0; 2];
    peer.read_exact(&mut ping).expect("the ping arrives");
    assert_eq!(ping, PING);
    // A mask of zeros changes nothing.
    send_while_stopped(&server, &mut peer, &[0x8a, 0x80, 0, 0, 0, 0]);
    let echo = message(id, b"still here");
    let header = [0x82, 0x80 | echo.len() as u8, 0, 0, 0, 0];
    peer.write_all(&[&header[..], &echo].concat()).expect("the connection is open");
    let mut begin = PING;
    while begin == PING {
        peer.read_exact(&mut begin).expect("the peer is served");
    }
    assert_eq!(begin, [0x82, echo.len() as u8]);
    let mut received = vec![0; echo.len()];
    peer.read_exact(&mut received).expect("the peer is served");
    assert_eq!(received, echo);
}

const PING: [u8; 2] = [0x89, 0];
