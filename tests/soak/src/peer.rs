//! One connection of any transport.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use waddell_core::{KEEP_ALIVE_FRAME, MessageIn, PREFIX_LEN, PeerId};

use crate::process::Process;

/// How a peer reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) encrypted: bool,
    pub(crate) websocket: bool,
    /// Over the one listener that serves all.
    auto: bool,
}

impl Via {
    pub(crate) const TCP: Self = Self { encrypted: false, websocket: false, auto: false };
    pub(crate) const TLS: Self = Self { encrypted: true, ..Self::TCP };
    pub(crate) const WS: Self = Self { websocket: true, ..Self::TCP };
    pub(crate) const WSS: Self = Self { websocket: true, ..Self::TLS };

    /// Every way there is.
    pub(crate) const ALL: [Self; 8] = [
        Self::TCP,
        Self::TLS,
        Self::WS,
        Self::WSS,
        Self { auto: true, ..Self::TCP },
        Self { auto: true, ..Self::TLS },
        Self { auto: true, ..Self::WS },
        Self { auto: true, ..Self::WSS },
    ];

    /// Returns the scheme of the listener.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self { auto: true, .. } => "auto",
            Self { encrypted: false, websocket: false, .. } => "tcp",
            Self { encrypted: true, websocket: false, .. } => "tls",
            Self { encrypted: false, websocket: true, .. } => "ws",
            Self { encrypted: true, websocket: true, .. } => "wss",
        }
    }
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) via: Via,
    /// With a small receive buffer, which is soon full.
    pub(crate) narrow: bool,
    /// From this of the machine's own addresses.
    pub(crate) from: IpAddr,
}

impl Dial {
    pub(crate) const fn new(via: Via) -> Self {
        Self { via, narrow: false, from: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) }
    }

    /// Connects, and does no more.
    pub(crate) async fn socket(self, server: &Process) -> io::Result<TcpStream> {
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

    /// Connects, and says all that is to be said before the frames.
    pub(crate) async fn peer(self, server: &Process) -> io::Result<Peer> {
        let connect = async {
            let socket = self.socket(server).await?;
            let mut stream = self.start_tls(server, socket).await?;
            if self.via.auto && !self.via.websocket {
                // Silence would do too, but has to be waited for.
                stream.write_all(KEEP_ALIVE_FRAME).await?;
                stream.flush().await?;
            }
            let wire = if self.via.websocket {
                let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
                let opened =
                    client_async_with_config("ws://localhost/ws", stream, Some(config)).await;
                Wire::WebSocket(Box::new(opened.map_err(io::Error::other)?.0))
            } else {
                Wire::Raw(stream)
            };
            Peer::greeted(wire).await
        };
        match timeout(CONNECT_TIMEOUT, connect).await {
            Ok(peer) => peer,
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn start_tls(self, server: &Process, socket: TcpStream) -> io::Result<Stream> {
        if !self.via.encrypted {
            return Ok(Box::new(socket));
        }
        let mut config = rustls::ClientConfig::clone(&server.tls);
        if self.via.websocket {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let name = ServerName::try_from("localhost").expect("it is a name");
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, socket).await?))
    }
}

/// Far longer than a connection takes to be made, even on a busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connected peer.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    wire: Wire,
    /// What has arrived and was not yet taken.
    arrived: BytesMut,
}

enum Wire {
    Raw(Stream),
    WebSocket(Box<WebSocketStream<Stream>>),
}

/// A connection inside which frames or WebSockets are spoken.
pub(crate) type Stream = Box<dyn Duplex>;

/// What can be read and written, and lies on a socket.
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

impl Peer {
    async fn greeted(wire: Wire) -> io::Result<Self> {
        let mut peer = Self { id: PeerId::NIL, wire, arrived: BytesMut::new() };
        let frame = peer.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let greeting = MessageIn::decode(&frame).map_err(io::Error::other)?;
        peer.id = greeting.from;
        Ok(peer)
    }

    /// Sends bytes of the stream of frames: at once, or as one WebSocket message.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match &mut self.wire {
            Wire::Raw(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
            Wire::WebSocket(websocket) => {
                websocket.send(Message::binary(bytes)).await.map_err(io::Error::other)
            }
        }
    }

    /// Sends bytes as they are, inside TLS if there is any, where a WebSocket frame is expected.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = match &mut self.wire {
            Wire::Raw(stream) => stream,
            Wire::WebSocket(websocket) => websocket.get_mut(),
        };
        stream.write_all(bytes).await?;
        stream.flush().await
    }

    /// Returns the payload of the next frame; `None` at the end of the connection. May be given up
    /// while it waits: nothing is lost.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(payload) = self.take_frame() {
                return Ok(Some(payload));
            }
            match &mut self.wire {
                Wire::Raw(stream) => {
                    self.arrived.reserve(2048);
                    if stream.read_buf(&mut self.arrived).await? == 0 {
                        return Ok(None);
                    }
                }
                Wire::WebSocket(websocket) => match websocket.next().await {
                    None | Some(Ok(Message::Close(_))) => return Ok(None),
                    Some(Ok(Message::Binary(bytes))) => {
                        self.arrived.extend_from_slice(&bytes);
                        if !ends_on_frame_boundary(&self.arrived) {
                            return Err(io::Error::new(
                                io::ErrorKind::InvalidData,
                                "a WebSocket message ends inside a frame",
                            ));
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!("a server sends no {other:?}"),
                        ));
                    }
                    Some(Err(error)) => return Err(io::Error::other(error)),
                },
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Raw(stream) => stream.shutdown().await,
            Wire::WebSocket(websocket) => {
                SinkExt::close(&mut **websocket).await.map_err(io::Error::other)
            }
        }
    }

    /// Breaks the connection off: the server is told by a reset.
    pub(crate) fn reset(self) -> io::Result<()> {
        SockRef::from(self.socket()).set_linger(Some(Duration::ZERO))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Raw(stream) => stream.socket(),
            Wire::WebSocket(websocket) => websocket.get_ref().socket(),
        }
    }

    fn take_frame(&mut self) -> Option<Bytes> {
        let len = usize::from(u16::from_le_bytes(*self.arrived.first_chunk()?));
        if self.arrived.len() < PREFIX_LEN + len {
            return None;
        }
        self.arrived.advance(PREFIX_LEN);
        Some(self.arrived.split_to(len).freeze())
    }
}

fn ends_on_frame_boundary(mut bytes: &[u8]) -> bool {
    while let Some(prefix) = bytes.first_chunk() {
        let len = PREFIX_LEN + usize::from(u16::from_le_bytes(*prefix));
        let Some(rest) = bytes.get(len..) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}
