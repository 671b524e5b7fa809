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
mod commands;
pub(crate) mod config;
mod ending;
pub(crate) mod extension;
pub(crate) mod ice;
mod jitter;
mod life;
mod notices;
pub(crate) mod outcome;
pub(crate) mod output;
mod peers;
mod probe;
mod secret;
pub(crate) mod send_error;
mod session;
mod silence;
pub(crate) mod watch_error;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use checked::Checked;
use config::ClientConfig;
use ending::Ending;
use extension::Extension;
use jitter::Jitter;
use life::WELCOME_TIMEOUT;
use output::{ClientEvent, ClientState, DisconnectReason, Output};
use peers::Peers;
use probe::Probe;
use session::Session;
use silence::{Silence, Verdict};

use crate::control::{Capabilities, CloseCode, control_body};
use crate::frame::FrameDecoder;
use crate::id::PeerId;
use crate::message::{KEEP_ALIVE_FRAME, MessageIn};
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
    /// Empty in every state without a connection.
    decoder: FrameDecoder,
    outputs: VecDeque<Output>,
    /// Number of connections in a row that were lost before [`life::STABLE_AFTER`]. It slows down
    /// the dials to a server that greets and closes at once; else they would be a tight loop.
    short_lived: u32,
    jitter: Jitter,
    session: Session,
    checked: Checked,
    peers: Peers,
    ending: Ending,
    /// Number of the address to dial.
    address: usize,
    /// Whether something has happened since the last look at what is to be asked.
    may_ask: bool,
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
            may_ask: false,
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
        while self.is_connected() {
            // The decoder takes every length, so its error cannot occur.
            let Ok(Some(frame)) = self.decoder.next_frame(&mut input) else { return };
            let payload = frame.payload();
            // Most ids do not begin with a zero byte.
            if payload.first() == Some(&0)
                && self.session.said_hello()
                && let Some(body) = control_body(payload)
            {
                // Control frames are few, and short.
                let body = body.to_vec();
                self.handle_control(&body, now);
                continue;
            }
            match MessageIn::decode(payload) {
                Ok(message) => self.handle_message(message, now),
                Err(_short) => self.hang_up(DisconnectReason::ServerMisbehaved, now),
            }
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
                self.may_ask = true;
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

    /// Returns what the driver must do next; `None` if there is nothing more to do yet.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.may_ask && self.outputs.is_empty() {
            self.may_ask = false;
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
}

#[cfg(test)]
mod tests;
