//! Byte stream inside WebSocket binary messages.

mod handshake;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_sink::Sink;
use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::transport::ByteStream;

use handshake::Upgraded;

/// A WebSocket as a stream of bytes: the payloads of its binary messages, joined.
///
/// Every write becomes a message of its own. WebSocket pings are answered while the stream is
/// read.
pub(crate) struct WsStream<S> {
    socket: WebSocketStream<S>,
    /// Unread rest of the last received message.
    received: Bytes,
    /// Whether the last message has arrived.
    ended: bool,
    /// Whether this side has sent its close frame.
    closing: bool,
}

impl<S: ByteStream> WsStream<S> {
    /// Requests a WebSocket over a connected stream, with the body of HELLO if there is one.
    /// Returns also whether the server has read HELLO.
    pub(crate) async fn handshake(
        stream: S,
        uri: &Uri,
        hello: Option<&[u8]>,
    ) -> io::Result<(Self, bool)> {
        let Upgraded { stream, early, took_hello } = handshake::request(stream, uri, hello).await?;
        let (early, config) = (early.into(), Some(config()));
        let socket =
            WebSocketStream::from_partially_read(stream, early, Role::Client, config).await;
        let stream = Self { socket, received: Bytes::new(), ended: false, closing: false };
        Ok((stream, took_hello))
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
                    let text = "the server sent a text message; is it a waddell server?";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.ended = true;
                    let closed = WebSocketClosed::new(frame);
                    // That is also how a server answers this side's close frame.
                    if !(self.closing && matches!(closed.code, None | Some(NORMAL))) {
                        let kind = io::ErrorKind::ConnectionAborted;
                        return Poll::Ready(Err(io::Error::new(kind, closed)));
                    }
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
            // Free the message's memory.
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
        self.closing = true;
        Pin::new(&mut self.socket).poll_close(cx).map_err(into_io)
    }
}

/// The server ended the WebSocket with a close frame.
#[derive(Debug)]
pub(crate) struct WebSocketClosed {
    /// `None`: the frame has no code.
    pub(crate) code: Option<u16>,
    /// At most 123 bytes; without control characters. Empty if the frame has none.
    pub(crate) reason: String,
}

impl WebSocketClosed {
    fn new(frame: Option<CloseFrame>) -> Self {
        let reason = frame.as_ref().map_or("", |frame| frame.reason.as_str());
        let reason = reason.chars().filter(|character| !character.is_control()).collect();
        Self { code: frame.map(|frame| frame.code.into()), reason }
    }
}

impl fmt::Display for WebSocketClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server closed the WebSocket")?;
        if let Some(code) = self.code {
            write!(f, " with code {code}")?;
        }
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

impl std::error::Error for WebSocketClosed {}

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

/// Code of an orderly close.
const NORMAL: u16 = 1000;

/// tungstenite allocates this buffer at once; its default is 128 KiB.
const READ_BUFFER: usize = 8 << 10;

/// Longest message sent, in bytes: half of a waddell server's limit.
const MAX_PAYLOAD_OUT: usize = 64 << 10;

/// Longest message accepted, in bytes. A server sends much less at once: at most the outbox of this
/// client, 1 MiB by default.
const MAX_MESSAGE_IN: usize = 16 << 20;
