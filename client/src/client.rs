//! The handle of a client.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, oneshot, watch};
use waddell_core::{Extension, PeerId, PeerState, TopicId};

use crate::config::ClientConfig;
use crate::driver::{Driver, Shared};
use crate::error::{CloseError, ConnectError, NotSent, RotateError, WatchError};
use crate::handle::Handle;
use crate::inbox::SharedInbox;
use crate::notices::{NoticeSender, Notices};
use crate::queue::{Command, queue};
use crate::state::{Closed, State};
use crate::topic::Topic;

/// A client of one server. It is cheap to clone, and all clones are the same client.
///
/// A task does the work. It ends when the client is closed, or when the last `Client` and
/// [`Topic`] of it is dropped. It sends the accepted messages first, as long as the tokio runtime
/// runs: [`close`](Self::close) waits for that, dropping does not.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Connects to a server: `config` is a `tcp://`, `tls://`, `ws://` or `wss://` address, or a
    /// [`ClientConfig`]. Returns after the first greeting.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the address or the configuration is wrong, or if more dials fail than
    /// [`ClientConfig::reconnect_attempts`] allows. By default that is after eleven dials and
    /// about seven seconds.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime with time enabled and, unless the caller dials, I/O.
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
        let tokens = config.token.clone();
        let dialers = config.into_dialers()?;

        let inbox = Arc::new(SharedInbox::new(inbox_config));
        let notices = Arc::new(NoticeSender::new());
        let (state_sender, state) = watch::channel(State::Connecting);
        let (extension_sender, extension) = watch::channel(None);
        let close = Arc::new(Notify::new());
        let closed = Arc::new(OnceLock::new());
        let shared = Shared {
            queue: queue_receiver,
            inbox: Arc::clone(&inbox),
            notices: Arc::clone(&notices),
            state: state_sender,
            extension: extension_sender,
            close: Arc::clone(&close),
            closed: Arc::clone(&closed),
            on_id,
        };
        let handle = Handle { queue, inbox, notices, state, extension, close, closed };
        let client = Self { handle: Arc::new(handle) };
        let servers: Vec<_> = dialers.iter().map(ToString::to_string).collect();
        let server = servers.join(", ");
        tokio::spawn(Driver::new(core_config, dialers, tokens, shared)?.run());

        let mut state = client.watch();
        let first_result = state.wait_for(|state| match state {
            State::Ready { .. } | State::Closed { .. } => true,
            State::Connecting | State::Waiting { .. } => false,
        });
        match first_result.await.as_deref() {
            Ok(State::Closed { reason }) => {
                Err(ConnectError::Failed { server, reason: reason.clone() })
            }
            Ok(State::Ready { .. } | State::Connecting | State::Waiting { .. }) => Ok(client),
            Err(_) => Err(ConnectError::Failed { server, reason: Closed::TaskGone }),
        }
    }

    /// Returns this client's peer id; `None` while there is no connection.
    pub fn id(&self) -> Option<PeerId> {
        match *self.handle.state.borrow() {
            State::Ready { id } => Some(id),
            State::Connecting | State::Waiting { .. } | State::Closed { .. } => None,
        }
    }

    /// Returns the client's state.
    pub fn state(&self) -> State {
        self.handle.state.borrow().clone()
    }

    /// Returns a receiver of the client's state, which includes new ids. It sees the latest state
    /// alone and can miss earlier ones; [`ClientConfig::on_id`] is called with every id.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.handle.state.clone()
    }

    /// Returns what the server grants on the present connection and its limits. `None` if there is
    /// no connection, or the server does not speak the extension of the protocol. Its answer comes
    /// a moment after the connection: await it with [`find_extension`](Self::find_extension).
    pub fn extension(&self) -> Option<Extension> {
        *self.handle.extension.borrow()
    }

    /// Finds out whether the server speaks the extension of the protocol, and returns what it
    /// grants; `None` if it does not. Takes a round trip at most. If there is no connection, it
    /// waits for one.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the client is closed.
    pub async fn find_extension(&self) -> Result<Option<Extension>, Closed> {
        let (reply, extension) = oneshot::channel();
        let queued = self.handle.queue.control(Command::FindExtension(reply)).await;
        queued.map_err(|_| self.handle.why_closed())?;
        extension.await.map_err(|_dropped| self.handle.why_closed())
    }

    /// Returns ICE servers for WebRTC: the JSON text of an array of `RTCIceServer`, `[]` if the
    /// server has none or if [`ClientConfig::ice`] is not set. Their credentials are good for at
    /// least half of the time that the server gives them, so call this for each peer connection.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the client is closed.
    pub async fn ice_servers(&self) -> Result<String, Closed> {
        let (reply, servers) = oneshot::channel();
        let queued = self.handle.queue.control(Command::IceServers(reply)).await;
        queued.map_err(|_| self.handle.why_closed())?;
        servers.await.map_err(|_dropped| self.handle.why_closed())
    }

    /// Returns a receiver of [`extension`](Self::extension).
    pub fn watch_extension(&self) -> watch::Receiver<Option<Extension>> {
        self.handle.extension.clone()
    }

    /// Returns the notices of the server from here on, such as messages that it dropped. A server
    /// that does not speak the extension of the protocol sends none.
    ///
    /// Each stream keeps 256 notices for its reader. If more come, it drops the oldest, and says so
    /// with [`Notice::Missed`](crate::Notice::Missed). It ends when the client is closed, and does
    /// not keep the client open.
    pub fn notices(&self) -> Notices {
        self.handle.notices.subscribe()
    }

    /// Returns the state of a peer, and watches it: every later change is a
    /// [`Notice::Peer`](crate::Notice::Peer) of [`notices`](Self::notices), on this connection and
    /// the next ones, until [`unwatch_peer`](Self::unwatch_peer). At most 64 peers are watched.
    ///
    /// If there is no connection, it waits for one. Dropping the future stops the waiting, and not
    /// the watching.
    ///
    /// # Errors
    ///
    /// [`WatchError`] if the server does not tell about peers, if too many are watched, or if the
    /// client is closed.
    pub async fn watch_peer(&self, id: PeerId) -> Result<PeerState, WatchError> {
        let closed = || WatchError::Closed(self.handle.why_closed());
        let (reply, state) = oneshot::channel();
        let queued = self.handle.queue.control(Command::Watch(id, reply)).await;
        queued.map_err(|_| closed())?;
        state.await.map_err(|_dropped| closed())?
    }

    /// Stops watching a peer. The server goes on telling about it if this client has written to it.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the client is closed.
    pub async fn unwatch_peer(&self, id: PeerId) -> Result<(), Closed> {
        let queued = self.handle.queue.control(Command::Unwatch(id)).await;
        queued.map_err(|_| self.handle.why_closed())
    }

    /// Returns whether the present id was kept over the last reconnect. See
    /// [`ClientConfig::resume`].
    pub fn resumed(&self) -> bool {
        self.extension().is_some_and(|extension| extension.resumed)
    }

    /// Gets a new peer id, and returns it. Others cannot reach this client by the old one any
    /// more.
    ///
    /// A server that can gives a new id on the same connection: messages that are queued before
    /// this call bear the old id, later ones the new. Otherwise the client hangs up and dials
    /// again. If there is no connection, it waits for one.
    ///
    /// # Errors
    ///
    /// [`RotateError`] if the server refuses a new id for the moment, or if the client is closed.
    pub async fn rotate(&self) -> Result<PeerId, RotateError> {
        let closed = || RotateError::Closed(self.handle.why_closed());
        let old = self.id();
        let (reply, id) = oneshot::channel();
        let queued = self.handle.queue.control(Command::Rotate(reply)).await;
        queued.map_err(|_| closed())?;
        match id.await {
            Ok(id) if Some(id) == old => Err(RotateError::TooSoon),
            Ok(id) => Ok(id),
            Err(_dropped) => Err(closed()),
        }
    }

    /// Opens a topic, or returns another handle of it. Messages that arrived before are kept, up to
    /// [`InboxConfig::unclaimed_capacity`](crate::InboxConfig::unclaimed_capacity).
    ///
    /// Later messages are queued on this topic until a handle receives them or the topic is full.
    pub fn topic(&self, topic: TopicId) -> Topic {
        Topic::new(topic, Arc::clone(&self.handle))
    }

    /// Returns how many messages for topics that were not open have been dropped.
    pub fn unclaimed_lost(&self) -> u64 {
        self.handle.inbox.unclaimed_lost()
    }

    /// Sends a keep-alive, which keeps the path through NATs and proxies open. The server does not
    /// answer it. [`ClientConfig::keep_alive_interval`] sends it regularly.
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

    /// Closes the client for all its handles, and waits until that is done.
    ///
    /// A connected client sends the accepted messages first, for at most five seconds. Then it
    /// waits at most five seconds for the server to close its side as well. `Ok` means that it has
    /// done so: the server, or a proxy before it, has read the messages that were sent on this
    /// connection. It does not mean that their recipients have got them, and it says nothing about
    /// messages that were sent before an earlier connection was lost. `Ok` is also returned if no
    /// message was sent.
    ///
    /// Closing again returns the same.
    ///
    /// # Errors
    ///
    /// [`CloseError`] if the last message may not have reached the server. The client is closed all
    /// the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.handle.close.notify_one();
        let mut state = self.handle.state.clone();
        // The driver drops its end once the connection is closed.
        while state.changed().await.is_ok() {}
        match &*state.borrow() {
            State::Closed { reason: Closed::ByApplication } => {}
            State::Closed { reason } => return Err(CloseError::Closed(reason.clone())),
            State::Connecting | State::Ready { .. } | State::Waiting { .. } => {}
        }
        let task_gone = || Err(CloseError::Closed(Closed::TaskGone));
        self.handle.closed.get().cloned().unwrap_or_else(task_gone)
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
