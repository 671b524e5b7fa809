//! Memory of the server after thousands of connections were opened, used and closed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, thread};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tempfile::TempDir;
use waddell_tests::certificate::trust;

use crate::support::{PATIENCE, Running, certificate, message, text, until};

/// Memory that may remain in use afterwards, in KiB.
const LEFT: u64 = 10 * 1024;

/// Body that each connection sends to itself: more than fits into the buffers of an idle
/// connection.
const BODY: [u8; 16_000] = [7; 16_000];

#[test]
fn memory_goes_back_after_a_peak_over_tcp() {
    a_peak_leaves_little_behind("tcp", 5_000);
}

#[test]
fn memory_goes_back_after_a_peak_over_websockets() {
    a_peak_leaves_little_behind("ws", 5_000);
}

#[test]
fn memory_goes_back_after_a_peak_over_tls() {
    a_peak_leaves_little_behind("tls", 2_000);
}

#[test]
fn memory_goes_back_after_a_peak_over_websockets_in_tls() {
    a_peak_leaves_little_behind("wss", 2_000);
}

#[test]
fn unread_files_cost_little() {
    const COUNT: usize = 40;
    let folder = TempDir::new().expect("the disk has room");
    fs::write(folder.path().join("large"), vec![7; 8 << 20]).expect("the disk has room");
    let www = folder.path().to_str().expect("it is text");
    let server = Running::start(&["--listen", "ws://127.0.0.1:0", "--www", www], 1);
    let ask = || {
        let mut client = server.connect(0);
        client
            .write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
            .expect("the connection is open");
        // The server has begun to send the file.
        client.read_exact(&mut [0; 4096]).expect("an answer arrives");
        client
    };
    let _first = ask();
    let before = server.resident();
    let _unread: Vec<_> = (0..COUNT).map(|_| ask()).collect();
    let grown = server.resident().saturating_sub(before);
    assert!(grown < COUNT as u64 * 1024, "{grown} KiB");
}

/// Opens `count` or `WADDELL_TEST_CONNECTIONS` connections, uses each, and closes all.
fn a_peak_leaves_little_behind(scheme: &str, count: usize) {
    let count = env::var("WADDELL_TEST_CONNECTIONS")
        .map_or(count, |count| count.parse().expect("WADDELL_TEST_CONNECTIONS is a number"))
        .min(descriptors_allowed() - 100);
    let folder = TempDir::new().expect("the disk has room");
    let (cert, key) = certificate(folder.path());
    let url = format!("{scheme}://127.0.0.1:0");
    let arguments = ["--listen", &url, "--cert", text(&cert), "--key", text(&key), "--log", "warn"];
    let unlimited = ["--max-connections", "0", "--max-connections-per-address", "0"];
    let server = Running::start(&[&arguments[..], &unlimited].concat(), 1);
    let tls = Arc::new(trust(&cert).expect("it is a certificate"));

    // One connection first, because some memory is allocated once at the first need.
    drop(open(&server, scheme, &tls));
    let before = server.resident();
    let connections: Vec<_> = thread::scope(|scope| {
        let open = |count| {
            let (server, tls) = (&server, &tls);
            let open = move || (0..count).map(|_| open(server, scheme, tls)).collect::<Vec<_>>();
            scope.spawn(open)
        };
        let [one, other] = [open(count / 2), open(count - count / 2)];
        [one, other]
            .into_iter()
            .flat_map(|part| part.join().expect("every connection is served"))
            .collect()
    });
    assert_eq!(connections.len(), count);
    let peak = server.resident();
    let begin = Instant::now();
    drop(connections);
    until(|| server.descriptors() < count / 2);
    let closed = server.resident();
    while server.resident() > before + LEFT {
        assert!(
            begin.elapsed() < PATIENCE,
            "{scheme}, {count} connections: {before} KiB before, {peak} KiB at the peak, \
             {} KiB left",
            server.resident()
        );
        thread::sleep(Duration::from_millis(10));
    }
    println!(
        "{scheme}, {count} connections: {before} KiB before, {peak} KiB at the peak, \
         {closed} KiB when closed, {} KiB left after {:?}",
        server.resident(),
        begin.elapsed()
    );
    if env::var_os("WADDELL_TEST_CONNECTIONS").is_some() {
        thread::sleep(Duration::from_secs(10).saturating_sub(begin.elapsed()));
        println!("{scheme}: {} KiB left after {:?}", server.resident(), begin.elapsed());
    }
    assert!(peak > before, "there was a peak");
}

/// Returns the limit on descriptors of this process, which the server inherits.
fn descriptors_allowed() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("the file exists");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).expect("the line exists");
    soft.parse().unwrap_or(usize::MAX)
}

/// Connects a peer, which sends a message to itself and receives it.
fn open(server: &Running, scheme: &str, tls: &Arc<ClientConfig>) -> Box<dyn Connection> {
    let socket = server.connect(0);
    let mut connection: Box<dyn Connection> = match scheme {
        "tls" | "wss" => {
            let name = ServerName::try_from("localhost").expect("it is a name");
            let tls = ClientConnection::new(Arc::clone(tls), name).expect("it can be configured");
            Box::new(StreamOwned::new(tls, socket))
        }
        _ => Box::new(socket),
    };
    let is_websocket = scheme.starts_with("ws");
    if is_websocket {
        connection.write_all(UPGRADE).expect("the connection is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).expect("the answer is complete");
            head.extend(byte);
        }
    }
    let greeting = receive(&mut connection, is_websocket, 20);
    let own_id = *greeting[2..].first_chunk().expect("it is long enough");
    let frame = message(own_id, &BODY);
    let header = match u16::try_from(frame.len()).expect("it is short enough").to_be_bytes() {
        _ if !is_websocket => Vec::new(),
        // With a mask of zeros.
        [high, low] => vec![0x82, 0xfe, high, low, 0, 0, 0, 0],
    };
    connection.write_all(&[&header[..], &frame].concat()).expect("the connection is open");
    connection.flush().expect("the connection is open");
    assert!(receive(&mut connection, is_websocket, frame.len()) == frame);
    connection
}

/// Receives `len` bytes of frames; over WebSocket, one message that contains them.
fn receive(connection: &mut impl Read, is_websocket: bool, len: usize) -> Vec<u8> {
    let header = if !is_websocket {
        0
    } else if len < 126 {
        2
    } else {
        4
    };
    let mut bytes = vec![0; header + len];
    connection.read_exact(&mut bytes).expect("the connection stays open");
    bytes.split_off(header)
}

trait Connection: Read + Write + Send {}

impl Connection for TcpStream {}

impl Connection for StreamOwned<ClientConnection, TcpStream> {}

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
upgrade: websocket\r\nsec-websocket-version: 13\r\n\
sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
