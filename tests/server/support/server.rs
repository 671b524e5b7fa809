//! A server on free ports in the process of the test.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use waddell_server::{
    Identity, ListenUrl, MetricsSnapshot, Server, ServerConfig, ServerHandle, self_signed,
};
use waddell_tests::certificate::trust;
use waddell_tests::peer::start_tls;
use waddell_tests::transport::Via;

use super::soon;

/// A connection after the TLS handshake, if any.
pub(crate) type Stream = Box<dyn Duplex>;

/// A two-way stream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A running server with a listener of each kind. By default its timeouts are an hour, also that of
/// a silent client on the `auto` listener, so that the speed of the machine does not matter.
pub(crate) struct TestServer {
    pub(crate) handle: ServerHandle,
    pub(crate) identity: Identity,
    pub(crate) admin: Option<SocketAddr>,
    urls: Vec<ListenUrl>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<io::Result<()>>,
    _folder: TempDir,
}

/// URLs of the listeners of a test's server.
pub(crate) const LISTEN: [&str; 5] = [
    "tcp://127.0.0.1:0",
    "tls://127.0.0.1:0",
    "ws://127.0.0.1:0",
    "wss://127.0.0.1:0",
    "auto://127.0.0.1:0",
];

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a server with a configuration that `change` has changed.
    pub(crate) fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = TempDir::new().expect("there is room for a certificate");
        let identity = self_signed("localhost", folder.path()).expect("the name is valid");
        let mut config = ServerConfig {
            listen: LISTEN.map(|url| url.parse().expect("it is valid")).to_vec(),
            identity: Some(identity.clone()),
            workers: 2,
            ..ServerConfig::default()
        };
        config.timeouts.auto_silence = Duration::from_secs(3600);
        config.timeouts.handshake = Duration::from_secs(3600);
        config.timeouts.write = Duration::from_secs(3600);
        change(&mut config);
        let server = Server::bind(config).expect("there are free ports");
        let (stop, stopped) = oneshot::channel();
        Self {
            handle: server.handle(),
            identity,
            admin: server.admin_address(),
            urls: server.local_urls().cloned().collect(),
            stop: Some(stop),
            running: tokio::spawn(server.run(async {
                // A test that ends early drops the sender.
                let _ = stopped.await;
            })),
            _folder: folder,
        }
    }

    pub(crate) fn metrics(&self) -> MetricsSnapshot {
        self.handle.metrics()
    }

    pub(crate) fn address(&self, scheme: &str) -> SocketAddr {
        let url = self.urls.iter().find(|url| url.scheme.as_str() == scheme);
        url.expect("it listens there").address.parse().expect("it is an address")
    }

    /// Connects to the listener of `via`, with TLS if needed.
    pub(crate) async fn dial(&self, via: Via) -> Stream {
        self.start_tls(via, self.connect(via.scheme()).await).await
    }

    pub(crate) async fn connect(&self, scheme: &str) -> TcpStream {
        let stream = soon(TcpStream::connect(self.address(scheme))).await.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        stream
    }

    /// Connects with a small receive buffer, which fills soon.
    pub(crate) async fn connect_narrow(&self, scheme: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("there are descriptors left");
        socket.set_recv_buffer_size(4096).expect("it is a socket");
        soon(socket.connect(self.address(scheme))).await.expect("it listens")
    }

    /// Starts TLS on a connection if `via` needs it.
    pub(crate) async fn start_tls(&self, via: Via, stream: impl Duplex + 'static) -> Stream {
        if via.is_encrypted() {
            Box::new(soon(self.tls(via.alpn(), stream)).await.expect("the handshake succeeds"))
        } else {
            Box::new(stream)
        }
    }

    /// Shakes hands as a client that trusts this server's certificate and no other.
    pub(crate) async fn tls<S: Duplex>(
        &self,
        alpn: &[&[u8]],
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let config = trust(&self.identity.cert).expect("it is a certificate");
        start_tls(&config, alpn, stream).await
    }

    /// Tells the server to shut down, and keeps the handle on it.
    pub(crate) fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Tells the server to shut down.
    pub(crate) fn stop(mut self) -> Stopping {
        self.begin_stop();
        Stopping { handle: self.handle, running: self.running, _folder: self._folder }
    }

    /// Drops the server while it runs.
    pub(crate) fn abort(self) {
        self.running.abort();
    }
}

/// A server in its shutdown.
pub(crate) struct Stopping {
    handle: ServerHandle,
    running: JoinHandle<io::Result<()>>,
    _folder: TempDir,
}

impl Stopping {
    /// Drops the server while it shuts down.
    pub(crate) fn abort(self) {
        self.running.abort();
    }

    /// Waits until the server has returned.
    pub(crate) async fn done(self) -> ServerHandle {
        soon(self.running).await.expect("it does not panic").expect("it can serve");
        self.handle
    }
}
