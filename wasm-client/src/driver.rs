//! Driver of the core's client and inbox: one WebSocket and one timer.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use js_sys::{Array, Math, Uint8Array};
use waddell_core::{
    Arrival, BodyTooLong, Client, ClientConfig, ClientEvent, ClientState, CloseReason, Credentials,
    DisconnectReason, Inbox, InboxConfig, Instant, MAX_BODY_LEN, MessageIn, MessageOut, Output,
    PeerId, SendError, TopicId,
};
use wasm_bindgen::JsValue;
use web_sys::{MessageEvent, WebSocket};

use crate::socket::Socket;
use crate::timer::{Timer, from_ms, now, to_ms};
use crate::{Handler, WaddellError, disconnect_error, to_js};

/// An application's options, checked by `client.js`. Infinity: no limit, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) reconnect_attempts: f64,
    pub(crate) connect_timeout_ms: f64,
    pub(crate) keep_alive_ms: f64,
    pub(crate) max_buffered_amount: f64,
}

/// Passes events of a WebSocket and a timer to a [`Client`], and performs its outputs.
///
/// JavaScript may call the driver while the driver calls JavaScript. So no `RefCell` is borrowed
/// during such a call: values are taken or cloned out first.
pub(crate) struct Driver {
    /// The client's callbacks, until it is closed. They keep the application's object alive.
    handler: RefCell<Option<Rc<Handler>>>,
    client: RefCell<Client>,
    inbox: RefCell<Inbox>,
    /// The transport of the latest dial, until it is hung up or lost.
    socket: RefCell<Option<Socket>>,
    /// Number of sockets so far.
    sockets: Cell<u32>,
    /// `None` once the client is closed.
    timer: RefCell<Option<Timer>>,
    /// The latest socket's close event, until the client reports the loss; else `undefined`.
    close_event: RefCell<JsValue>,
    /// Whether a caller further up the stack is draining the client's outputs.
    draining: Cell<bool>,
    /// Bytes of accepted frames that were not passed to the socket yet.
    unsent: Cell<usize>,
    max_buffered_amount: f64,
    me: Weak<Self>,
}

impl Driver {
    /// Makes a driver that dials when it is first drained.
    pub(crate) fn new(handler: Handler, config: Config) -> Rc<Self> {
        let Config { reconnect_attempts, connect_timeout_ms, keep_alive_ms, .. } = config;
        let client_config = ClientConfig {
            // Casts of floats saturate: infinity becomes u32::MAX, which is no limit in the core.
            reconnect_attempts: reconnect_attempts as u32,
            connect_timeout: connect_timeout_ms.is_finite().then(|| from_ms(connect_timeout_ms)),
            keep_alive_interval: keep_alive_ms.is_finite().then(|| from_ms(keep_alive_ms)),
            silence_timeout: None,
            extension: false,
            resume: false,
            ice: false,
            credentials: Credentials::None,
            addresses: 1,
            jitter_seed: (Math::random() * u64::MAX as f64) as u64,
        };
        Rc::new_cyclic(|me: &Weak<Self>| {
            let driver = me.clone();
            let timer = Timer::new(move || {
                if let Some(driver) = driver.upgrade() {
                    driver.timer_fired();
                }
            });
            Self {
                handler: RefCell::new(Some(Rc::new(handler))),
                client: RefCell::new(Client::new(client_config, now())),
                inbox: RefCell::new(Inbox::new(InboxConfig::default())),
                socket: RefCell::new(None),
                sockets: Cell::new(0),
                timer: RefCell::new(Some(timer)),
                close_event: RefCell::new(JsValue::UNDEFINED),
                draining: Cell::new(false),
                unsent: Cell::new(0),
                max_buffered_amount: config.max_buffered_amount,
                me: me.clone(),
            }
        })
    }

    /// Sends a message whose body is `parts` joined.
    pub(crate) fn send(
        &self,
        to: &str,
        topic: TopicId,
        parts: &Array<Uint8Array>,
    ) -> Result<(), WaddellError> {
        let to: PeerId = to.parse().map_err(|_| {
            WaddellError::new("invalid-peer-id", "a peer id is a UUID such as client.id")
        })?;
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

        let frame_len = message.frame_len();
        if self.client.borrow().state() == ClientState::Ready {
            let buffered = self.buffered_amount();
            if buffered > 0.0 && buffered + frame_len as f64 > self.max_buffered_amount {
                return Err(WaddellError::new(
                    "buffer-full",
                    "the send buffer is full: try again later",
                ));
            }
        }
        self.step(|client, _| {
            client.send(&message)?;
            self.unsent.set(self.unsent.get() + frame_len);
            Ok(())
        })
        .map_err(send_error)
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
    pub(crate) fn lost(&self, topic: TopicId) -> u64 {
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
        let due = self.client.borrow().poll_timeout();
        if let Some(timer) = &mut *self.timer.borrow_mut() {
            timer.set(due);
        }
    }

    /// Handles a socket's open event.
    pub(crate) fn socket_opened(&self, number: u32) {
        if self.is_current(number) {
            self.step(Client::handle_connected);
        }
    }

    /// Handles a socket's message event.
    pub(crate) fn socket_received(&self, number: u32, data: &JsValue) {
        if data.is_string() {
            // No waddell server sends text, so this is not a stream of frames.
            self.socket_closed(number, JsValue::UNDEFINED);
            return;
        }
        let bytes = Uint8Array::new(data);
        let mut rest = 0..bytes.length();
        // WebAssembly memory never shrinks, so a giant message is copied in pieces. A listener may
        // hang up between two of them.
        while !rest.is_empty() && self.is_current(number) {
            let end = rest.end.min(rest.start.saturating_add(PIECE_LEN));
            let mut piece = bytes.subarray(rest.start, end).to_vec();
            rest.start = end;
            self.step(|client, now| client.handle_bytes(&mut piece, now));
        }
    }

    /// Handles a socket's close event, or with `undefined` a socket that is useless from here on.
    pub(crate) fn socket_closed(&self, number: u32, close_event: JsValue) {
        if self.is_current(number) {
            self.close_event.replace(close_event);
            self.hang_up();
            self.step(Client::handle_disconnected);
        }
    }

    fn timer_fired(&self) {
        if let Some(timer) = &mut *self.timer.borrow_mut() {
            timer.fired();
        }
        self.step(Client::handle_timeout);
    }

    fn perform(&self, output: Output) {
        match output {
            Output::Dial => self.dial(),
            Output::Transmit(bytes) => self.transmit(&bytes),
            Output::HangUp => self.hang_up(),
            Output::Event(event) => self.emit(event),
        }
    }

    fn dial(&self) {
        self.hang_up();
        let Some(handler) = self.handler() else { return };
        match handler.dial() {
            Ok(web_socket) => {
                let number = self.sockets.get().wrapping_add(1);
                self.sockets.set(number);
                *self.socket.borrow_mut() = Some(self.listen(web_socket, number));
            }
            // The WebSocket constructor refused the address. It would do so again.
            Err(_) => self.client.borrow_mut().close(),
        }
    }

    /// Makes the socket whose callbacks call this driver. They hold it weakly: it owns them.
    fn listen(&self, web_socket: WebSocket, number: u32) -> Socket {
        let on_open = {
            let driver = self.me.clone();
            move || {
                if let Some(driver) = driver.upgrade() {
                    driver.socket_opened(number);
                }
            }
        };
        let on_message = {
            let driver = self.me.clone();
            move |event: MessageEvent| {
                if let Some(driver) = driver.upgrade() {
                    driver.socket_received(number, &event.data());
                }
            }
        };
        let on_close = {
            let driver = self.me.clone();
            move |close_event| {
                if let Some(driver) = driver.upgrade() {
                    driver.socket_closed(number, close_event);
                }
            }
        };
        Socket::new(web_socket, number, on_open, on_message, on_close)
    }

    fn transmit(&self, bytes: &[u8]) {
        self.unsent.set(self.unsent.get().saturating_sub(bytes.len()));
        let socket = self.socket.borrow().as_ref().map(|s| (s.number(), s.web_socket()));
        let Some((number, web_socket)) = socket else { return };
        // Copy the bytes: an implementation may read them later, when wasm's memory has changed.
        if web_socket.send_with_js_u8_array(&Uint8Array::from(bytes)).is_err() {
            self.socket_closed(number, JsValue::UNDEFINED);
        }
    }

    fn hang_up(&self) {
        let socket = self.socket.borrow_mut().take();
        drop(socket);
    }

    fn emit(&self, event: ClientEvent) {
        let Some(handler) = self.handler() else { return };
        // The handler's methods throw nothing. JavaScript's event dispatch reports the errors of
        // listeners.
        let _ = match event {
            ClientEvent::Connected { id } => {
                handler.connected(id.encode_text(&mut [0; PeerId::TEXT_LEN]))
            }
            ClientEvent::Message(message) => self.deliver(&handler, message),
            // They come of the extension and of checked messages only.
            ClientEvent::Extended(_)
            | ClientEvent::Checked { .. }
            | ClientEvent::Undelivered(_)
            | ClientEvent::Peer(_)
            | ClientEvent::NotExtended
            | ClientEvent::Renamed { .. }
            | ClientEvent::Restarting(_)
            | ClientEvent::CredentialsDue
            | ClientEvent::IceServers(_)
            | ClientEvent::Closing { .. } => Ok(()),
            ClientEvent::Disconnected { reason, retry_at } => {
                let retry_in_ms = to_ms(retry_at - now());
                handler.disconnected(self.disconnect_error(reason), retry_in_ms)
            }
            ClientEvent::Closed { reason } => {
                self.hang_up();
                let timer = self.timer.borrow_mut().take();
                drop(timer);
                let handler_of_a_closed_client = self.handler.borrow_mut().take();
                drop(handler_of_a_closed_client);
                handler.closed(match reason {
                    CloseReason::ByApplication | CloseReason::NoCredentials => None,
                    CloseReason::ByServer(code) => {
                        Some(self.disconnect_error(DisconnectReason::ClosedByServer(code)))
                    }
                    CloseReason::AttemptsExhausted { last } => Some(self.disconnect_error(last)),
                })
            }
        };
    }

    /// Returns the error of a connection that ended, with what its close event says.
    fn disconnect_error(&self, reason: DisconnectReason) -> WaddellError {
        let close_event = self.close_event.replace(JsValue::UNDEFINED);
        disconnect_error(code_of(reason), reason.as_str(), &close_event)
    }

    /// Passes a message to the topic's listeners, and queues it if the handler says so.
    fn deliver(&self, handler: &Handler, message: MessageIn) -> Result<(), JsValue> {
        if handler.message(message.topic.0, to_js(&message))? {
            // The inbox counts what it drops.
            let _: Arrival = self.inbox.borrow_mut().push(message);
        }
        Ok(())
    }

    /// Returns the number of unsent bytes.
    fn buffered_amount(&self) -> f64 {
        let web_socket = self.socket.borrow().as_ref().map(Socket::web_socket);
        let in_socket =
            web_socket.map_or(0.0, |web_socket| f64::from(web_socket.buffered_amount()));
        in_socket + self.unsent.get() as f64
    }

    fn handler(&self) -> Option<Rc<Handler>> {
        self.handler.borrow().clone()
    }

    fn is_current(&self, number: u32) -> bool {
        self.socket.borrow().as_ref().is_some_and(|socket| socket.number() == number)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Returns the error code of a reason.
fn code_of(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::DialFailed => "dial-failed",
        DisconnectReason::TimedOut | DisconnectReason::Silent => "timed-out",
        DisconnectReason::ServerMisbehaved => "server-misbehaved",
        DisconnectReason::ConnectionLost
        | DisconnectReason::ClosedByServer(_)
        | DisconnectReason::Rotated => "connection-lost",
    }
}

// The messages are fixed texts: code that formats numbers would be a twentieth of the module.
fn send_error(error: SendError) -> WaddellError {
    let (code, message) = match error {
        SendError::Closed => ("closed", "the client is closed"),
        SendError::BodyTooLong(_) => {
            ("body-too-long", "the body is longer than 65517 bytes, the most that fits in a frame")
        }
        SendError::NotConnected => ("not-connected", "not connected: wait for the id event"),
        SendError::TooManyChecked => ("buffer-full", "too many messages without an outcome"),
    };
    WaddellError::new(code, message)
}

/// How many bytes of a WebSocket message are copied into wasm's memory at a time.
const PIECE_LEN: u32 = 64 * 1024;
