//! Any stream in two pieces, over a socket, to an HTTP listener of a server in this process. The
//! server may answer, and must close the connection.
//!
//! Input: number of the listener and place of the cut (1 byte each), the stream.
#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use waddell_server::{HttpOptions, Server, ServerConfig, TrustedProxies};

/// Addresses of the listeners: `ws` and `auto`, and the same two with PROXY headers.
static LISTENERS: LazyLock<Vec<SocketAddr>> =
    LazyLock::new(|| [false, true].into_iter().flat_map(start).collect());

fn start(behind_proxy: bool) -> Vec<SocketAddr> {
    let listen = ["ws", "auto"].map(|scheme| format!("{scheme}://127.0.0.1:0"));
    let server = Server::bind(ServerConfig {
        listen: listen.iter().map(|url| url.parse().expect("it is valid")).collect(),
        workers: 1,
        http: HttpOptions {
            origins: vec!["https://example.org".to_owned()],
            ..HttpOptions::default()
        },
        proxies: TrustedProxies {
            networks: vec!["127.0.0.0/8".parse().expect("it is a network")],
            send_header: behind_proxy,
        },
        ..ServerConfig::default()
    })
    .expect("there are free ports");
    let addresses =
        server.local_urls().map(|url| url.address.parse().expect("it is one")).collect();
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("there is room for one").block_on(server.run(std::future::pending()))
    });
    addresses
}

/// Connects. Waits while the ports of closed connections are not free yet.
fn connect(listener: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(listener) {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                std::thread::sleep(Duration::from_millis(100));
            }
            connected => return connected.expect("it listens"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let &[listener, cut, ref stream @ ..] = data else { return };
    let listener = LISTENERS[usize::from(listener) % LISTENERS.len()];
    let mut socket = connect(listener);
    socket.set_nodelay(true).expect("it is a socket");
    socket.set_read_timeout(Some(Duration::from_secs(9))).expect("it is a socket");
    let (first, second) = stream.split_at(usize::from(cut).min(stream.len()));
    for piece in [first, second] {
        // The server may have closed the connection already.
        let _ = socket.write_all(piece);
    }
    let _ = socket.shutdown(Shutdown::Write);
    // The server closes the connection, or resets it if bytes are unread.
    if let Err(error) = socket.read_to_end(&mut Vec::new()) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server does not close the connection");
    }
});
