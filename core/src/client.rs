//! State machine of one client, from the first dial to the close.
//!
//! ```text
//!              connected               greeting
//!   Dialing(n) ---------> AwaitingId(n) ------> Ready
//!     ^   |                    |    |             ^ |
//!     |   |                    |    | with token  | | disconnected, short frame, CLOSING:
//!     |   | disconnected,      |    v             | | n starts again at 0
//!     |   | timeout            |  AwaitingWelcome -+ |
//!     |   v                    v    v               v
//!     +- Waiting(n) <----------+----+---------------+   close, or n too large: Closed
//!      now >= at
//! ```

pub(crate) mod bad_credentials;
mod checked;
pub(crate) mod config;
mod ending;
mod jitter;
mod notices;
pub(crate) mod outcome;
pub(crate) mod output;
mod peers;
mod probe;
pub(crate) mod send_error;
pub(crate) mod session;
mod silence;
pub(crate) mod watch_error;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use bad_credentials::BadCredentials;
use checked::Checked;
use config::{ClientConfig, Credentials};
use ending::Ending;
use jitter::Jitter;
use outcome::Ticket;
use output::{ClientEvent, ClientState, CloseReason, DisconnectReason, Output};
use peers::Peers;
use probe::Probe;
use send_error::SendError;
use session::{Extension, Session, encode};
use silence::{Silence, Verdict};
use watch_error::TooManyWatched;

use crate::control::hello::MAX_CREDENTIALS_LEN;
use crate::control::notice::Notice;
use crate::control::request::Request;
use crate::control::{Capabilities, CloseCode, control_body};
use crate::frame::FrameDecoder;
use crate::id::PeerId;
use crate::message::{KEEP_ALIVE_FRAME, MessageIn, MessageOut};
use crate::time::Instant;

/// The client's side of the protocol, including its reconnect policy.
///
/// After every call that takes `&mut self`, drain [`poll_output`](Self::poll_output) to `None`,
/// then sleep no longer than [`poll_timeout`](Self::poll_timeout). `handle_*` calls report on the
/// transport of the latest [`Output::Dial`]. After [`Output::HangUp`], report nothing more of it.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: State,
    /// Empty in every state except `AwaitingId` and `Ready`.
    decoder: FrameDecoder,
    outputs: VecDeque<Output>,
    /// Number of connections in a row that were lost before [`STABLE_AFTER`]. It slows down the
    /// dials to a server that greets and closes at once; else they would be a tight loop.
    short_lived: u32,
    jitter: Jitter,
    session: Session,
    checked: Checked,
    peers: Peers,
    ending: Ending,
    /// Number of the address to dial.
    address: usize,
    /// Whether the server has refused the last credentials, and has not taken others since.
    unauthorized: bool,
}

#[derive(Debug)]
enum State {
    Dialing {
        attempt: u32,
        deadline: Option<Instant>,
    },
    AwaitingId {
        attempt: u32,
        since: Instant,
        deadline: Option<Instant>,
        /// The id of a WELCOME that came before the greeting.
        welcomed: Option<PeerId>,
    },
    /// Greeted with a new id. WELCOME is to tell whether the client has its old one.
    AwaitingWelcome {
        attempt: u32,
        since: Instant,
        greeted: PeerId,
        until: Instant,
    },
    Ready {
        id: PeerId,
        since: Instant,
        keep_alive_at: Option<Instant>,
        silence: Silence,
    },
    Waiting {
        attempt: u32,
        until: Instant,
    },
    Closed,
}

impl Client {
    /// Makes a client whose first output is [`Output::Dial`].
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        let mut client = Self {
            config,
            state: State::Closed,
            decoder: FrameDecoder::new(),
            outputs: VecDeque::new(),
            short_lived: 0,
            jitter: Jitter(config.jitter_seed),
            session: Session::new(&config),
            checked: Checked::new(),
            peers: Peers::new(),
            ending: Ending::default(),
            address: 0,
            unauthorized: false,
        };
        client.dial(0, now);
        client
    }

    /// Reports that the transport is connected: bytes can flow both ways.
    pub fn handle_connected(&mut self, now: Instant) {
        if let State::Dialing { attempt, deadline } = self.state {
            self.state = State::AwaitingId { attempt, since: now, deadline, welcomed: None };
            self.checked.begin(self.session.next_number());
            let hello = self.session.begin(self.config.extension);
            self.outputs.extend(hello.map(Output::Transmit));
        }
    }

    /// Reports that the transport is connected, and that the server has read the HELLO of
    /// [`upgrade_hello`](Self::upgrade_hello): it chose the subprotocol `waddell.2`.
    pub fn handle_upgraded(&mut self, now: Instant) {
        if let State::Dialing { attempt, deadline } = self.state {
            self.state = State::AwaitingId { attempt, since: now, deadline, welcomed: None };
            self.checked.begin(self.session.next_number());
            self.session.begin_upgraded();
        }
    }

    /// Returns the body of a HELLO, at most 3 KiB, to send in the upgrade to WebSocket; `None` if
    /// there is to be none. It saves a round trip. Call it for each dial of a WebSocket.
    ///
    /// Offer the subprotocols `waddell.2`, `waddell.2.hello.` with the body in base64url without
    /// padding, and `waddell`. If the server chooses the first, call
    /// [`handle_upgraded`](Self::handle_upgraded); otherwise `handle_connected` as always. It is a
    /// secret like the resume token in it.
    pub fn upgrade_hello(&mut self) -> Option<Vec<u8>> {
        match self.state {
            State::Dialing { .. } => self.session.upgrade_hello(),
            State::AwaitingId { .. }
            | State::AwaitingWelcome { .. }
            | State::Ready { .. }
            | State::Waiting { .. }
            | State::Closed => None,
        }
    }

    /// Reports bytes that arrived on the transport, in pieces of any size. Overwrites them.
    pub fn handle_bytes(&mut self, mut input: &mut [u8], now: Instant) {
        if let State::Ready { silence, .. } = &mut self.state {
            *silence = Silence::begin(&self.config, now);
        }
        self.checked.set_now(now);
        // It is put back, unless the connection ends.
        let mut decoder = mem::take(&mut self.decoder);
        while self.is_connected() {
            // The decoder takes every length, so its error cannot occur.
            let Ok(Some(frame)) = decoder.next_frame(&mut input) else { break };
            if let Some(body) = control_body(frame.payload())
                && self.session.said_hello()
            {
                // A kind that is unknown or malformed is ignored.
                if let Ok(notice) = Notice::decode(body) {
                    self.handle_notice(&notice, now);
                }
                continue;
            }
            match MessageIn::decode(frame.payload()) {
                Ok(message) => self.handle_message(message, now),
                Err(_short) => self.hang_up(DisconnectReason::ServerMisbehaved, now),
            }
        }
        if self.is_connected() {
            self.decoder = decoder;
        }
    }

    /// Reports that the transport is gone, or could not be dialed.
    pub fn handle_disconnected(&mut self, now: Instant) {
        match self.state {
            State::Dialing { .. } => self.lose(DisconnectReason::DialFailed, now),
            State::AwaitingId { .. } | State::AwaitingWelcome { .. } | State::Ready { .. } => {
                self.lose(DisconnectReason::ConnectionLost, now);
            }
            State::Waiting { .. } | State::Closed => {}
        }
    }

    /// Reports that the server has closed the WebSocket with a code of its own, from 4000 to 4999.
    /// It is obeyed like that of CLOSING.
    pub fn handle_closed(&mut self, code: CloseCode, now: Instant) {
        if self.is_connected() && (4000..5000).contains(&code.0) {
            self.ending.handle_closing(code);
        }
        self.handle_disconnected(now);
    }

    /// Reports that time has passed; call it no later than [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.state {
            State::Dialing { .. } | State::AwaitingId { .. } => {
                self.hang_up(DisconnectReason::TimedOut, now);
            }
            State::AwaitingWelcome { greeted, .. } => {
                let greeted = *greeted;
                self.become_ready(greeted, now);
            }
            State::Ready { id, keep_alive_at, silence, .. } => {
                let id = *id;
                let keep_alive = keep_alive_at.is_some_and(|at| now >= at);
                if keep_alive {
                    *keep_alive_at = self.config.next_keep_alive(now);
                }
                let verdict = silence.handle_timeout(&self.config, now);
                if keep_alive {
                    self.transmit(Bytes::from_static(KEEP_ALIVE_FRAME));
                }
                self.checked.handle_timeout(now);
                if self.session.take_credentials_due(now) {
                    self.emit(ClientEvent::CredentialsDue);
                }
                match verdict {
                    Verdict::Wait => {}
                    Verdict::Probe => {
                        self.transmit(Probe::Silence.encode(id));
                    }
                    Verdict::Lost => self.hang_up(DisconnectReason::Silent, now),
                }
            }
            State::Waiting { attempt, .. } => {
                let attempt = *attempt;
                self.dial(attempt, now);
            }
            State::Closed => {}
        }
    }

    /// Sends a message: queues its frame as one [`Output::Transmit`].
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready or the body is too long; nothing is sent then.
    pub fn send(&mut self, message: &MessageOut) -> Result<(), SendError> {
        self.send_numbered(message).map(|_number| ())
    }

    /// Sends a message like [`send`](Self::send), and asks the server what became of it. The answer
    /// is a [`ClientEvent::Checked`] with the returned ticket. It always comes, at the latest when
    /// the connection is lost.
    ///
    /// A server without verdicts is asked with a message of the client to itself, on topic 0xFFFE:
    /// it handles frames in order, so it has handled the checked message when that comes back. The
    /// outcome is [`Delivery::Sent`](crate::Delivery::Sent) then.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready, the body is too long, or too many messages have no
    /// outcome yet; nothing is sent then.
    pub fn send_checked(
        &mut self,
        message: &MessageOut,
        now: Instant,
    ) -> Result<Ticket, SendError> {
        if self.checked.is_full() {
            return Err(SendError::TooManyChecked);
        }
        let number = self.send_numbered(message)?;
        self.checked.set_now(now);
        Ok(self.checked.insert(number))
    }

    /// Sends a keep-alive frame. It keeps the path open, and the server never answers it.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready; nothing is sent then.
    pub fn send_keep_alive(&mut self) -> Result<(), SendError> {
        self.check_ready()?;
        self.transmit(Bytes::from_static(KEEP_ALIVE_FRAME));
        Ok(())
    }

    /// Sets the credentials for the next dials, 1 to 4,096 bytes. A driver that can get new ones
    /// does so at each [`Output::Dial`], before it connects.
    ///
    /// # Errors
    ///
    /// [`BadCredentials`] if their length is wrong; nothing has changed then.
    pub fn set_credentials(&mut self, credentials: &[u8]) -> Result<(), BadCredentials> {
        if credentials.is_empty() || credentials.len() > MAX_CREDENTIALS_LEN {
            return Err(BadCredentials { len: credentials.len() });
        }
        self.session.set_credentials(credentials);
        Ok(())
    }

    /// Sets the credentials like [`set_credentials`](Self::set_credentials), and gives them to the
    /// server of the present connection.
    ///
    /// # Errors
    ///
    /// [`BadCredentials`] if their length is wrong; nothing has changed then.
    pub fn authenticate(&mut self, credentials: &[u8]) -> Result<(), BadCredentials> {
        self.set_credentials(credentials)?;
        if self.has(Capabilities::AUTH) {
            self.transmit(encode(&Request::Auth(credentials)));
        }
        Ok(())
    }

    /// Reports that there are no credentials for this client: closes it for good.
    pub fn refuse_credentials(&mut self) {
        self.close_for(CloseReason::NoCredentials);
    }

    /// Watches a peer: its state is told with [`ClientEvent::Peer`] soon, and whenever it changes,
    /// on this connection and the next ones. Watching it again asks for its state again.
    ///
    /// If the server does not speak the extension, [`ClientEvent::NotExtended`] comes; if it does
    /// not grant [`Capabilities::PEERS`], nothing does.
    ///
    /// # Errors
    ///
    /// [`TooManyWatched`] if 64 other peers are watched.
    pub fn watch(&mut self, id: PeerId, now: Instant) -> Result<(), TooManyWatched> {
        self.peers.watch(id)?;
        self.checked.set_now(now);
        if self.has(Capabilities::PEERS) {
            self.transmit(peers::watch(id));
        }
        Ok(())
    }

    /// Stops watching a peer. The server goes on telling about it if this client has written to it.
    pub fn unwatch(&mut self, id: PeerId) {
        if self.peers.unwatch(id) && self.has(Capabilities::PEERS) {
            self.transmit(peers::unwatch(id));
        }
    }

    /// Asks for a new id: from the server, if it gives one on the same connection, and else by
    /// hanging up and dialing again. [`ClientEvent::Renamed`] or [`ClientEvent::Connected`] tells
    /// it. A client without a connection gets a new id with the next one.
    pub fn rotate(&mut self, now: Instant) {
        match self.state {
            State::Ready { .. } if self.has(Capabilities::RENEW) => {
                self.transmit(encode(&Request::Renew));
            }
            State::Ready { .. } | State::AwaitingId { .. } | State::AwaitingWelcome { .. } => {
                self.session.forget_token();
                self.outputs.push_back(Output::HangUp);
                self.session.lose(false, now);
                self.checked.end(&mut self.outputs);
                self.peers.end();
                self.ending = Ending::default();
                self.decoder = FrameDecoder::new();
                self.state = State::Waiting { attempt: 0, until: now };
                let reason = DisconnectReason::Rotated;
                self.emit(ClientEvent::Disconnected { reason, retry_at: now });
            }
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => {
                self.session.forget_token();
                self.checked.end(&mut self.outputs);
                self.peers.end();
            }
        }
    }

    /// Dials at once if the client is waiting to dial. Call it when the network is back or the
    /// page is visible again.
    pub fn retry_now(&mut self, now: Instant) {
        if let State::Waiting { attempt, .. } = self.state {
            self.dial(attempt, now);
        }
    }

    /// Closes the client for good. Frames sent before are transmitted before the hang-up.
    pub fn close(&mut self) {
        self.close_for(CloseReason::ByApplication);
    }

    /// Returns what the driver must do next; `None` if there is nothing more to do yet.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.ask();
        }
        self.outputs.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due. Any other call can change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Dialing { deadline, .. } | State::AwaitingId { deadline, .. } => deadline,
            State::AwaitingWelcome { until, .. } => Some(until),
            State::Ready { keep_alive_at, silence, .. } => {
                let probe_at = self.checked.poll_timeout();
                let due = self.session.credentials_due();
                [keep_alive_at, silence.until, probe_at, due].into_iter().flatten().min()
            }
            State::Waiting { until, .. } => Some(until),
            State::Closed => None,
        }
    }

    /// Returns the id that the server gave this connection; `None` unless ready.
    pub fn id(&self) -> Option<PeerId> {
        match self.state {
            State::Ready { id, .. } => Some(id),
            State::Dialing { .. }
            | State::AwaitingId { .. }
            | State::AwaitingWelcome { .. }
            | State::Waiting { .. }
            | State::Closed => None,
        }
    }

    /// Returns which address of the server to dial at the next [`Output::Dial`]: less than
    /// [`ClientConfig::addresses`]. It is the next one, in turns, after a failed dial, and when a
    /// server that stops says that the client is to dial elsewhere.
    pub fn address(&self) -> usize {
        self.address
    }

    /// Returns what the server grants on this connection; `None` if it does not speak the
    /// extension, or has not told yet.
    pub fn extension(&self) -> Option<Extension> {
        self.id().and(self.session.extension())
    }

    /// Returns the client's state.
    pub fn state(&self) -> ClientState {
        match self.state {
            State::Dialing { .. } | State::AwaitingId { .. } | State::AwaitingWelcome { .. } => {
                ClientState::Connecting
            }
            State::Ready { .. } => ClientState::Ready,
            State::Waiting { .. } => ClientState::Waiting,
            State::Closed => ClientState::Closed,
        }
    }

    fn handle_message(&mut self, message: MessageIn, now: Instant) {
        match self.state {
            State::AwaitingId { attempt, since, welcomed, .. } => {
                let greeted = message.from;
                if self.session.awaits_welcome() {
                    let until = now + WELCOME_TIMEOUT;
                    self.state = State::AwaitingWelcome { attempt, since, greeted, until };
                } else {
                    self.become_ready(welcomed.filter(|id| !id.is_nil()).unwrap_or(greeted), now);
                }
            }
            State::AwaitingWelcome { greeted, .. } => {
                self.become_ready(greeted, now);
                self.handle_message(message, now);
            }
            State::Ready { id, .. } => match Probe::decode(&message, id) {
                Some(Probe::Silence) => {}
                Some(Probe::Checked(number)) => self.handle_probe(number),
                None => self.emit(ClientEvent::Message(message)),
            },
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => {}
        }
    }

    fn become_ready(&mut self, id: PeerId, now: Instant) {
        let keep_alive_at = self.config.next_keep_alive(now);
        let silence = Silence::begin(&self.config, now);
        self.state = State::Ready { id, since: now, keep_alive_at, silence };
        self.unauthorized = false;
        let extension = self.session.extension();
        if extension.is_none() {
            // WELCOME may still come, but the server will not tell about connections before.
            self.session.forget_token();
            self.checked.end_former(&mut self.outputs);
            self.peers.end();
        }
        self.emit(ClientEvent::Connected { id });
        if let Some(extension) = extension {
            self.emit(ClientEvent::Extended(extension));
        }
    }

    fn send_numbered(&mut self, message: &MessageOut) -> Result<u64, SendError> {
        self.check_ready()?;
        let mut frame = Vec::with_capacity(message.frame_len());
        message.encode(&mut frame)?;
        let number = self.transmit(frame.into());
        if self.session.has(Capabilities::PEERS) {
            self.peers.handle_sent(message.to, number);
        }
        Ok(number)
    }

    /// Emits a frame after HELLO. Returns its number.
    fn transmit(&mut self, frame: Bytes) -> u64 {
        self.outputs.push_back(Output::Transmit(frame));
        self.session.take_number()
    }

    fn emit(&mut self, event: ClientEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Returns whether there is a connection that has this part of the extension.
    fn has(&self, part: Capabilities) -> bool {
        self.extension().is_some_and(|extension| extension.granted.contains(part))
    }

    fn is_connected(&self) -> bool {
        match self.state {
            State::AwaitingId { .. } | State::AwaitingWelcome { .. } | State::Ready { .. } => true,
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => false,
        }
    }

    fn check_ready(&self) -> Result<(), SendError> {
        match self.state {
            State::Ready { .. } => Ok(()),
            State::Closed => Err(SendError::Closed),
            State::Dialing { .. }
            | State::AwaitingId { .. }
            | State::AwaitingWelcome { .. }
            | State::Waiting { .. } => Err(SendError::NotConnected),
        }
    }

    fn dial(&mut self, attempt: u32, now: Instant) {
        let deadline = self.config.connect_timeout.and_then(|timeout| now.checked_add(timeout));
        self.state = State::Dialing { attempt, deadline };
        self.outputs.push_back(Output::Dial);
    }

    fn hang_up(&mut self, reason: DisconnectReason, now: Instant) {
        self.outputs.push_back(Output::HangUp);
        self.lose(reason, now);
    }

    /// Handles the loss of the transport: waits for the next dial, or gives up.
    fn lose(&mut self, reason: DisconnectReason, now: Instant) {
        self.decoder = FrameDecoder::new();
        let (attempt, steps) = match self.state {
            State::Dialing { attempt, .. }
            | State::AwaitingId { attempt, .. }
            | State::AwaitingWelcome { attempt, .. } => {
                self.session.fail_upgrade();
                if let State::AwaitingId { since, .. } | State::AwaitingWelcome { since, .. } =
                    self.state
                {
                    self.session.lose(now - since < STABLE_AFTER, now);
                }
                let attempt = attempt.saturating_add(1);
                (attempt, attempt.saturating_add(self.short_lived))
            }
            State::Ready { since, .. } => {
                let was_short = now - since < STABLE_AFTER;
                self.session.lose(was_short, now);
                let steps = if was_short { self.short_lived } else { 0 };
                self.short_lived = if was_short { self.short_lived.saturating_add(1) } else { 0 };
                (0, steps)
            }
            State::Waiting { .. } | State::Closed => return,
        };
        if !self.session.may_resume(now) {
            self.checked.end(&mut self.outputs);
            self.peers.end();
        }
        let ending = mem::take(&mut self.ending);
        let is_unauthorized = ending.is_unauthorized();
        let can_renew = self.config.credentials == Credentials::Renewable
            && !(is_unauthorized && self.unauthorized);
        self.unauthorized |= is_unauthorized;
        if let Some(code) = ending.forbids(can_renew) {
            self.finish(CloseReason::ByServer(code));
            return;
        }
        if attempt > self.config.reconnect_attempts {
            self.finish(CloseReason::AttemptsExhausted { last: reason });
            return;
        }
        if attempt > 0 || ending.is_elsewhere() {
            self.change_address();
        }
        let scheduled = RETRY_STEP.saturating_mul(steps).min(MAX_RETRY_DELAY);
        let until = now + ending.delay(scheduled, &mut self.jitter);
        self.state = State::Waiting { attempt, until };
        self.emit(ClientEvent::Disconnected { reason, retry_at: until });
    }

    fn close_for(&mut self, reason: CloseReason) {
        match self.state {
            State::Ready { .. } => {
                if self.has(Capabilities::RESUME) {
                    self.transmit(encode(&Request::Bye));
                }
                self.outputs.push_back(Output::HangUp);
            }
            State::Dialing { .. } | State::AwaitingId { .. } | State::AwaitingWelcome { .. } => {
                self.outputs.push_back(Output::HangUp);
            }
            State::Waiting { .. } => {}
            State::Closed => return,
        }
        self.finish(reason);
    }

    fn change_address(&mut self) {
        if self.config.addresses > 1 {
            self.address = (self.address + 1) % self.config.addresses;
            self.session.change_address();
        }
    }

    fn finish(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.decoder = FrameDecoder::new();
        self.session.forget_token();
        self.checked.end(&mut self.outputs);
        self.emit(ClientEvent::Closed { reason });
    }
}

/// Each failed dial adds this to the wait before the next. Source: waddell `client.go`.
const RETRY_STEP: Duration = Duration::from_millis(100);

/// Longest wait between two dials, before jitter. Source: waddell `client.go`.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Longest wait for WELCOME after the greeting, on a connection that is to keep the id.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(2);

/// After a connection that lasted at least this long, the client dials again at once.
const STABLE_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
