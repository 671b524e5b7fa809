//! A peer on any transport: plain sockets, rustls, tungstenite.

use std::collections::VecDeque;
use std::io;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use waddell_core::{KEEP_ALIVE_FRAME, MessageIn, MessageOut, PeerId, TopicId};
use waddell_tests::checks::split_frames;

use super::server::{Stream, TestServer, Via};
use super::soon;

/// A connected peer.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

/// What a peer sends through.
pub(crate) enum Sender {
    Raw(WriteHalf<Stream>),
    WebSocket(Box<SplitSink<WebSocketStream<Stream>, Message>>),
}

/// What a peer hears.
pub(crate) struct Receiver {
    source: Source,
    /// Whole frames, prefixes included, that have not been taken yet.
    frames: VecDeque<Vec<u8>>,
    /// The code of the close frame that has arrived; `Some(None)` if it had none.
    pub(crate) close_code: Option<Option<u16>>,
}

enum Source {
    Raw { half: ReadHalf<Stream>, partial: Vec<u8> },
    WebSocket(Box<SplitStream<WebSocketStream<Stream>>>),
}

impl Peer {
    /// Connects, and takes the greeting. On an `auto` listener a peer without HTTP says a
    /// keep-alive first, so as not to depend on silence.
    pub(crate) async fn connect(server: &TestServer, via: Via) -> Self {
        Self::over(server.dial(via).await, via).await
    }

    /// Makes a peer of a connection that is ready for it.
    pub(crate) async fn over(mut stream: Stream, via: Via) -> Self {
        if matches!(via, Via::AutoTcp | Via::AutoTls) {
            stream.write_all(KEEP_ALIVE_FRAME).await.expect("it is connected");
            stream.flush().await.expect("it is connected");
        }
        let (sender, source) = if via.is_websocket() {
            let websocket = soon(open_websocket(stream)).await.expect("it is opened");
            let (sink, source) = websocket.split();
            (Sender::WebSocket(Box::new(sink)), Source::WebSocket(Box::new(source)))
        } else {
            let (half, sink) = tokio::io::split(stream);
            (Sender::Raw(sink), Source::Raw { half, partial: Vec::new() })
        };
        let mut receiver = Receiver { source, frames: VecDeque::new(), close_code: None };
        let greeting = receiver.receive().await;
        assert_eq!(greeting.topic, TopicId::UNKNOWN, "the greeting's topic");
        assert_eq!(greeting.body, "", "the greeting's body");
        Self { id: greeting.from, sender, receiver }
    }

    pub(crate) async fn send(&mut self, to: PeerId, topic: u16, body: &[u8]) {
        self.sender.send(to, topic, body).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon(self.sender.write(bytes)).await.expect("it is connected");
    }

    pub(crate) async fn receive(&mut self) -> MessageIn {
        self.receiver.receive().await
    }

    /// Sends itself a message and waits for it: what was sent before has been taken in by then,
    /// and nothing else has come.
    pub(crate) async fn echo(&mut self) {
        self.send(self.id, 0xeced, b"to myself").await;
        let echo = self.receive().await;
        assert_eq!((echo.from, echo.topic.0, &echo.body[..]), (self.id, 0xeced, &b"to myself"[..]));
    }

    /// Says that nothing more comes, and goes on listening.
    pub(crate) async fn finish(&mut self) {
        soon(self.sender.finish()).await.expect("it is connected");
    }
}

impl Sender {
    pub(crate) async fn send(&mut self, to: PeerId, topic: u16, body: &[u8]) {
        soon(self.write(&message(to, topic, body))).await.expect("it is connected");
    }

    /// Writes bytes of the stream: at once, or as one WebSocket message.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Raw(half) => {
                half.write_all(bytes).await?;
                half.flush().await
            }
            Self::WebSocket(sink) => {
                sink.send(Message::binary(bytes.to_vec())).await.map_err(io::Error::other)
            }
        }
    }

    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Raw(half) => half.shutdown().await,
            Self::WebSocket(sink) => sink.close().await.map_err(io::Error::other),
        }
    }
}

impl Receiver {
    /// The next message.
    pub(crate) async fn receive(&mut self) -> MessageIn {
        let frame = soon(self.next()).await.expect("the connection works");
        decode(&frame.expect("the connection goes on"))
    }

    /// Takes everything up to the orderly end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<MessageIn> {
        let mut rest = Vec::new();
        while let Some(frame) = soon(self.next()).await.expect("it ends in order") {
            rest.push(decode(&frame));
        }
        rest
    }

    /// The next whole frame, prefix included; `None` once the server has closed in order.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while self.frames.is_empty() {
            match &mut self.source {
                Source::Raw { half, partial } => {
                    if half.read_buf(partial).await? == 0 {
                        assert_eq!(partial.len(), 0, "the stream ends inside a frame");
                        return Ok(None);
                    }
                    let (frames, rest) = split_frames(partial);
                    self.frames.extend(frames.into_iter().map(<[u8]>::to_vec));
                    *partial = rest.to_vec();
                }
                Source::WebSocket(source) => match source.next().await {
                    None => return Ok(None),
                    Some(Ok(Message::Binary(bytes))) => {
                        let (frames, rest) = split_frames(&bytes);
                        assert_eq!(rest.len(), 0, "a message ends on a frame boundary");
                        assert_ne!(frames.len(), 0, "a message is not empty");
                        self.frames.extend(frames.into_iter().map(<[u8]>::to_vec));
                    }
                    Some(Ok(Message::Close(close))) => {
                        self.close_code = Some(close.map(|close| close.code.into()));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => panic!("the server sends no {other:?}"),
                    Some(Err(error)) => return Err(io::Error::other(error)),
                },
            }
        }
        Ok(self.frames.pop_front())
    }
}

/// Opens a WebSocket as a client whose buffers are small: there may be many.
pub(crate) async fn open_websocket(
    stream: Stream,
) -> Result<WebSocketStream<Stream>, tungstenite::Error> {
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let (websocket, response) =
        client_async_with_config("ws://localhost/ws", stream, Some(config)).await?;
    assert_eq!(response.headers().get("sec-websocket-protocol"), None, "none was offered");
    Ok(websocket)
}

/// The frame that carries a message.
pub(crate) fn message(to: PeerId, topic: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let message = MessageOut::new(to, TopicId(topic), body.to_vec());
    message.encode(&mut frame).expect("the body fits");
    frame
}

/// The frame that carries a payload.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("it fits");
    [&len.to_le_bytes()[..], payload].concat()
}

/// The message in a frame; no server sends any other.
pub(crate) fn decode(frame: &[u8]) -> MessageIn {
    MessageIn::decode(&frame[2..]).expect("a server sends nothing without a header")
}
