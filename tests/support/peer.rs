//! A connected peer over a real socket, on any transport.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use waddell_core::{HEADER_LEN, KEEP_ALIVE_FRAME, MessageIn, PREFIX_LEN, PeerId, TopicId};

use crate::checks::split_frames;
use crate::transport::Via;

/// Shakes hands by TLS with a server called `localhost`.
///
/// # Errors
///
/// The handshake fails.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(
    config: &ClientConfig,
    alpn: &[&[u8]],
    stream: S,
) -> io::Result<TlsStream<S>> {
    let mut config = config.clone();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("localhost is a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A peer that has been greeted.
pub struct Peer<S> {
    /// Id of the peer.
    pub id: PeerId,
    wire: Wire<S>,
    /// Bytes of frames that have arrived and were not taken yet.
    arrived: BytesMut,
    close_code: Option<Option<u16>>,
}

enum Wire<S> {
    Raw(S),
    WebSocket(Box<WebSocketStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Makes a peer of a stream that is connected and, if `via` says so, encrypted.
    ///
    /// On an `auto` listener a peer without HTTP sends a keep-alive first: silence would do too,
    /// but takes time. Buffers are small, because there may be many peers.
    ///
    /// # Errors
    ///
    /// The connection fails, or the server sends something other than a greeting.
    pub async fn open(via: Via, stream: S) -> io::Result<Self> {
        let breaks_silence = via.is_auto() && !via.is_websocket();
        Self::open_saying(via, stream, if breaks_silence { KEEP_ALIVE_FRAME } else { b"" }).await
    }

    /// Does the same, with these frames as the first that the peer sends.
    ///
    /// # Errors
    ///
    /// The connection fails, or the server sends something other than a greeting.
    pub async fn open_saying(via: Via, stream: S, frames: &[u8]) -> io::Result<Self> {
        let mut peer = Self::open_ungreeted(via, stream, frames).await?;
        let payload = peer.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let greeting = MessageIn::decode(&payload).map_err(io::Error::other)?;
        if greeting.topic != TopicId::UNKNOWN || payload.len() != HEADER_LEN {
            return Err(invalid("the first frame is not a greeting"));
        }
        peer.id = greeting.from;
        Ok(peer)
    }

    /// Does the same, but does not wait for the greeting. The peer has the nil id.
    ///
    /// # Errors
    ///
    /// The connection fails.
    pub async fn open_ungreeted(via: Via, stream: S, frames: &[u8]) -> io::Result<Self> {
        let mut wire = if via.is_websocket() {
            let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
            let opened = client_async_with_config("ws://localhost/ws", stream, Some(config)).await;
            let (websocket, response) = opened.map_err(io::Error::other)?;
            if response.headers().contains_key("sec-websocket-protocol") {
                return Err(invalid("the server chose a subprotocol, but none was offered"));
            }
            Wire::WebSocket(Box::new(websocket))
        } else {
            Wire::Raw(stream)
        };
        if !frames.is_empty() {
            wire.send(frames.to_vec()).await?;
        }
        let arrived = BytesMut::new();
        Ok(Self { id: PeerId::NIL, wire, arrived, close_code: None })
    }

    /// Sends bytes of the stream of frames: as they are, or as one WebSocket message.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.wire.send(bytes).await
    }

    /// Sends bytes as they are, also where a WebSocket frame is expected.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = match &mut self.wire {
            Wire::Raw(stream) => stream,
            Wire::WebSocket(websocket) => websocket.get_mut(),
        };
        stream.write_all(bytes).await?;
        stream.flush().await
    }

    /// Returns the payload of the next frame; `None` if the connection ended in order. May be
    /// dropped while it waits: nothing is lost.
    ///
    /// # Errors
    ///
    /// The connection is broken (`UnexpectedEof` inside a frame), or the server breaks the protocol
    /// (`InvalidData`).
    pub async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(payload) = self.take_frame() {
                return Ok(Some(payload));
            }
            match &mut self.wire {
                Wire::Raw(stream) => {
                    self.arrived.reserve(2048);
                    if stream.read_buf(&mut self.arrived).await? == 0 {
                        let whole = self.arrived.is_empty();
                        return if whole {
                            Ok(None)
                        } else {
                            Err(io::ErrorKind::UnexpectedEof.into())
                        };
                    }
                }
                Wire::WebSocket(websocket) => match websocket.next().await {
                    None => return Ok(None),
                    Some(Ok(Message::Binary(bytes))) => {
                        let (frames, rest) = split_frames(&bytes);
                        if frames.is_empty() || !rest.is_empty() {
                            return Err(invalid("a WebSocket message does not hold whole frames"));
                        }
                        self.arrived.extend_from_slice(&bytes);
                    }
                    Some(Ok(Message::Close(close))) => {
                        self.close_code = Some(close.map(|close| close.code.into()));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => return Err(invalid(&format!("a server sent {other:?}"))),
                    Some(Err(error)) => return Err(io::Error::other(error)),
                },
            }
        }
    }

    /// Ends the sending side, by TCP, TLS or a close frame.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub async fn finish(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Raw(stream) => stream.shutdown().await,
            Wire::WebSocket(websocket) => {
                SinkExt::close(&mut **websocket).await.map_err(io::Error::other)
            }
        }
    }

    /// Closes a WebSocket with that code; other connections as [`finish`](Self::finish) does.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub async fn finish_with(&mut self, code: u16) -> io::Result<()> {
        match &mut self.wire {
            Wire::Raw(stream) => stream.shutdown().await,
            Wire::WebSocket(websocket) => {
                let frame = CloseFrame { code: code.into(), reason: "".into() };
                let websocket = &mut **websocket;
                websocket.send(Message::Close(Some(frame))).await.map_err(io::Error::other)
            }
        }
    }

    /// Returns the code of the close frame that has arrived; `Some(None)` if it had none.
    pub fn close_code(&self) -> Option<Option<u16>> {
        self.close_code
    }

    /// Returns the stream that the peer was made of.
    pub fn stream(&self) -> &S {
        match &self.wire {
            Wire::Raw(stream) => stream,
            Wire::WebSocket(websocket) => websocket.get_ref(),
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

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Raw(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
            Self::WebSocket(websocket) => {
                websocket.send(Message::binary(bytes)).await.map_err(io::Error::other)
            }
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
