//! Bytes that only a broken client sends.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use waddell_tests::rng::Rng;
use waddell_tests::transport::Via;

/// Returns bytes that end before a peer is connected: noise, or part of a handshake.
pub(crate) fn instead_of_handshake(tls: &Arc<ClientConfig>, via: Via, rng: &mut Rng) -> Vec<u8> {
    let mut whole = match rng.between(0..=3) {
        0 => noise(rng, 4000),
        1 if via.is_encrypted() => client_hello(tls),
        1 => b"GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n".to_vec(),
        2 => b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        _ => [&b"POST /ws HTTP/1.1\r\nx: "[..], &vec![b'y'; rng.between(1..=100_000)]].concat(),
    };
    whole.truncate(rng.between(0..=whole.len()));
    whole
}

/// Returns bytes that break the stream of a connected peer: a frame longer than allowed, an invalid
/// WebSocket frame, or noise.
pub(crate) fn instead_of_frames(via: Via, rng: &mut Rng) -> Vec<u8> {
    let noise = noise(rng, 3000);
    if !via.is_websocket() {
        return match rng.between(0..=1) {
            // A length beyond the configured limit of the server.
            0 => [&[0xff, 0xff], &noise[..]].concat(),
            _ => noise,
        };
    }
    match rng.between(0..=6) {
        // Text; no mask; a reserved bit; a reserved opcode; a control frame that is too long; a
        // fragmented control frame; a message of 2^40 bytes.
        0 => [&[0x81, 0x85], &noise[..]].concat(),
        1 => [&[0x82, 0x05], &noise[..]].concat(),
        2 => [&[0xc2, 0x85], &noise[..]].concat(),
        3 => [&[0x83, 0x85], &noise[..]].concat(),
        4 => [&[0x89, 0xfe, 0x01, 0x00], &noise[..]].concat(),
        5 => [&[0x09, 0x81], &noise[..]].concat(),
        _ => [&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], &noise[..]].concat(),
    }
}

/// Returns the first bytes of a TLS client.
pub(crate) fn client_hello(tls: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("it is a name");
    let mut client = ClientConnection::new(Arc::clone(tls), name).expect("the settings are valid");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("it is written to memory");
    hello
}

fn noise(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let len = rng.between(1..=longest);
    (0..len.div_ceil(16)).flat_map(|_| rng.bytes()).take(len).collect()
}
