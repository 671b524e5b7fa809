//! Received messages, shared by the driver and the topics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use waddell_core::{Arrival, Inbox, InboxConfig, MessageIn, TopicId};

/// A [`waddell_core::Inbox`] that wakes the readers that wait for a message.
#[derive(Debug)]
pub(crate) struct SharedInbox {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    inbox: Inbox,
    waiting: Vec<Waiting>,
    next_reader: u64,
    closed: bool,
}

/// A reader that waits for a message; at most one entry for each reader.
#[derive(Debug)]
struct Waiting {
    topic: TopicId,
    reader: Reader,
    waker: Waker,
}

/// Number of a handle that receives messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader(u64);

impl SharedInbox {
    pub(crate) fn new(config: InboxConfig) -> Self {
        let inbox = Inbox::new(config);
        let inner = Inner { inbox, waiting: Vec::new(), next_reader: 0, closed: false };
        Self { inner: Mutex::new(inner) }
    }

    /// Opens a topic, if it is not open already, for one more reader.
    pub(crate) fn open(&self, topic: TopicId) -> Reader {
        let mut inner = self.lock();
        inner.inbox.open(topic);
        inner.next_reader += 1;
        Reader(inner.next_reader)
    }

    /// Removes a reader, which may be waiting.
    pub(crate) fn remove_reader(&self, reader: Reader) {
        self.lock().waiting.retain(|waiting| waiting.reader != reader);
    }

    /// Adds a received message and wakes the readers of its topic.
    pub(crate) fn push(&self, message: MessageIn) {
        let (topic, from) = (message.topic, message.from);
        let mut inner = self.lock();
        match inner.inbox.push(message) {
            Arrival::Queued => {
                let woken: Vec<_> =
                    inner.waiting.extract_if(.., |waiting| waiting.topic == topic).collect();
                drop(inner);
                for waiting in woken {
                    waiting.waker.wake();
                }
            }
            Arrival::Unclaimed => {}
            Arrival::Lost => tracing::debug!(%topic, %from, "topic is full, dropped a message"),
        }
    }

    /// Removes and returns the oldest message of a topic; `None` once the inbox is closed and the
    /// topic is empty.
    pub(crate) fn poll_pop(
        &self,
        topic: TopicId,
        reader: Reader,
        cx: &mut Context<'_>,
    ) -> Poll<Option<MessageIn>> {
        let mut inner = self.lock();
        if let Some(message) = inner.inbox.pop(topic) {
            return Poll::Ready(Some(message));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        match inner.waiting.iter_mut().find(|waiting| waiting.reader == reader) {
            Some(waiting) => waiting.waker.clone_from(cx.waker()),
            None => inner.waiting.push(Waiting { topic, reader, waker: cx.waker().clone() }),
        }
        Poll::Pending
    }

    /// Closes the inbox: no more messages will arrive. Queued ones can still be received.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let woken = std::mem::take(&mut inner.waiting);
        drop(inner);
        for waiting in woken {
            waiting.waker.wake();
        }
    }

    pub(crate) fn lost(&self, topic: TopicId) -> u64 {
        self.lock().inbox.lost(topic)
    }

    pub(crate) fn unclaimed_lost(&self) -> u64 {
        self.lock().inbox.unclaimed_lost()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No method panics in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
