//! The task behind a client: passes events to the state machine and performs its outputs.

use std::io;
use std::mem;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use waddell_core::{
    BadCredentials, Capabilities, ClientEvent, ClientState, CloseCode, CloseReason,
    DisconnectReason, Extension, MessageOut, Output, PeerId, Undelivered,
};

use crate::checks::{Checks, Reply};
use crate::connection::Connection;
use crate::dial::{Dialed, Dialer};
use crate::error::{CloseError, WatchError};
use crate::inbox::SharedInbox;
use crate::notices::{Notice, NoticeSender};
use crate::queue::{Command, QueueReceiver};
use crate::state::{Closed, Disconnected, ServerClosing, State};
use crate::token::{AskToken, TokenSource};
use crate::transport::ws::WebSocketClosed;
use crate::watches::{WatchReply, Watches};

/// Called with every new id.
pub(crate) type OnId = Arc<dyn Fn(PeerId) + Send + Sync>;

/// Owns the state machine, the transport and the clock.
pub(crate) struct Driver {
    core: waddell_core::Client,
    /// Time zero of the state machine.
    epoch: Instant,
    /// One for each address of the server.
    dialers: Vec<Arc<Dialer>>,
    transport: Transport,
    /// The transport's last error.
    error: Option<Arc<io::Error>>,
    /// Whether a message was sent on the current connection.
    has_sent: bool,
    /// Why the connection was lost on which the last message was sent.
    lost: Option<Disconnected>,
    /// Whether a connected client is being closed: the next hang-up sends the unsent bytes.
    closing: bool,
    /// Whether the server of the present connection does not speak the extension.
    is_plain: bool,
    checks: Checks,
    watches: Watches,
    /// Callers that wait for a new id.
    rotations: Vec<oneshot::Sender<PeerId>>,
    tokens: Option<TokenSource>,
    /// A new token for the present connection, while it is being asked for.
    renewal: Option<AskToken>,
    shared: Shared,
}

/// The driver's ends of the state that it shares with the handles.
pub(crate) struct Shared {
    pub(crate) queue: QueueReceiver,
    pub(crate) inbox: Arc<SharedInbox>,
    pub(crate) notices: Arc<NoticeSender>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) extension: watch::Sender<Option<Extension>>,
    pub(crate) close: Arc<Notify>,
    /// How closing the client ended. Set before the state's sender is dropped.
    pub(crate) closed: Arc<OnceLock<Result<(), CloseError>>>,
    pub(crate) on_id: Option<OnId>,
}

enum Transport {
    None,
    /// A token is being asked for, before the dial.
    Asking(AskToken),
    Dialing(BoxFuture<'static, io::Result<Dialed>>),
    Connected(Connection),
    /// Hung up; its unsent bytes are still to be written.
    Closing(Connection),
}

/// An event of the transport.
enum TransportEvent<'a> {
    Token(io::Result<String>),
    Dialed(io::Result<Dialed>),
    Read(&'a mut [u8]),
    Written,
    Failed(io::Error),
}

impl Driver {
    pub(crate) fn new(
        config: waddell_core::ClientConfig,
        dialers: Vec<Arc<Dialer>>,
        tokens: Option<TokenSource>,
        shared: Shared,
    ) -> Result<Self, BadCredentials> {
        let mut core = waddell_core::Client::new(config, waddell_core::Instant::default());
        if let Some(TokenSource::Fixed(token)) = &tokens {
            core.set_credentials(token.as_bytes())?;
        }
        Ok(Self {
            core,
            epoch: Instant::now(),
            dialers,
            transport: Transport::None,
            error: None,
            has_sent: false,
            lost: None,
            closing: false,
            is_plain: false,
            checks: Checks::default(),
            watches: Watches::default(),
            rotations: Vec::new(),
            tokens,
            renewal: None,
            shared,
        })
    }

    /// Runs until the client is closed.
    pub(crate) async fn run(mut self) {
        self.handle_outputs();
        while self.core.state() != ClientState::Closed {
            self.step().await;
            self.handle_outputs();
        }
        if let Transport::Closing(connection) = self.transport.take() {
            let finished = connection.finish().await;
            if let Err(error) = &finished {
                tracing::debug!(server = %self.dialer(), %error, "could not close in order");
            }
            self.set_closed(if self.has_sent { finished } else { Ok(()) });
        }
    }

    /// Waits for one event and passes it to the state machine.
    async fn step(&mut self) {
        // A time beyond the clock's range never comes.
        let timeout = self.core.poll_timeout();
        let timeout = timeout.and_then(|at| self.epoch.checked_add(at.elapsed_since_epoch()));
        let timer = async {
            match timeout {
                Some(timeout) => sleep_until(timeout).await,
                None => std::future::pending().await,
            }
        };
        let can_send = self.can_send();
        tokio::select! {
            () = self.shared.close.notified() => self.close().await,
            () = timer => self.core.handle_timeout(now(self.epoch)),
            Some(command) = self.shared.queue.recv(), if can_send => {
                self.handle_command(command);
                while self.can_send() && let Some(command) = self.shared.queue.try_recv() {
                    self.handle_command(command);
                }
            }
            token = renewed(&mut self.renewal) => self.renew(token),
            event = self.transport.next_event() => match event {
                TransportEvent::Token(token) => self.dial_with(token),
                TransportEvent::Read(input) if !input.is_empty() => {
                    self.core.handle_bytes(input, now(self.epoch));
                }
                TransportEvent::Written => {}
                TransportEvent::Dialed(Ok(Dialed { stream, took_hello })) => {
                    self.transport = Transport::Connected(Connection::new(stream));
                    match took_hello {
                        true => self.core.handle_upgraded(now(self.epoch)),
                        false => self.core.handle_connected(now(self.epoch)),
                    }
                }
                TransportEvent::Dialed(Err(error)) | TransportEvent::Failed(error) => {
                    self.handle_disconnected(Some(error));
                }
                TransportEvent::Read(_end) => self.handle_disconnected(None),
            },
        }
    }

    /// Returns the dialer of the present address.
    fn dialer(&self) -> &Arc<Dialer> {
        &self.dialers[self.core.address()]
    }

    fn handle_disconnected(&mut self, error: Option<io::Error>) {
        self.transport = Transport::None;
        let code = error.as_ref().and_then(web_socket_code);
        self.error = error.map(Arc::new);
        match code {
            Some(code) => self.core.handle_closed(code, now(self.epoch)),
            None => self.core.handle_disconnected(now(self.epoch)),
        }
    }

    fn dial(&mut self) {
        let dialer = Arc::clone(self.dialer());
        let hello = match dialer.is_websocket() {
            true => self.core.upgrade_hello(),
            false => None,
        };
        self.transport = Transport::Dialing(Box::pin(dialer.dial(hello)));
    }

    /// Dials with a token that was asked for.
    fn dial_with(&mut self, token: io::Result<String>) {
        match token {
            Ok(token) if token.is_empty() => self.core.refuse_credentials(),
            Ok(token) => match self.core.set_credentials(token.as_bytes()) {
                Ok(()) => self.dial(),
                Err(error) => self.handle_disconnected(Some(io::Error::other(error))),
            },
            Err(error) => self.handle_disconnected(Some(error)),
        }
    }

    /// Gives the server a token that was asked for while connected.
    fn renew(&mut self, token: io::Result<String>) {
        self.renewal = None;
        match token {
            Ok(token) if token.is_empty() => self.core.refuse_credentials(),
            Ok(token) => {
                if let Err(error) = self.core.authenticate(token.as_bytes()) {
                    tracing::debug!(%error, "no new token");
                }
            }
            // When the present one expires, the next dial asks again.
            Err(error) => tracing::debug!(%error, "no new token"),
        }
    }

    fn handle_command(&mut self, command: Command) {
        let is_message = command.is_message();
        let sent = match command {
            Command::Send(message) => self.core.send(&message),
            Command::SendChecked(message, reply) => return self.send_checked(&message, reply),
            Command::KeepAlive => self.core.send_keep_alive(),
            Command::Watch(id, reply) => return self.watch(id, reply),
            Command::Rotate(reply) => {
                self.rotations.push(reply);
                self.core.rotate(now(self.epoch));
                Ok(())
            }
            Command::Unwatch(id) => {
                self.core.unwatch(id);
                Ok(())
            }
        };
        match sent {
            Ok(()) if is_message => self.note_sent(),
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "not sent"),
        }
        self.handle_outputs();
    }

    fn send_checked(&mut self, message: &MessageOut, reply: Reply) {
        if reply.is_cancelled() {
            return;
        }
        match self.core.send_checked(message, now(self.epoch)) {
            Ok(ticket) => {
                self.checks.insert(ticket, reply);
                self.note_sent();
            }
            // The application sends it again, if it still wants to.
            Err(error) => {
                tracing::debug!(%error, "not sent");
                reply.send(Err(Undelivered::NotHandled));
            }
        }
        self.handle_outputs();
    }

    fn watch(&mut self, id: PeerId, reply: WatchReply) {
        match self.core.watch(id, now(self.epoch)) {
            Ok(()) => self.watches.insert(id, reply),
            Err(error) => {
                // Fails if the caller has stopped waiting.
                let _ = reply.send(Err(error.into()));
            }
        }
        if self.is_plain || self.core.extension().is_some_and(|it| !tells_of_peers(it)) {
            self.fail_watches();
        }
        self.handle_outputs();
    }

    /// Tells all callers that this server does not tell about peers.
    fn fail_watches(&mut self) {
        for (id, reply) in self.watches.take() {
            self.core.unwatch(id);
            // Fails if the caller has stopped waiting.
            let _ = reply.send(Err(WatchError::NotSupported));
        }
    }

    fn note_sent(&mut self) {
        self.has_sent = true;
        self.lost = None;
    }

    /// Sends the accepted messages, if there is a connection, and closes the client.
    async fn close(&mut self) {
        self.shared.queue.close();
        if self.core.state() == ClientState::Ready {
            while let Some(command) = self.shared.queue.recv().await {
                self.handle_command(command);
            }
            self.closing = true;
        }
        let mut messages = 0;
        while let Some(command) = self.shared.queue.try_recv() {
            messages += usize::from(command.is_message());
        }
        let lost = self.lost.take();
        match lost {
            _ if messages > 0 => self.set_closed(Err(CloseError::NotSent { messages })),
            Some(lost) => self.set_closed(Err(CloseError::Lost(lost))),
            // How the connection ends is still to be seen.
            None if self.closing => {}
            None => self.set_closed(Ok(())),
        }
        self.core.close();
    }

    /// Sets how closing the client ended. Only the first call has an effect.
    fn set_closed(&self, result: Result<(), CloseError>) {
        // Fails if it is set already.
        let _ = self.shared.closed.set(result);
    }

    fn handle_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Dial => {
                    tracing::debug!(server = %self.dialer(), "dialing");
                    self.error = None;
                    self.shared.state.send_replace(State::Connecting);
                    match &self.tokens {
                        Some(TokenSource::Provider(ask)) => {
                            self.transport = Transport::Asking(ask());
                        }
                        Some(TokenSource::Fixed(_)) | None => self.dial(),
                    }
                }
                Output::Transmit(bytes) => {
                    if let Transport::Connected(connection) = &mut self.transport {
                        connection.write(&bytes);
                    }
                }
                Output::HangUp => {
                    self.transport = match self.transport.take() {
                        Transport::Connected(connection) if self.closing => {
                            Transport::Closing(connection)
                        }
                        // Before the greeting there is nothing to send. A server that breaks the
                        // protocol is dropped at once.
                        _dropped => Transport::None,
                    };
                }
                Output::Event(event) => self.handle_event(event),
            }
        }
    }

    fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { id } => {
                tracing::info!(server = %self.dialer(), %id, "connected");
                self.set_id(id);
            }
            ClientEvent::Renamed { id } => {
                tracing::info!(server = %self.dialer(), %id, "renamed");
                self.set_id(id);
            }
            ClientEvent::Extended(extension) => {
                tracing::debug!(server = %self.dialer(), ?extension, "extended");
                self.is_plain = false;
                self.shared.extension.send_replace(Some(extension));
                if !tells_of_peers(extension) {
                    self.fail_watches();
                }
            }
            ClientEvent::Message(message) => self.shared.inbox.push(message),
            ClientEvent::Checked { ticket, outcome } => self.checks.decide(ticket, outcome),
            ClientEvent::Undelivered(dropped) => {
                tracing::debug!(?dropped, "the server dropped messages");
                self.shared.notices.send(Notice::Undelivered(dropped));
            }
            ClientEvent::Peer(notice) => {
                tracing::debug!(?notice, "the state of a peer");
                self.watches.tell(notice.id, notice.state);
                self.shared.notices.send(Notice::Peer(notice));
            }
            ClientEvent::CredentialsDue => {
                if let Some(TokenSource::Provider(ask)) = &self.tokens {
                    self.renewal = Some(ask());
                }
            }
            ClientEvent::Restarting(restarting) => {
                tracing::debug!(?restarting, "the server will stop");
                self.shared.notices.send(Notice::Restarting(restarting));
            }
            ClientEvent::NotExtended => {
                self.is_plain = true;
                self.fail_watches();
            }
            ClientEvent::Closing { code, reason } => {
                let closing = ServerClosing::new(code, &reason);
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, closing);
                self.error = Some(Arc::new(error));
            }
            ClientEvent::Disconnected { reason, retry_at } => {
                let reason = self.disconnected(reason);
                tracing::info!(server = %self.dialer(), %reason, "disconnected");
                self.is_plain = false;
                self.renewal = None;
                let retry_at = self.epoch + retry_at.elapsed_since_epoch();
                self.shared.extension.send_replace(None);
                self.shared.state.send_replace(State::Waiting { reason, retry_at });
            }
            ClientEvent::Closed { reason } => {
                let reason = match reason {
                    CloseReason::AttemptsExhausted { last } => {
                        Closed::AttemptsExhausted { last: self.disconnected(last) }
                    }
                    CloseReason::ByServer(code) => {
                        let reason = DisconnectReason::ClosedByServer(code);
                        Closed::ByServer(self.disconnected(reason))
                    }
                    CloseReason::NoCredentials => Closed::NoToken,
                    CloseReason::ByApplication => Closed::ByApplication,
                };
                tracing::info!(server = %self.dialer(), %reason, "closed");
                self.shared.extension.send_replace(None);
                self.shared.state.send_replace(State::Closed { reason });
                self.shared.queue.close();
                self.shared.inbox.close();
                self.shared.notices.close();
            }
        }
    }

    fn set_id(&mut self, id: PeerId) {
        if let Some(on_id) = &self.shared.on_id {
            on_id(id);
        }
        self.shared.state.send_replace(State::Ready { id });
        for reply in self.rotations.drain(..) {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(id);
        }
    }

    fn disconnected(&mut self, reason: DisconnectReason) -> Disconnected {
        let disconnected = Disconnected::new(reason, self.error.take());
        if mem::take(&mut self.has_sent) {
            self.lost = Some(disconnected.clone());
        }
        disconnected
    }

    fn can_send(&self) -> bool {
        match &self.transport {
            Transport::Connected(connection) => {
                self.core.state() == ClientState::Ready && !connection.is_congested()
            }
            Transport::None
            | Transport::Asking(_)
            | Transport::Dialing(_)
            | Transport::Closing(_) => false,
        }
    }
}

impl Transport {
    fn take(&mut self) -> Self {
        mem::replace(self, Self::None)
    }

    /// Waits for the transport's next event. Nothing is lost when the future is dropped.
    async fn next_event(&mut self) -> TransportEvent<'_> {
        match self {
            Self::Asking(asking) => TransportEvent::Token(asking.await),
            Self::Dialing(dial) => TransportEvent::Dialed(dial.await),
            Self::Connected(connection) => match connection.advance().await {
                Ok(Some(input)) => TransportEvent::Read(input),
                Ok(None) => TransportEvent::Written,
                Err(error) => TransportEvent::Failed(error),
            },
            Self::None | Self::Closing(_) => std::future::pending().await,
        }
    }
}

impl Drop for Shared {
    /// Reports [`Closed::TaskGone`] if the task ends before the client is closed.
    fn drop(&mut self) {
        self.state.send_if_modified(|state| match state {
            State::Closed { .. } => false,
            State::Connecting | State::Ready { .. } | State::Waiting { .. } => {
                *state = State::Closed { reason: Closed::TaskGone };
                true
            }
        });
        self.inbox.close();
        self.notices.close();
    }
}

/// Waits for a token that is being asked for.
async fn renewed(renewal: &mut Option<AskToken>) -> io::Result<String> {
    match renewal {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// Returns the code with which the server closed the WebSocket.
fn web_socket_code(error: &io::Error) -> Option<CloseCode> {
    let closed: &WebSocketClosed = error.get_ref()?.downcast_ref()?;
    closed.code.map(CloseCode)
}

fn tells_of_peers(extension: Extension) -> bool {
    extension.granted.contains(Capabilities::PEERS)
}

fn now(epoch: Instant) -> waddell_core::Instant {
    waddell_core::Instant::since_epoch(epoch.elapsed())
}
