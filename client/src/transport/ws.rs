//! The byte stream inside WebSocket binary messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The payloads of the binary messages, joined, as a stream of bytes.
///
/// Every write becomes a message of its own. Pings are answered while the stream is read.
pub(crate) struct WsStream<S> {
    socket: WebSocketStream<S>,
    /// What is left of the message last received.
    received: Bytes,
    /// No more messages will come.
    ended: bool,
}

/// Why there is no WebSocket.
pub(crate) enum HandshakeError {
    /// The server does not answer to the subprotocol that was offered, which it need not.
    NoSubprotocol,
    Failed(io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Asks for a WebSocket over a connected stream.
    pub(crate) async fn handshake(
        stream: S,
        uri: Uri,
        offer_subprotocol: bool,
    ) -> Result<Self, HandshakeError> {
        let mut request = ClientRequestBuilder::new(uri);
        if offer_subprotocol {
            request = request.with_sub_protocol(SUBPROTOCOL);
        }
        match client_async_with_config(request, stream, Some(config())).await {
            Ok((socket, _response)) => Ok(Self { socket, received: Bytes::new(), ended: false }),
            Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
                SubProtocolError::NoSubProtocol,
            ))) => Err(HandshakeError::NoSubprotocol),
            Err(Error::Http(response)) => Err(HandshakeError::Failed(io::Error::other(format!(
                "the server answers HTTP {} instead of a WebSocket; check the path",
                response.status()
            )))),
            Err(error) => Err(HandshakeError::Failed(into_io(error))),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(payload))) => self.received = payload,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    self.ended = true;
                    let text = "the server sent a text message, which no waddell server does";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.ended = true;
                    tracing::debug!(?frame, "the server closed the WebSocket");
                }
                Some(Err(Error::ConnectionClosed)) | None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(into_io(error)));
                }
            }
        }
        let len = self.received.len().min(buf.remaining());
        buf.put_slice(&self.received[..len]);
        self.received.advance(len);
        if self.received.is_empty() {
            // Do not keep the whole message alive for its end.
            self.received = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(into_io)?;
        let len = buf.len().min(MAX_PAYLOAD_OUT);
        let message = Message::Binary(Bytes::copy_from_slice(&buf[..len]));
        Pin::new(&mut self.socket).start_send(message).map_err(into_io)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(into_io)
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_PAYLOAD_OUT)
        .max_message_size(Some(MAX_MESSAGE_IN))
        .max_frame_size(Some(MAX_MESSAGE_IN))
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// What waddell's frames are called in the WebSocket handshake.
const SUBPROTOCOL: &str = "waddell";

/// tungstenite allocates this at once, and 128 KiB unless told otherwise.
const READ_BUFFER: usize = 8 << 10;

/// Longest message sent, in bytes: half of what a waddell server accepts.
const MAX_PAYLOAD_OUT: usize = 64 << 10;

/// Longest message accepted, in bytes: many times what a server sends at once, since what it
/// sends is bounded by the outbox it keeps for this client, 1 MiB by default.
const MAX_MESSAGE_IN: usize = 16 << 20;
