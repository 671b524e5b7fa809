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

mod silence;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use silence::{Silence, Verdict, is_probe, probe};

use crate::frame::FrameDecoder;
use crate::id::PeerId;
use crate::message::{BodyTooLong, KEEP_ALIVE_FRAME, MessageIn, MessageOut};
use crate::time::Instant;

/// Options of a [`Client`]: when it dials, gives up and sends keep-alive frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Number of dials after a failed one before the client gives up. 0: none. `u32::MAX`: no
    /// limit. The client always dials again after it loses a connection that was ready.
    /// Default 10, about 5 s of waiting. Source: waddell `ClientConfig.ReconnectAttempts`.
    pub reconnect_attempts: u32,
    /// Longest time from a dial to the greeting before the attempt counts as failed.
    /// `None`: no limit. Default 10 s.
    pub connect_timeout: Option<Duration>,
    /// Interval of keep-alive frames while ready. `None`, the default: only
    /// [`Client::send_keep_alive`] sends them. Zero means `None`, because a driver would do
    /// nothing but send them.
    pub keep_alive_interval: Option<Duration>,
    /// Longest time without a byte from the server before the connection counts as lost. `None`,
    /// the default: no limit. Zero means `None`, as above.
    ///
    /// After half of it the client sends a probe: a message to itself on topic 0xFFFE, which every
    /// server returns, and which the application does not see.
    pub silence_timeout: Option<Duration>,
    /// Seed of the random part of waiting times. Must differ between clients: take it from the
    /// system's entropy.
    pub jitter_seed: u64,
}

impl ClientConfig {
    fn next_keep_alive(&self, now: Instant) -> Option<Instant> {
        let interval = self.keep_alive_interval.filter(|interval| !interval.is_zero())?;
        now.checked_add(interval)
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            reconnect_attempts: 10,
            connect_timeout: Some(Duration::from_secs(10)),
            keep_alive_interval: None,
            silence_timeout: None,
            jitter_seed: 0,
        }
    }
}

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

/// What the driver must do, in the order of [`Client::poll_output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect a transport, then call `handle_connected` or `handle_disconnected`.
    Dial,
    /// Write these bytes to the transport.
    Transmit(Bytes),
    /// Close the transport once all bytes before are written, and report nothing more of it.
    HangUp,
    /// Pass this on to the application.
    Event(ClientEvent),
}

/// An event for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server has given the client a new id.
    Connected {
        /// The id by which others reach this client, until the connection is lost.
        id: PeerId,
    },
    /// A message has arrived.
    Message(MessageIn),
    /// There is no connection. The client will dial again.
    Disconnected {
        /// Why there is none.
        reason: DisconnectReason,
        /// When the next dial is due.
        retry_at: Instant,
    },
    /// The client is closed for good.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// State of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Dialing, or waiting for the greeting.
    Connecting,
    /// Greeted: it has an id and can send.
    Ready,
    /// Waiting to dial again.
    Waiting,
    /// Closed for good.
    Closed,
}

/// Why a connection ended or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The transport could not be connected.
    DialFailed,
    /// The transport ended.
    ConnectionLost,
    /// No greeting arrived within [`ClientConfig::connect_timeout`].
    TimedOut,
    /// The server sent a frame shorter than a header, which no waddell server does.
    ServerMisbehaved,
    /// The server sent nothing for [`ClientConfig::silence_timeout`], not even the probe.
    Silent,
}

impl DisconnectReason {
    /// Returns the text that `Display` writes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DialFailed => "could not connect",
            Self::ConnectionLost => "the connection was lost",
            Self::TimedOut => "the server did not greet in time",
            Self::ServerMisbehaved => {
                "the server sent a frame shorter than a header; is it a waddell server?"
            }
            Self::Silent => "the server did not answer",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a client is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// [`Client::close`] was called.
    ByApplication,
    /// One more dial failed than [`ClientConfig::reconnect_attempts`] allows.
    AttemptsExhausted {
        /// Why the last dial failed.
        last: DisconnectReason,
    },
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByApplication => f.write_str("the client was closed"),
            Self::AttemptsExhausted { last } => {
                write!(f, "no reconnect attempt is left: {last}")
            }
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no connection right now; wait for [`ClientEvent::Connected`].
    NotConnected,
    /// The client is closed for good.
    Closed,
    /// The body is longer than a frame can carry.
    BodyTooLong(BodyTooLong),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected"),
            Self::Closed => f.write_str("the client is closed"),
            Self::BodyTooLong(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}

impl From<BodyTooLong> for SendError {
    fn from(error: BodyTooLong) -> Self {
        Self::BodyTooLong(error)
    }
}

/// Pseudo-random numbers (SplitMix64) that spread the dials of clients of the same server.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    /// Returns `delay` plus up to half of it.
    fn stretch(&mut self, delay: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 16 random bits of half the delay; delays are at most MAX_RETRY_DELAY.
        delay + delay * (z & 0xffff) as u32 / 0x2_0000
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
