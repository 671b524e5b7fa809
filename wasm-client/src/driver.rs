//! Driver of the core's client and inbox: one WebSocket and one timer, both in JavaScript.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use js_sys::{Array, Math, Uint8Array};
use waddell_core::{
    Arrival, BodyTooLong, Client, ClientConfig, ClientEvent, ClientState, CloseReason, Credentials,
    Delivery, Inbox, InboxConfig, Instant, MAX_BODY_LEN, MessageIn, MessageOut, Output, PeerId,
    PeerNotice, Restarting, SendError, Ticket, TooManyWatched, TopicId,
};
use wasm_bindgen::JsValue;

use crate::clock::{from_ms, now, to_ms};
use crate::codes::{code_of, drop_code, refusal, send_error, undelivered_code};
use crate::handler::Handler;
use crate::{WaddellError, to_js};

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

    /// Sends a message whose body is `parts` joined.
    pub(crate) fn send(
        &self,
        to: &str,
        topic: TopicId,
        parts: &Array<Uint8Array>,
    ) -> Result<(), WaddellError> {
        let message = self.message(to, topic, parts)?;
        self.client.borrow_mut().send(&message).map_err(send_error)?;
        self.accepted(&message);
        self.drain();
        Ok(())
    }

    /// Accepts a message whose outcome is to be reported. [`drain`](Self::drain) sends it: until
    /// then the caller can get ready for the outcome.
    pub(crate) fn accept_checked(
        &self,
        to: &str,
        topic: TopicId,
        parts: &Array<Uint8Array>,
    ) -> Result<Ticket, WaddellError> {
        let message = self.message(to, topic, parts)?;
        let ticket = self.client.borrow_mut().send_checked(&message, now()).map_err(send_error)?;
        self.accepted(&message);
        Ok(ticket)
    }

    /// Makes a message whose body is `parts` joined, if there is room for it.
    fn message(
        &self,
        to: &str,
        topic: TopicId,
        parts: &Array<Uint8Array>,
    ) -> Result<MessageOut, WaddellError> {
        let to = parse_id(to)?;
        // Refuse a body that is too long before it is copied.
        let len =
            parts.iter().fold(0_usize, |len, part| len.saturating_add(part.length() as usize));
        if len > MAX_BODY_LEN {
            return Err(send_error(SendError::BodyTooLong(BodyTooLong { len })));
        }
        let mut body = Vec::with_capacity(len);
        for part in parts.iter() {
            body.extend(part.to_vec());
        }
        let message = MessageOut::new(to, topic, body);

        if self.client.borrow().state() == ClientState::Ready
            && let Some(handler) = self.handler()
        {
            let buffered = handler.buffered_amount() + self.unsent.get() as f64;
            let needed = buffered + message.frame_len() as f64;
            if buffered > 0.0 && needed > self.max_buffered_amount {
                return Err(WaddellError::new(
                    "buffer-full",
                    "the send buffer is full: try again later",
                ));
            }
        }
        Ok(message)
    }

    fn accepted(&self, message: &MessageOut) {
        self.unsent.set(self.unsent.get() + message.frame_len());
    }

    /// Watches a peer.
    pub(crate) fn watch(&self, id: &str) -> Result<(), WaddellError> {
        let id = parse_id(id)?;
        self.step(|client, now| client.watch(id, now)).map_err(|TooManyWatched| {
            let message = "64 peers are watched already: unwatch one of them first";
            WaddellError::new("too-many-watched", message)
        })
    }

    /// Stops watching a peer.
    pub(crate) fn unwatch(&self, id: &str) -> Result<(), WaddellError> {
        let id = parse_id(id)?;
        self.step(|client, _| client.unwatch(id));
        Ok(())
    }

    /// Sets the credentials for the next dials.
    pub(crate) fn set_credentials(&self, credentials: &[u8]) {
        let set = self.client.borrow_mut().set_credentials(credentials);
        debug_assert!(set.is_ok(), "options.js checks the length");
    }

    /// Sets the credentials, and gives them to the server of the present connection.
    pub(crate) fn authenticate(&self, credentials: &[u8]) {
        let set = self.step(|client, _| client.authenticate(credentials));
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

    /// Handles the timer. It may be early: it has a limit of its own.
    pub(crate) fn timer_fired(&self) {
        self.timer.set(None);
        self.step(Client::handle_timeout);
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

    fn emit(&self, handler: &Handler, event: ClientEvent) {
        let text = &mut [0; PeerId::TEXT_LEN];
        // The handler's methods throw nothing. JavaScript's event dispatch reports the errors of
        // listeners.
        let _ = match event {
            ClientEvent::Connected { id } => {
                let extension = self.client.borrow().extension();
                let resumed = extension.is_some_and(|extension| extension.resumed);
                let why = extension.and_then(|extension| extension.not_resumed);
                let id = id.encode_text(text);
                handler.connected(id, resumed, why.map_or(0, |why| why as u8))
            }
            ClientEvent::Renamed { id } => handler.renamed(id.encode_text(text)),
            ClientEvent::Message(message) => self.deliver(handler, message),
            ClientEvent::Extended(extension) => handler.extended(extension.granted.bits()),
            ClientEvent::Checked { ticket, outcome } => {
                let (outcome, message) = match outcome {
                    Ok(Delivery::Forwarded) => ("forwarded", None),
                    Ok(Delivery::Sent) => ("sent", None),
                    Err(error) => (undelivered_code(error), Some(error.as_str())),
                };
                handler.checked(ticket.number() as f64, outcome, message)
            }
            ClientEvent::Undelivered(dropped) => handler.undelivered(
                dropped.recipient.encode_text(text),
                dropped.topic.0,
                drop_code(dropped.reason),
                dropped.count,
                dropped.is_exact(),
            ),
            ClientEvent::Peer(PeerNotice { id, state, lost }) => {
                handler.peer(id.encode_text(text), state as u8, lost)
            }
            ClientEvent::NotExtended => handler.not_extended(),
            ClientEvent::Restarting(Restarting { in_ms, wait_ms, spread_ms, .. }) => {
                handler.restarting(in_ms, f64::from(wait_ms) + f64::from(spread_ms))
            }
            ClientEvent::Closing { code, reason } => handler.closing(code.0, &reason),
            ClientEvent::IceServers(ice) => handler.ice_servers(&ice.json, to_ms(ice.valid_for)),
            ClientEvent::CredentialsDue => handler.credentials_due(),
            ClientEvent::Disconnected { reason, retry_at } => {
                handler.disconnected(code_of(reason), reason.as_str(), to_ms(retry_at - now()))
            }
            ClientEvent::Closed { reason } => {
                let handler_of_a_closed_client = self.handler.borrow_mut().take();
                drop(handler_of_a_closed_client);
                match reason {
                    CloseReason::ByApplication | CloseReason::NoCredentials => {
                        handler.closed(None, None, false)
                    }
                    CloseReason::ByServer(close_code) => {
                        let (code, message) = refusal(close_code);
                        handler.closed(Some(code), Some(message), false)
                    }
                    CloseReason::AttemptsExhausted { last } => {
                        handler.closed(Some(code_of(last)), Some(last.as_str()), true)
                    }
                }
            }
        };
    }

    /// Passes a message to the topic's listeners, and queues it if the handler says so.
    fn deliver(&self, handler: &Handler, message: MessageIn) -> Result<(), JsValue> {
        if handler.message(message.topic.0, to_js(&message))? {
            // The inbox counts what it drops.
            let _: Arrival = self.inbox.borrow_mut().push(message);
        }
        Ok(())
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

fn parse_id(text: &str) -> Result<PeerId, WaddellError> {
    text.parse()
        .map_err(|_| WaddellError::new("invalid-peer-id", "a peer id is a UUID such as client.id"))
}
