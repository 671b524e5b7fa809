//! Notices: what the server tells about messages and peers without being asked each time.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use waddell_core::{Dropped, PeerNotice, Restarting};

/// Something that the server tells without being asked each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The server dropped messages of this client, checked or not.
    Undelivered(Dropped),
    /// The state of a peer: one that is watched, or one to which this client has written. Its
    /// `lost` counts the last messages to it that the server had accepted and could not pass on.
    Peer(PeerNotice),
    /// The server will stop. The client dials again when the server says so.
    Restarting(Restarting),
    /// So many notices were dropped, because this stream was not read fast enough.
    Missed(u64),
}

/// The notices of a client from some time on. See [`Client::notices`](crate::Client::notices).
pub struct Notices(BoxStream<'static, Notice>);

impl Stream for Notices {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

/// Sends notices to all streams of a client. A client without streams needs no memory for them.
#[derive(Debug)]
pub(crate) struct NoticeSender(Mutex<Streams>);

#[derive(Debug)]
enum Streams {
    None,
    Open(broadcast::Sender<Notice>),
    Closed,
}

impl NoticeSender {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Streams::None))
    }

    /// Makes one more stream. It ends when the client is closed.
    pub(crate) fn subscribe(&self) -> Notices {
        let mut streams = self.lock();
        let receiver = match &*streams {
            Streams::Open(sender) => sender.subscribe(),
            Streams::None => {
                let (sender, receiver) = broadcast::channel(CAPACITY);
                *streams = Streams::Open(sender);
                receiver
            }
            Streams::Closed => broadcast::channel(1).1,
        };
        let next = async |mut receiver: broadcast::Receiver<Notice>| match receiver.recv().await {
            Ok(notice) => Some((notice, receiver)),
            Err(RecvError::Lagged(missed)) => Some((Notice::Missed(missed), receiver)),
            Err(RecvError::Closed) => None,
        };
        Notices(unfold(receiver, next).boxed())
    }

    pub(crate) fn send(&self, notice: Notice) {
        if let Streams::Open(sender) = &*self.lock() {
            // Fails if every stream was dropped.
            let _ = sender.send(notice);
        }
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        *self.lock() = Streams::Closed;
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // No method panics in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notices that one stream keeps.
const CAPACITY: usize = 256;
