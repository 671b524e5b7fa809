//! One topic: messages in, messages out.

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
use waddell_core::{BodyTooLong, MAX_BODY_LEN, MessageIn, MessageOut, PeerId, TopicId};

use crate::error::SendError;
use crate::handle::Handle;
use crate::inbox::Reader;
use crate::queue::LARGEST_COST;
use crate::state::Closed;

/// The messages of one topic: a [`Stream`] of those that arrive, a [`Sink`] for those to send.
///
/// There is one queue for each topic of a client: however many handles there are, cloned or asked
/// for again, each message goes to one of them. A handle keeps its client open.
///
/// The stream goes on across reconnects. It ends when the client is closed and the queue is empty.
///
/// The sink takes pairs of recipient and body, and makes its caller wait while more is queued than
/// [`ClientConfig::outgoing_capacity`](crate::ClientConfig::outgoing_capacity). It has nothing to
/// flush, since messages leave as soon as the connection takes them; closing it closes nothing.
pub struct Topic {
    id: TopicId,
    handle: Arc<Handle>,
    reader: Reader,
    /// Room for the sink.
    room: PollSemaphore,
    /// Room for one of the largest messages: from a successful `poll_ready` to `start_send`.
    reserved: Option<OwnedSemaphorePermit>,
}

impl Topic {
    pub(crate) fn new(id: TopicId, handle: Arc<Handle>) -> Self {
        let reader = handle.inbox.open(id);
        let room = PollSemaphore::new(handle.queue.room());
        Self { id, handle, reader, room, reserved: None }
    }

    /// Returns which topic this is.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Receives the next message.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the client is closed and every message that had arrived was received.
    pub async fn recv(&mut self) -> Result<MessageIn, Closed> {
        let message = poll_fn(|cx| self.handle.inbox.poll_pop(self.id, self.reader, cx)).await;
        message.ok_or_else(|| self.handle.why_closed())
    }

    /// Sends a message, once there is room for it.
    ///
    /// `Ok` says that the message was accepted, not that it has arrived: it is lost if the
    /// connection breaks while it is being written, or if nobody has the id `to`.
    ///
    /// # Errors
    ///
    /// [`SendError`] says why nothing was sent.
    pub async fn send_to(&self, to: PeerId, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.send(MessageOut::new(to, self.id, body)).await
    }

    /// Sends a message whose body is the pieces of `parts`, joined; otherwise like
    /// [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// [`SendError`] says why nothing was sent.
    pub async fn send_parts(&self, to: PeerId, parts: &[&[u8]]) -> Result<(), SendError> {
        self.send(MessageOut::from_parts(to, self.id, parts.iter().copied())).await
    }

    /// Returns how many messages were dropped because nobody received them in time, and more
    /// waited than [`InboxConfig::topic_capacity`](crate::InboxConfig::topic_capacity).
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
        self.handle.inbox.leave(self.reader);
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
    /// If no successful `poll_ready` came before, as the contract of [`Sink`] demands.
    fn start_send(mut self: Pin<&mut Self>, (to, body): (PeerId, Bytes)) -> Result<(), SendError> {
        let reserved = self.reserved.take().expect("start_send comes after a ready poll_ready");
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
