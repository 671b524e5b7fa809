//! The handle of a client.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use waddell_core::{PeerId, TopicId};

use crate::config::ClientConfig;
use crate::driver::{Driver, Shared};
use crate::error::{ConnectError, NotSent};
use crate::handle::Handle;
use crate::inbox::SharedInbox;
use crate::queue::queue;
use crate::state::{Closed, State};
use crate::topic::Topic;

/// A client of one server: cheap to clone, and all clones are the same client.
///
/// A task does the work; it ends when the client is closed, or when the last `Client` and
/// [`Topic`] of it is dropped. What was sent before still goes out, as long as the tokio runtime
/// runs: [`close`](Self::close) waits for that, dropping does not.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Connects to a server: to a `tcp://`, `tls://`, `ws://` or `wss://` address, or as a
    /// [`ClientConfig`] says. Ready when the server has greeted for the first time.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the address or the configuration is wrong, or once one more dial has
    /// failed than [`ClientConfig::reconnect_attempts`] allows. By default that is after eleven
    /// dials and some seven seconds.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime with time and, unless the caller dials, I/O enabled.
    pub async fn connect<C>(config: C) -> Result<Self, ConnectError>
    where
        C: TryInto<ClientConfig>,
        C::Error: Into<ConnectError>,
    {
        let config = config.try_into().map_err(Into::into)?;
        let core_config = config.core();
        let inbox_config = config.inbox;
        let (queue, queue_receiver) = queue(config.outgoing_capacity);
        let on_id = config.on_id.clone();
        let dialer = Arc::new(config.into_dialer()?);

        let inbox = Arc::new(SharedInbox::new(inbox_config));
        let (state_sender, state) = watch::channel(State::Connecting);
        let close = Arc::new(Notify::new());
        let shared = Shared {
            queue: queue_receiver,
            inbox: Arc::clone(&inbox),
            state: state_sender,
            close: Arc::clone(&close),
            on_id,
        };
        let client = Self { handle: Arc::new(Handle { queue, inbox, state, close }) };
        let server = dialer.to_string();
        tokio::spawn(Driver::new(core_config, dialer, shared).run());

        let mut state = client.watch();
        let settled = state.wait_for(|state| match state {
            State::Ready { .. } | State::Closed { .. } => true,
            State::Connecting | State::Waiting { .. } => false,
        });
        match settled.await.as_deref() {
            Ok(State::Closed { reason }) => {
                Err(ConnectError::Failed { server, reason: reason.clone() })
            }
            Ok(State::Ready { .. } | State::Connecting | State::Waiting { .. }) => Ok(client),
            Err(_) => Err(ConnectError::Failed { server, reason: Closed::TaskGone }),
        }
    }

    /// Returns the id by which others reach this client; `None` while there is no connection.
    pub fn id(&self) -> Option<PeerId> {
        match *self.handle.state.borrow() {
            State::Ready { id } => Some(id),
            State::Connecting | State::Waiting { .. } | State::Closed { .. } => None,
        }
    }

    /// Returns where in its life the client is.
    pub fn state(&self) -> State {
        self.handle.state.borrow().clone()
    }

    /// Returns a receiver that is told of every change of state, new ids among them. It skips
    /// states that have passed before it looks; [`ClientConfig::on_id`] sees every id.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.handle.state.clone()
    }

    /// Opens a topic, or returns another handle of it. Messages that have arrived for it before
    /// are kept, up to [`InboxConfig::unclaimed_capacity`](crate::InboxConfig::unclaimed_capacity).
    ///
    /// From here on, messages wait on this topic until somebody receives them or it is full.
    pub fn topic(&self, topic: TopicId) -> Topic {
        Topic::new(topic, Arc::clone(&self.handle))
    }

    /// Returns how many messages were dropped that came for topics that nobody had opened.
    pub fn unclaimed_lost(&self) -> u64 {
        self.handle.inbox.unclaimed_lost()
    }

    /// Sends a keep-alive, which nobody answers: it keeps the path through NATs and proxies open.
    /// [`ClientConfig::keep_alive_interval`] does so regularly.
    ///
    /// # Errors
    ///
    /// [`NotSent`] if there is no connection, or if the client is closed.
    pub fn send_keep_alive(&self) -> Result<(), NotSent> {
        match *self.handle.state.borrow() {
            State::Ready { .. } => {}
            State::Connecting | State::Waiting { .. } => return Err(NotSent::NotConnected),
            State::Closed { ref reason } => return Err(NotSent::Closed(reason.clone())),
        }
        let sent = self.handle.queue.send_keep_alive();
        sent.map_err(|_| NotSent::Closed(self.handle.why_closed()))
    }

    /// Closes the client for all who share it, and waits until that is done.
    ///
    /// What was sent before goes out first if the client is connected, for at most five seconds.
    /// Nothing happens if the client is closed already.
    pub async fn close(&self) {
        self.handle.close.notify_one();
        let mut state = self.handle.state.clone();
        // The driver drops its end when the connection is closed.
        while state.changed().await.is_ok() {}
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.handle.state.borrow(), State::Closed { .. })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &*self.handle.state.borrow()).finish()
    }
}
