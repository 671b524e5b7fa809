//! The task behind a client: passes events to the state machine and performs its outputs.

mod commands;
mod events;
mod transport;

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use waddell_core::{BadCredentials, ClientState, CloseCode, Extension, Output, PeerId};

use transport::{Transport, TransportEvent};

use crate::checks::Checks;
use crate::connection::Connection;
use crate::dial::{Dialed, Dialer};
use crate::error::CloseError;
use crate::ice::Ice;
use crate::inbox::SharedInbox;
use crate::notices::NoticeSender;
use crate::queue::QueueReceiver;
use crate::state::{Closed, Disconnected, State};
use crate::token::{AskToken, TokenSource};
use crate::transport::ws::WebSocketClosed;
use crate::watches::Watches;

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
    /// Callers that wait to know whether the server speaks the extension.
    finding: Vec<oneshot::Sender<Option<Extension>>>,
    ice: Ice,
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
            finding: Vec::new(),
            ice: Ice::default(),
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
        self.extension.send_replace(None);
        self.inbox.close();
        self.notices.close();
    }
}

fn now(epoch: Instant) -> waddell_core::Instant {
    waddell_core::Instant::since_epoch(epoch.elapsed())
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
