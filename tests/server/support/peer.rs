//! A peer of the server under test. What fails, fails the test.

use std::io;

use waddell_core::{MessageIn, MessageOut, PeerId, TopicId};
use waddell_tests::peer;
use waddell_tests::transport::Via;

use super::server::{Stream, TestServer};
use super::soon;

/// A connected peer.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    inner: peer::Peer<Stream>,
}

impl Peer {
    /// Connects, and takes the greeting.
    pub(crate) async fn connect(server: &TestServer, via: Via) -> Self {
        Self::over(server.dial(via).await, via).await
    }

    /// Makes a peer of a connection that is ready for it.
    pub(crate) async fn over(stream: Stream, via: Via) -> Self {
        let inner = soon(peer::Peer::open(via, stream)).await.expect("the peer is greeted");
        Self { id: inner.id, inner }
    }

    /// Does the same, with these frames as the first that the peer sends.
    pub(crate) async fn over_saying(stream: Stream, via: Via, frames: &[u8]) -> Self {
        let inner = soon(peer::Peer::open_saying(via, stream, frames)).await;
        let inner = inner.expect("the peer is greeted");
        Self { id: inner.id, inner }
    }

    pub(crate) async fn send(&mut self, to: PeerId, topic: u16, body: &[u8]) {
        self.send_bytes(&message(to, topic, body)).await;
    }

    /// Sends bytes of the stream of frames: as they are, or as one WebSocket message.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon(self.try_send(bytes)).await.expect("it is connected");
    }

    /// Sends bytes as one WebSocket message and a close frame, in one write.
    pub(crate) async fn send_and_close(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).expect("it fits").to_be_bytes();
        let head: &[u8] = &[0x82, 0x80 | 126, len[0], len[1], 0, 0, 0, 0];
        let close: &[u8] = &[0x88, 0x80, 0, 0, 0, 0];
        let stream = [head, bytes, close].concat();
        soon(self.inner.send_raw(&stream)).await.expect("it is connected");
    }

    /// Does the same to a server that may close the connection meanwhile.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.send(bytes.to_vec()).await
    }

    /// Returns the next message.
    pub(crate) async fn receive(&mut self) -> MessageIn {
        let message = soon(self.try_receive()).await.expect("the connection works");
        message.expect("the connection goes on")
    }

    /// Returns the next message; `None` once the server has closed the connection in order.
    pub(crate) async fn try_receive(&mut self) -> io::Result<Option<MessageIn>> {
        let payload = self.inner.receive().await?;
        Ok(payload.map(|payload| MessageIn::decode(&payload).expect("servers send headers")))
    }

    /// Returns every message up to the orderly end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<MessageIn> {
        let mut rest = Vec::new();
        while let Some(message) = soon(self.try_receive()).await.expect("it ends in order") {
            rest.push(message);
        }
        rest
    }

    /// Returns the code of the close frame that has arrived; `Some(None)` if it had none.
    pub(crate) fn close_code(&self) -> Option<Option<u16>> {
        self.inner.close_code()
    }

    /// Sends itself a message and waits for it. By then the server has read all that was sent
    /// before, and nothing else has arrived.
    pub(crate) async fn echo(&mut self) {
        self.send(self.id, 0xeced, b"to myself").await;
        let echo = self.receive().await;
        assert_eq!((echo.from, echo.topic.0, &echo.body[..]), (self.id, 0xeced, &b"to myself"[..]));
    }

    /// Closes a WebSocket with that code.
    pub(crate) async fn finish_with(&mut self, code: u16) {
        soon(self.inner.finish_with(code)).await.expect("it is connected");
    }

    /// Ends the sending side, and goes on listening.
    pub(crate) async fn finish(&mut self) {
        soon(self.inner.finish()).await.expect("it is connected");
    }
}

/// Returns the frame that carries a message.
pub(crate) fn message(to: PeerId, topic: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let message = MessageOut::new(to, TopicId(topic), body.to_vec());
    message.encode(&mut frame).expect("the body fits");
    frame
}

/// Returns the frame that carries a payload.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("it fits");
    [&len.to_le_bytes()[..], payload].concat()
}
