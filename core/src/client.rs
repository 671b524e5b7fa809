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

pub(crate) mod config;
mod jitter;
pub(crate) mod output;
pub(crate) mod send_error;
mod silence;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use config::ClientConfig;
use jitter::Jitter;
use output::{ClientEvent, ClientState, CloseReason, DisconnectReason, Output};
use send_error::SendError;
use silence::{Silence, Verdict, is_probe, probe};

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
}

#[derive(Debug)]
enum State {
    Dialing { attempt: u32, deadline: Option<Instant> },
    AwaitingId { attempt: u32, deadline: Option<Instant> },
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
        };
        client.dial(0, now);
        client
    }

    /// Reports that the transport is connected: bytes can flow both ways.
    pub fn handle_connected(&mut self, _now: Instant) {
        if let State::Dialing { attempt, deadline } = self.state {
            self.state = State::AwaitingId { attempt, deadline };
        }
    }

    /// Reports bytes that arrived on the transport, in pieces of any size. Overwrites them.
    pub fn handle_bytes(&mut self, mut input: &mut [u8], now: Instant) {
        if let State::Ready { silence, .. } = &mut self.state {
            *silence = Silence::begin(&self.config, now);
        }
        while matches!(self.state, State::AwaitingId { .. } | State::Ready { .. }) {
            // The decoder takes every length, so its error cannot occur.
            let Ok(Some(frame)) = self.decoder.next_frame(&mut input) else { return };
            match MessageIn::decode(frame.payload()) {
                Ok(message) => self.handle_message(message, now),
                Err(_short) => {
                    self.outputs.push_back(Output::HangUp);
                    self.lose(DisconnectReason::ServerMisbehaved, now);
                }
            }
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
                self.outputs.push_back(Output::HangUp);
                self.lose(DisconnectReason::TimedOut, now);
            }
            State::Ready { id, keep_alive_at, silence, .. } => {
                if keep_alive_at.is_some_and(|at| now >= at) {
                    *keep_alive_at = self.config.next_keep_alive(now);
                    self.outputs.push_back(Output::Transmit(Bytes::from_static(KEEP_ALIVE_FRAME)));
                }
                match silence.handle_timeout(&self.config, now) {
                    Verdict::Wait => {}
                    Verdict::Probe => self.outputs.push_back(Output::Transmit(probe(*id))),
                    Verdict::Lost => {
                        self.outputs.push_back(Output::HangUp);
                        self.lose(DisconnectReason::Silent, now);
                    }
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
        self.check_ready()?;
        let mut frame = Vec::with_capacity(message.frame_len());
        message.encode(&mut frame)?;
        self.outputs.push_back(Output::Transmit(frame.into()));
        Ok(())
    }

    /// Sends a keep-alive frame. It keeps the path open, and the server never answers it.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready; nothing is sent then.
    pub fn send_keep_alive(&mut self) -> Result<(), SendError> {
        self.check_ready()?;
        self.outputs.push_back(Output::Transmit(Bytes::from_static(KEEP_ALIVE_FRAME)));
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
        self.outputs.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due. Any other call can change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Dialing { deadline, .. } | State::AwaitingId { deadline, .. } => deadline,
            State::Ready { keep_alive_at, silence, .. } => {
                keep_alive_at.into_iter().chain(silence.until).min()
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
                self.outputs.push_back(Output::Event(ClientEvent::Connected { id }));
            }
            State::Ready { id, .. } if is_probe(&message, id) => {}
            State::Ready { .. } => {
                self.outputs.push_back(Output::Event(ClientEvent::Message(message)));
            }
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => {}
        }
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

    /// Handles the loss of the transport: waits for the next dial, or gives up.
    fn lose(&mut self, reason: DisconnectReason, now: Instant) {
        self.decoder = FrameDecoder::new();
        let (attempt, steps) = match self.state {
            State::Dialing { attempt, .. } | State::AwaitingId { attempt, .. } => {
                let attempt = attempt.saturating_add(1);
                (attempt, attempt.saturating_add(self.short_lived))
            }
            State::Ready { since, .. } => {
                let was_short = now - since < STABLE_AFTER;
                let steps = if was_short { self.short_lived } else { 0 };
                self.short_lived = if was_short { self.short_lived.saturating_add(1) } else { 0 };
                (0, steps)
            }
            State::Waiting { .. } | State::Closed => return,
        };
        if attempt > self.config.reconnect_attempts {
            self.finish(CloseReason::AttemptsExhausted { last: reason });
            return;
        }
        let delay = RETRY_STEP.saturating_mul(steps).min(MAX_RETRY_DELAY);
        let until = now + self.jitter.stretch(delay);
        self.state = State::Waiting { attempt, until };
        self.outputs
            .push_back(Output::Event(ClientEvent::Disconnected { reason, retry_at: until }));
    }

    fn finish(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.decoder = FrameDecoder::new();
        self.outputs.push_back(Output::Event(ClientEvent::Closed { reason }));
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
