//! State that all handles of one client share.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, watch};
use waddell_core::Extension;

use crate::error::CloseError;
use crate::inbox::SharedInbox;
use crate::notices::NoticeSender;
use crate::queue::QueueSender;
use crate::state::{Closed, State};

/// State that all handles of one client share. Dropping it closes the client.
pub(crate) struct Handle {
    pub(crate) queue: QueueSender,
    pub(crate) inbox: Arc<SharedInbox>,
    pub(crate) notices: Arc<NoticeSender>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) extension: watch::Receiver<Option<Extension>>,
    pub(crate) close: Arc<Notify>,
    /// How closing the client ended. Not set if its task ended early.
    pub(crate) closed: Arc<OnceLock<Result<(), CloseError>>>,
}

impl Handle {
    /// Returns why the client is closed.
    pub(crate) fn why_closed(&self) -> Closed {
        match &*self.state.borrow() {
            State::Closed { reason } => reason.clone(),
            // The queue closes a moment before the state changes.
            State::Connecting | State::Ready { .. } | State::Waiting { .. } => {
                Closed::ByApplication
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close.notify_one();
    }
}
