//! Driver of the core's client and inbox: one WebSocket and one timer, both in JavaScript.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use js_sys::Math;
use waddell_core::{
    Arrival, Client, ClientConfig, ClientEvent, ClientState, CloseCode, CloseReason, Credentials,
    Delivery, DisconnectReason, DropReason, Inbox, InboxConfig, Instant, MessageIn, MessageOut,
    Output, PeerId, PeerNotice, Restarting, SendError, TopicId, Undelivered,
};

use crate::Handler;
use crate::clock::{from_ms, now, to_ms};

/// An application's options, checked by `client.js`. Infinity: no limit, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) reconnect_attempts: f64,
    pub(crate) connect_timeout_ms: f64,
    pub(crate) keep_alive_ms: f64,
    pub(crate) silence_timeout_ms: f64,
    pub(crate) max_buffered_amount: f64,
    pub(crate) extension: bool,
    pub(crate) resume: bool,
    pub(crate) ice: bool,
    pub(crate) credentials: Credentials,
    pub(crate) addresses: usize,
}

/// Passes events of a WebSocket and a timer to a [`Client`], and performs its outputs.
///
/// JavaScript may call the driver while the driver calls JavaScript. So no `RefCell` is borrowed
/// during such a call: values are taken or cloned out first.
pub(crate) struct Driver {
    /// The transport, the timer and the client's callbacks, until the client is closed. They keep
    /// the application's object alive.
    handler: RefCell<Option<Rc<Handler>>>,
    client: RefCell<Client>,
    inbox: RefCell<Inbox>,
    /// When the timer is due; `None`: it is not set.
    timer: Cell<Option<Instant>>,
    /// Whether a caller further up the stack is draining the client's outputs.
    draining: Cell<bool>,
    /// Bytes of accepted frames that were not passed to the socket yet.
    unsent: Cell<usize>,
    max_buffered_amount: f64,
}

impl Driver {
    /// Makes a driver that dials when it is first drained.
    pub(crate) fn new(handler: Handler, config: Config) -> Self {
        let limit = |ms: f64| ms.is_finite().then(|| from_ms(ms));
        let client_config = ClientConfig {
            // Casts of floats saturate: infinity becomes u32::MAX, which is no limit in the core.
            reconnect_attempts: config.reconnect_attempts as u32,
            connect_timeout: limit(config.connect_timeout_ms),
            keep_alive_interval: limit(config.keep_alive_ms),
            silence_timeout: limit(config.silence_timeout_ms),
            extension: config.extension,
            resume: config.resume,
            ice: config.ice,
            credentials: config.credentials,
            addresses: config.addresses,
            jitter_seed: (Math::random() * u64::MAX as f64) as u64,
        };
        Self {
            handler: RefCell::new(Some(Rc::new(handler))),
            client: RefCell::new(Client::new(client_config, now())),
            inbox: RefCell::new(Inbox::new(InboxConfig::default())),
            timer: Cell::new(None),
            draining: Cell::new(false),
            unsent: Cell::new(0),
            max_buffered_amount: config.max_buffered_amount,
        }
    }

    /// Performs a command of `commands.js`. Returns its answer, if it has one.
    pub(crate) fn call(&self, command: u8, argument: u16) -> bool {
        if command == TIMER_FIRED {
            self.timer.set(None);
        }
        self.step(|client, now| {
            match command {
                RETRY_NOW => client.retry_now(now),
                ROTATE => client.rotate(now),
                CLOSE => client.close(),
                OPENED => client.handle_connected(now),
                UPGRADED => client.handle_upgraded(now),
                LOST => client.handle_closed(CloseCode(argument), now),
                TIMER_FIRED => client.handle_timeout(now),
                FIND_EXTENSION => client.find_extension(now),
                REQUEST_ICE_SERVERS => return client.request_ice_servers(),
                _drain => {}
            }
            false
        })
    }

    /// Sends a message. Returns its ticket if it is checked, 0 if it is not, or minus the number
    /// of an error in `errors.js`.
    ///
    /// [`drain`](Self::drain) sends a checked one: until then the caller can get ready for the
    /// outcome.
    pub(crate) fn send(&self, message: &MessageOut, checked: bool) -> f64 {
        if !self.has_room(message) {
            return -BUFFER_FULL;
        }
        let sent = {
            let mut client = self.client.borrow_mut();
            if checked {
                client.send_checked(message, now()).map(|ticket| ticket.number() as f64)
            } else {
                client.send(message).map(|()| 0.0)
            }
        };
        match sent {
            Ok(ticket) => {
                self.unsent.set(self.unsent.get() + message.frame_len());
                if !checked {
                    self.drain();
                }
                ticket
            }
            Err(error) => -send_error(error),
        }
    }

    /// Returns whether the send buffer has room for a message.
    fn has_room(&self, message: &MessageOut) -> bool {
        if self.client.borrow().state() != ClientState::Ready {
            return true;
        }
        let Some(handler) = self.handler() else { return true };
        let buffered = handler.buffered_amount() + self.unsent.get() as f64;
        buffered <= 0.0 || buffered + message.frame_len() as f64 <= self.max_buffered_amount
    }

    /// Sets the credentials. With `now`, gives them to the server of the present connection.
    pub(crate) fn set_credentials(&self, credentials: &[u8], now: bool) {
        let set = self.step(|client, _| {
            if now { client.authenticate(credentials) } else { client.set_credentials(credentials) }
        });
        debug_assert!(set.is_ok(), "options.js checks the length");
    }

    /// Returns the body of the HELLO for the upgrade to WebSocket.
    pub(crate) fn upgrade_hello(&self) -> Option<Vec<u8>> {
        self.client.borrow_mut().upgrade_hello()
    }

    /// Opens a topic: from here on its messages are queued for the application.
    pub(crate) fn open_topic(&self, topic: TopicId) {
        self.inbox.borrow_mut().open(topic);
    }

    /// Removes and returns the oldest message of an open topic.
    pub(crate) fn pop(&self, topic: TopicId) -> Option<MessageIn> {
        self.inbox.borrow_mut().pop(topic)
    }

    /// Returns how many messages of an open topic were dropped because it was full.
    pub(crate) fn lost_messages(&self, topic: TopicId) -> u64 {
        self.inbox.borrow().lost(topic)
    }

    /// Returns whether the client is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.borrow().state() == ClientState::Closed
    }

    /// Calls the client, then performs its outputs.
    pub(crate) fn step<T>(&self, call: impl FnOnce(&mut Client, Instant) -> T) -> T {
        let result = call(&mut self.client.borrow_mut(), now());
        self.drain();
        result
    }

    /// Performs the client's outputs in order, then sets the timer.
    ///
    /// A listener may call the client again, to send or to close. Such a nested call leaves its
    /// outputs to the outer loop: else the second listener of an event would get a later event
    /// first.
    pub(crate) fn drain(&self) {
        if self.draining.replace(true) {
            return;
        }
        loop {
            let output = self.client.borrow_mut().poll_output();
            let Some(output) = output else { break };
            self.perform(output);
        }
        self.draining.set(false);
        self.set_timer();
    }

    fn set_timer(&self) {
        let due = self.client.borrow().poll_timeout();
        if self.timer.replace(due) != due
            && let Some(handler) = self.handler()
        {
            handler.set_timer(due.map_or(f64::INFINITY, |due| to_ms(due - now())));
        }
    }

    fn perform(&self, output: Output) {
        let Some(handler) = self.handler() else { return };
        match output {
            Output::Dial => {
                let address = self.client.borrow().address();
                handler.dial(address);
            }
            Output::Transmit(bytes) => {
                self.unsent.set(self.unsent.get().saturating_sub(bytes.len()));
                handler.transmit(&bytes);
            }
            Output::HangUp => handler.hang_up(),
            Output::Event(event) => self.emit(&handler, event),
        }
    }

    /// Reports an event to the method of `client.js` with that name. The handler's methods throw
    /// nothing. JavaScript's event dispatch reports the errors of listeners.
    fn emit(&self, handler: &Handler, event: ClientEvent) {
        let text = &mut [0; PeerId::TEXT_LEN];
        let (name, first, second, [a, b, c]) = match &event {
            ClientEvent::Message(message) => {
                let from = message.from.encode_text(text);
                if handler.message(from, message.topic.0, &message.body)
                    && let ClientEvent::Message(message) = event
                {
                    // The inbox counts what it drops.
                    let _: Arrival = self.inbox.borrow_mut().push(message);
                }
                return;
            }
            ClientEvent::Connected { id } => {
                let extension = self.client.borrow().extension();
                let resumed = extension.is_some_and(|extension| extension.resumed);
                let why = extension.and_then(|extension| extension.not_resumed);
                let why = why.map_or(0, |why| why as u8);
                ("connected", id.encode_text(text), "", [resumed.into(), why.into(), 0.0])
            }
            ClientEvent::Renamed { id } => ("renamed", id.encode_text(text), "", [0.0; 3]),
            ClientEvent::Extended(extension) => {
                ("extended", "", "", [extension.granted.bits().into(), 0.0, 0.0])
            }
            ClientEvent::Checked { ticket, outcome } => {
                let (outcome, message) = match outcome {
                    Ok(Delivery::Forwarded) => ("forwarded", ""),
                    Ok(Delivery::Sent) => ("sent", ""),
                    Err(error) => (undelivered_code(*error), error.as_str()),
                };
                ("checked", outcome, message, [ticket.number() as f64, 0.0, 0.0])
            }
            ClientEvent::Undelivered(dropped) => {
                let to = dropped.recipient.encode_text(text);
                let exact = dropped.is_exact().into();
                let numbers = [dropped.topic.0.into(), dropped.count.into(), exact];
                ("undelivered", to, drop_code(dropped.reason), numbers)
            }
            ClientEvent::Peer(PeerNotice { id, state, lost }) => {
                let state = *state as u8;
                ("peer", id.encode_text(text), "", [state.into(), (*lost).into(), 0.0])
            }
            ClientEvent::NotExtended => ("notExtended", "", "", [0.0; 3]),
            ClientEvent::Restarting(Restarting { in_ms, wait_ms, spread_ms, .. }) => {
                let wait_ms = f64::from(*wait_ms) + f64::from(*spread_ms);
                ("restarting", "", "", [(*in_ms).into(), wait_ms, 0.0])
            }
            ClientEvent::Closing { code, reason } => {
                ("closing", &reason[..], "", [code.0.into(), 0.0, 0.0])
            }
            ClientEvent::IceServers(ice) => {
                ("iceServers", &ice.json[..], "", [to_ms(ice.valid_for), 0.0, 0.0])
            }
            ClientEvent::CredentialsDue => ("credentialsDue", "", "", [0.0; 3]),
            ClientEvent::Disconnected { reason, retry_at } => {
                let retry_in_ms = to_ms(*retry_at - now());
                ("disconnected", code_of(*reason), reason.as_str(), [retry_in_ms, 0.0, 0.0])
            }
            ClientEvent::Closed { reason } => {
                let handler_of_a_closed_client = self.handler.borrow_mut().take();
                drop(handler_of_a_closed_client);
                let (code, message, is_exhausted) = match *reason {
                    CloseReason::ByApplication | CloseReason::NoCredentials => ("", "", false),
                    CloseReason::ByServer(code) => {
                        let (code, message) = refusal(code);
                        (code, message, false)
                    }
                    CloseReason::AttemptsExhausted { last } => (code_of(last), last.as_str(), true),
                };
                ("closed", code, message, [is_exhausted.into(), 0.0, 0.0])
            }
        };
        handler.report(name, first, second, a, b, c);
    }

    fn handler(&self) -> Option<Rc<Handler>> {
        self.handler.borrow().clone()
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Returns the error code of a message that was not delivered, or may not have been.
fn undelivered_code(error: Undelivered) -> &'static str {
    match error {
        Undelivered::Dropped(reason) => drop_code(reason),
        Undelivered::MaybeDropped => "not-delivered",
        Undelivered::Lost => "recipient-lost",
        Undelivered::NotHandled => "not-handled",
        Undelivered::ConnectionLost => "connection-lost",
    }
}

fn drop_code(reason: DropReason) -> &'static str {
    match reason {
        DropReason::UnknownRecipient => "unknown-recipient",
        DropReason::RecipientAway => "recipient-away",
        DropReason::RecipientFull => "recipient-full",
        DropReason::ServerFull => "server-full",
        DropReason::Various
        | DropReason::TooFast
        | DropReason::ShortFrame
        | DropReason::ReservedRecipient
        | DropReason::Refused
        | DropReason::NodeUnreachable => "not-delivered",
    }
}

/// Returns the code and the text of the error of a client that the server does not serve.
fn refusal(code: CloseCode) -> (&'static str, &'static str) {
    match code {
        CloseCode::UNAUTHORIZED => ("unauthorized", "the server does not accept the token"),
        CloseCode::CREDENTIALS_EXPIRED => ("token-expired", "the token has expired"),
        _ => ("refused", "the server does not serve this client"),
    }
}

/// Returns the error code of a reason.
fn code_of(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::DialFailed => "dial-failed",
        DisconnectReason::TimedOut | DisconnectReason::Silent => "timed-out",
        DisconnectReason::ServerMisbehaved => "server-misbehaved",
        DisconnectReason::ClosedByServer(CloseCode::SUPERSEDED) => "superseded",
        DisconnectReason::Rotated => "rotated",
        DisconnectReason::ConnectionLost | DisconnectReason::ClosedByServer(_) => "connection-lost",
    }
}

/// Returns the number of an error of `errors.js`.
fn send_error(error: SendError) -> f64 {
    match error {
        SendError::Closed => 1.0,
        SendError::BodyTooLong(_) => 2.0,
        SendError::NotConnected => 3.0,
        SendError::TooManyChecked => 4.0,
    }
}

const BUFFER_FULL: f64 = 5.0;

// The commands of `commands.js`. Others only drain.
const RETRY_NOW: u8 = 1;
const ROTATE: u8 = 2;
const CLOSE: u8 = 3;
const OPENED: u8 = 4;
const UPGRADED: u8 = 5;
const LOST: u8 = 6;
const TIMER_FIRED: u8 = 7;
const FIND_EXTENSION: u8 = 8;
const REQUEST_ICE_SERVERS: u8 = 9;
