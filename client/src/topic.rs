//! Handles of a topic, which receive and send its messages.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::PollSemaphore;
use waddell_core::{BodyTooLong, Delivery, MAX_BODY_LEN, MessageIn, MessageOut, PeerId, TopicId};

use crate::error::{CheckedSendError, SendError};
use crate::handle::Handle;
use crate::inbox::Reader;
use crate::queue::LARGEST_COST;
use crate::state::Closed;

/// A handle of one topic: a [`Stream`] of received messages and a [`Sink`] of messages to send.
///
/// All handles of a topic share one queue: each message goes to one of them. A handle keeps its
/// client open.
///
/// The stream continues across reconnects. It ends when the client is closed and the queue is
/// empty.
///
/// The sink takes pairs of recipient and body. Its caller waits while the queued bytes are at
/// [`ClientConfig::outgoing_capacity`](crate::ClientConfig::outgoing_capacity). Flushing does
/// nothing, because messages leave as soon as the connection takes them. Closing it closes nothing.
pub struct Topic {
    id: TopicId,
    handle: Arc<Handle>,
    reader: Reader,
    /// The queue's free bytes, for the sink.
    room: PollSemaphore,
    /// Room for one of the largest messages, from a successful `poll_ready` to `start_send`.
    reserved: Option<OwnedSemaphorePermit>,
}

impl Topic {
    pub(crate) fn new(id: TopicId, handle: Arc<Handle>) -> Self {
        let reader = handle.inbox.open(id);
        let room = PollSemaphore::new(handle.queue.room());
        Self { id, handle, reader, room, reserved: None }
    }

    /// Returns the topic's number.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Receives the next message.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the client is closed and every queued message was received.
    pub async fn recv(&mut self) -> Result<MessageIn, Closed> {
        let message = poll_fn(|cx| self.handle.inbox.poll_pop(self.id, self.reader, cx)).await;
        message.ok_or_else(|| self.handle.why_closed())
    }

    /// Sends a message as soon as the queue has room for it.
    ///
    /// `Ok` means that the message was accepted, not that it has arrived. It is lost if the
    /// connection breaks while it is being written, or if no connected peer has the id `to`;
    /// [`send_checked`](Self::send_checked) tells, and so does
    /// [`Client::notices`](crate::Client::notices).
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is closed or the body is too long; nothing is sent then.
    pub async fn send_to(&self, to: PeerId, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.send(MessageOut::new(to, self.id, body)).await
    }

    /// Sends a message whose body is `parts` joined; otherwise like [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is closed or the body is too long; nothing is sent then.
    pub async fn send_parts(&self, to: PeerId, parts: &[&[u8]]) -> Result<(), SendError> {
        self.send(MessageOut::from_parts(to, self.id, parts.iter().copied())).await
    }

    /// Sends a message, and waits until it is known what became of it. That takes a round trip to
    /// the server. Many calls at once share their questions, so they take little more.
    ///
    /// `Ok` means that the server has put the message into the recipient's outbox
    /// ([`Delivery::Forwarded`]), or, on a server that gives no verdicts, that it has handled the
    /// message ([`Delivery::Sent`]). Only an answer of the recipient proves that the message has
    /// arrived.
    ///
    /// Dropping the future stops the waiting. A message that is still queued then is not sent. At
    /// most 16,384 messages of a client wait for their outcome; further calls wait for a place.
    ///
    /// # Errors
    ///
    /// [`CheckedSendError`] if the server dropped the message, if the connection was lost, or as
    /// for [`send_to`](Self::send_to). Its text says what to do.
    pub async fn send_checked(
        &self,
        to: PeerId,
        body: impl Into<Bytes>,
    ) -> Result<Delivery, CheckedSendError> {
        let message = MessageOut::new(to, self.id, body);
        check_len(&message)?;
        let closed = || CheckedSendError::Closed(self.handle.why_closed());
        let outcome = self.handle.queue.send_checked(message).await.map_err(|_| closed())?;
        Ok(outcome.await.map_err(|_dropped| closed())??)
    }

    /// Returns how many messages were dropped because the topic was full. Its limit is
    /// [`InboxConfig::topic_capacity`](crate::InboxConfig::topic_capacity).
    pub fn lost(&self) -> u64 {
        self.handle.inbox.lost(self.id)
    }

    async fn send(&self, message: MessageOut) -> Result<(), SendError> {
        check_len(&message)?;
        self.handle.queue.send(message).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> SendError {
        SendError::Closed(self.handle.why_closed())
    }
}

impl Clone for Topic {
    /// Makes one more handle of the same queue.
    fn clone(&self) -> Self {
        Self::new(self.id, Arc::clone(&self.handle))
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.handle.inbox.remove_reader(self.reader);
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Stream for Topic {
    type Item = MessageIn;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<MessageIn>> {
        self.handle.inbox.poll_pop(self.id, self.reader, cx)
    }
}

impl Sink<(PeerId, Bytes)> for Topic {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.reserved.is_none() {
            match ready!(self.room.poll_acquire_many(cx, LARGEST_COST)) {
                Some(room) => self.reserved = Some(room),
                None => return Poll::Ready(Err(self.closed())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// If `poll_ready` did not succeed before, which the contract of [`Sink`] demands.
    fn start_send(mut self: Pin<&mut Self>, (to, body): (PeerId, Bytes)) -> Result<(), SendError> {
        let reserved = self.reserved.take().expect("callers await poll_ready before start_send");
        let message = MessageOut::new(to, self.id, body);
        check_len(&message)?;
        self.handle.queue.send_reserved(message, reserved).map_err(|_| self.closed())
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.reserved = None;
        Poll::Ready(Ok(()))
    }
}

fn check_len(message: &MessageOut) -> Result<(), BodyTooLong> {
    match message.body.len() {
        len if len > MAX_BODY_LEN => Err(BodyTooLong { len }),
        _fits => Ok(()),
    }
}
