//! State machine of one client, from the first dial to the close.
//!
//! ```text
//!              connected               greeting
//!   Dialing(n) ---------> AwaitingId(n) ------> Ready
//!     ^   |                    |                  |
//!     |   | disconnected,      |                  | disconnected, short frame:
//!     |   | timeout            |                  | n starts again at 0
//!     |   v                    v                  v
//!     +- Waiting(n) <----------+------------------+        close, or n too large: Closed
//!      now >= at
//! ```

mod checked;
pub(crate) mod config;
mod jitter;
mod notices;
pub(crate) mod outcome;
pub(crate) mod output;
mod probe;
pub(crate) mod send_error;
pub(crate) mod session;
mod silence;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use checked::Checked;
use config::ClientConfig;
use jitter::Jitter;
use outcome::Ticket;
use output::{ClientEvent, ClientState, CloseReason, DisconnectReason, Output};
use probe::Probe;
use send_error::SendError;
use session::{Extension, Session};
use silence::{Silence, Verdict};

use crate::control::control_body;
use crate::control::notice::Notice;
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
}

#[derive(Debug)]
enum State {
    Dialing { attempt: u32, deadline: Option<Instant> },
    AwaitingId { attempt: u32, since: Instant, deadline: Option<Instant> },
    Ready { id: PeerId, since: Instant, keep_alive_at: Option<Instant>, silence: Silence },
    Waiting { attempt: u32, until: Instant },
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
            session: Session::new(),
            checked: Checked::new(),
        };
        client.dial(0, now);
        client
    }

    /// Reports that the transport is connected: bytes can flow both ways.
    pub fn handle_connected(&mut self, now: Instant) {
        if let State::Dialing { attempt, deadline } = self.state {
            self.state = State::AwaitingId { attempt, since: now, deadline };
            let hello = self.session.begin(self.config.extension);
            self.outputs.extend(hello.map(Output::Transmit));
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
            State::AwaitingId { .. } | State::Ready { .. } => {
                self.lose(DisconnectReason::ConnectionLost, now);
            }
            State::Waiting { .. } | State::Closed => {}
        }
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

    /// Dials at once if the client is waiting to dial. Call it when the network is back or the
    /// page is visible again.
    pub fn retry_now(&mut self, now: Instant) {
        if let State::Waiting { attempt, .. } = self.state {
            self.dial(attempt, now);
        }
    }

    /// Closes the client for good. Frames sent before are transmitted before the hang-up.
    pub fn close(&mut self) {
        match self.state {
            State::Dialing { .. } | State::AwaitingId { .. } | State::Ready { .. } => {
                self.outputs.push_back(Output::HangUp);
            }
            State::Waiting { .. } => {}
            State::Closed => return,
        }
        self.finish(CloseReason::ByApplication);
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
            State::Ready { keep_alive_at, silence, .. } => {
                let probe_at = self.checked.poll_timeout();
                keep_alive_at.into_iter().chain(silence.until).chain(probe_at).min()
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
            | State::Waiting { .. }
            | State::Closed => None,
        }
    }

    /// Returns what the server grants on this connection; `None` if it does not speak the
    /// extension, or has not told yet.
    pub fn extension(&self) -> Option<Extension> {
        self.id().and(self.session.extension())
    }

    /// Returns the client's state.
    pub fn state(&self) -> ClientState {
        match self.state {
            State::Dialing { .. } | State::AwaitingId { .. } => ClientState::Connecting,
            State::Ready { .. } => ClientState::Ready,
            State::Waiting { .. } => ClientState::Waiting,
            State::Closed => ClientState::Closed,
        }
    }

    fn handle_message(&mut self, message: MessageIn, now: Instant) {
        match self.state {
            State::AwaitingId { .. } => {
                let id = message.from;
                let keep_alive_at = self.config.next_keep_alive(now);
                let silence = Silence::begin(&self.config, now);
                self.state = State::Ready { id, since: now, keep_alive_at, silence };
                self.emit(ClientEvent::Connected { id });
                // No server welcomes before it greets; but one could.
                if let Some(extension) = self.session.extension() {
                    self.emit(ClientEvent::Extended(extension));
                }
            }
            State::Ready { id, .. } => match Probe::decode(&message, id) {
                Some(Probe::Silence) => {}
                Some(Probe::Checked(number)) => self.handle_probe(number),
                None => self.emit(ClientEvent::Message(message)),
            },
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => {}
        }
    }

    fn send_numbered(&mut self, message: &MessageOut) -> Result<u64, SendError> {
        self.check_ready()?;
        let mut frame = Vec::with_capacity(message.frame_len());
        message.encode(&mut frame)?;
        Ok(self.transmit(frame.into()))
    }

    /// Emits a frame after HELLO. Returns its number.
    fn transmit(&mut self, frame: Bytes) -> u64 {
        self.outputs.push_back(Output::Transmit(frame));
        self.session.take_number()
    }

    fn emit(&mut self, event: ClientEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::AwaitingId { .. } | State::Ready { .. })
    }

    fn check_ready(&self) -> Result<(), SendError> {
        match self.state {
            State::Ready { .. } => Ok(()),
            State::Closed => Err(SendError::Closed),
            State::Dialing { .. } | State::AwaitingId { .. } | State::Waiting { .. } => {
                Err(SendError::NotConnected)
            }
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
            State::Dialing { attempt, .. } | State::AwaitingId { attempt, .. } => {
                if let State::AwaitingId { since, .. } = self.state {
                    self.session.lose(now - since < STABLE_AFTER);
                }
                let attempt = attempt.saturating_add(1);
                (attempt, attempt.saturating_add(self.short_lived))
            }
            State::Ready { since, .. } => {
                let was_short = now - since < STABLE_AFTER;
                self.session.lose(was_short);
                let steps = if was_short { self.short_lived } else { 0 };
                self.short_lived = if was_short { self.short_lived.saturating_add(1) } else { 0 };
                (0, steps)
            }
            State::Waiting { .. } | State::Closed => return,
        };
        self.checked.end(None, &mut self.outputs);
        if attempt > self.config.reconnect_attempts {
            self.finish(CloseReason::AttemptsExhausted { last: reason });
            return;
        }
        let delay = RETRY_STEP.saturating_mul(steps).min(MAX_RETRY_DELAY);
        let until = now + self.jitter.stretch(delay);
        self.state = State::Waiting { attempt, until };
        self.emit(ClientEvent::Disconnected { reason, retry_at: until });
    }

    fn finish(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.decoder = FrameDecoder::new();
        self.checked.end(None, &mut self.outputs);
        self.emit(ClientEvent::Closed { reason });
    }
}

/// Each failed dial adds this to the wait before the next. Source: waddell `client.go`.
const RETRY_STEP: Duration = Duration::from_millis(100);

/// Longest wait between two dials, before jitter. Source: waddell `client.go`.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// After a connection that lasted at least this long, the client dials again at once.
const STABLE_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
