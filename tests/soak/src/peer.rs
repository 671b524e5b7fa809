//! Peers of the soak test: how they connect, and the sockets under them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use waddell_tests::peer::start_tls;
use waddell_tests::transport::Via;

use crate::server::Server;

/// A connected peer.
pub(crate) type Peer = waddell_tests::peer::Peer<Stream>;

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) via: Via,
    /// Whether the receive buffer is small, so that it fills soon.
    pub(crate) narrow: bool,
    /// Local address.
    pub(crate) from: IpAddr,
}

impl Dial {
    pub(crate) const fn new(via: Via) -> Self {
        Self { via, narrow: false, from: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }

    /// Connects by TCP only.
    pub(crate) async fn socket(self, server: &Server) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.narrow {
            socket.set_recv_buffer_size(4096)?;
        }
        if !self.from.is_loopback() || self.from != Self::new(self.via).from {
            socket.bind(SocketAddr::new(self.from, 0))?;
        }
        let stream = socket.connect(server.address(self.via.scheme())).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Connects and takes the greeting.
    pub(crate) async fn peer(self, server: &Server) -> io::Result<Peer> {
        self.peer_with(server, None).await
    }

    /// Does the same, with these frames as the first that the peer sends.
    pub(crate) async fn peer_saying(self, server: &Server, frames: &[u8]) -> io::Result<Peer> {
        self.peer_with(server, Some(frames)).await
    }

    async fn peer_with(self, server: &Server, frames: Option<&[u8]>) -> io::Result<Peer> {
        let connect = async {
            let socket = self.socket(server).await?;
            let stream: Stream = if self.via.is_encrypted() {
                Box::new(start_tls(&server.tls, self.via.alpn(), socket).await?)
            } else {
                Box::new(socket)
            };
            match frames {
                Some(frames) => Peer::open_saying(self.via, stream, frames).await,
                None => Peer::open(self.via, stream).await,
            }
        };
        match timeout(CONNECT_TIMEOUT, connect).await {
            Ok(peer) => peer,
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Far longer than connecting takes, even on a busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection for frames or a WebSocket.
pub(crate) type Stream = Box<dyn Duplex>;

/// A two-way stream over a socket.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Duplex for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Duplex for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Closes the connection by a reset.
pub(crate) fn reset(peer: Peer) -> io::Result<()> {
    SockRef::from(peer.stream().socket()).set_linger(Some(Duration::ZERO))
}
