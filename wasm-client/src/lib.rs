//! The waddell client for JavaScript: browsers, workers and Node.
//!
//! ```text
//!   waddell.js   the package's module, and a map of the other JavaScript files
//!   client.js    the public class Client
//!   topic.js     the public class Topic
//!   socket.js    one WebSocket, whose events go to a driver
//!   imports.js   what Rust imports; the public class WaddellError
//!   commands.js  numbers of what a driver is told
//!   lib.rs       bindings between JavaScript and Rust
//!   driver.rs    the core's client and inbox, driven by a socket and a timer
//!   clock.rs     the clock
//! ```
//!
//! The public classes are written in JavaScript, because classes in Rust cannot extend
//! `EventTarget`. They contain no rule of the protocol; all rules are in `waddell_core`.

// std formats the message of a panic, although it is shown nowhere. That code would be an eighth
// of the module.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod clock;
mod driver;

use alloc::vec::Vec;

use waddell_core::{Credentials, MessageIn, MessageOut, PeerId, TopicId};
use wasm_bindgen::prelude::*;

use crate::driver::{Config, Driver};

/// Without std there is none.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Ends a panic as a `WebAssembly.RuntimeError`.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[wasm_bindgen(module = "/src/imports.js")]
extern "C" {
    // Exports the class from the bindings. It is declared as a function, which is never called,
    // because wasm-bindgen has no `reexport` for classes.
    #[wasm_bindgen(js_name = WaddellError, reexport, skip_typescript)]
    fn waddell_error_class();

    /// Makes an application's message object. Copies the body.
    #[wasm_bindgen(reexport, skip_typescript)]
    fn received(from: &str, topic: u16, body: &[u8]) -> JsValue;

    /// What a driver calls: the transport, the timer, and a `Client`'s callbacks. The driver holds
    /// no borrow then, so each of them may call the driver again.
    pub type Handler;

    /// Makes a WebSocket to one of the addresses, which reports to the driver.
    #[wasm_bindgen(method)]
    pub(crate) fn dial(this: &Handler, address: usize);

    /// Sends bytes, which are valid during the call only.
    #[wasm_bindgen(method)]
    pub(crate) fn transmit(this: &Handler, bytes: &[u8]);

    #[wasm_bindgen(method, js_name = hangUp)]
    pub(crate) fn hang_up(this: &Handler);

    /// Returns how many bytes wait in the socket.
    #[wasm_bindgen(method, getter, js_name = bufferedAmount)]
    pub(crate) fn buffered_amount(this: &Handler) -> f64;

    /// Sets when to call `timerFired`, in place of an earlier time. Infinity: never.
    #[wasm_bindgen(method, js_name = setTimer)]
    pub(crate) fn set_timer(this: &Handler, delay_ms: f64);

    /// Passes on a message, whose body is valid during the call only. Returns whether the inbox
    /// must keep it.
    #[wasm_bindgen(method)]
    pub(crate) fn message(this: &Handler, from: &str, topic: u16, body: &[u8]) -> bool;

    /// Reports an event to the method of `client.js` with that name; `driver.rs` lists them.
    // One import for all of them: each one has glue in both languages.
    #[wasm_bindgen(method)]
    pub(crate) fn report(
        this: &Handler,
        event: &str,
        first_text: &str,
        second_text: &str,
        first_number: f64,
        second_number: f64,
        third_number: f64,
    );
}

/// A handle of a driver for `client.js`.
///
/// Every method takes `&self`, and none holds a borrow while JavaScript runs. So listeners may call
/// any of them at any time.
#[wasm_bindgen(js_name = Driver, skip_typescript)]
#[derive(Debug)]
pub struct DriverHandle(Driver);

#[wasm_bindgen(js_class = Driver)]
impl DriverHandle {
    /// Makes a driver from options that `client.js` has checked. `token_kind`: 0: none, 1: one that
    /// stays the same, 2: one that is renewed.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::too_many_arguments, reason = "an object would need a binding for each option")]
    pub fn new(
        handler: Handler,
        reconnect_attempts: f64,
        connect_timeout_ms: f64,
        keep_alive_ms: f64,
        silence_timeout_ms: f64,
        max_buffered_amount: f64,
        extension: bool,
        resume: bool,
        ice: bool,
        token_kind: u8,
        addresses: usize,
    ) -> Self {
        let config = Config {
            reconnect_attempts,
            connect_timeout_ms,
            keep_alive_ms,
            silence_timeout_ms,
            max_buffered_amount,
            extension,
            resume,
            ice,
            credentials: match token_kind {
                0 => Credentials::None,
                1 => Credentials::Fixed,
                _ => Credentials::Renewable,
            },
            addresses,
        };
        Self(Driver::new(handler, config))
    }

    /// Performs one of the commands of `commands.js`, then what the client is to do. Returns its
    /// answer, if it has one.
    // One export for all of them: each one has glue in both languages.
    pub fn call(&self, command: u8, argument: u16) -> bool {
        self.0.call(command, argument)
    }

    /// Sets the credentials for the next dials, 1 to 4,096 bytes. With `now`, it gives them to the
    /// server of the present connection, too.
    #[wasm_bindgen(js_name = setCredentials)]
    pub fn set_credentials(&self, credentials: &[u8], now: bool) {
        self.0.set_credentials(credentials, now);
    }

    /// Returns the body of the HELLO to send in the upgrade to WebSocket, if there is to be one.
    #[wasm_bindgen(js_name = upgradeHello)]
    pub fn upgrade_hello(&self) -> Option<Vec<u8>> {
        self.0.upgrade_hello()
    }

    /// Handles bytes that the socket has received.
    pub fn received(&self, mut bytes: Vec<u8>) {
        self.0.step(|client, now| client.handle_bytes(&mut bytes, now));
    }

    /// Sends a message to the peer with that id of 16 bytes. Returns 0, or minus the number of an
    /// error in `errors.js`.
    ///
    /// If it is `checked`, returns the ticket under which its outcome is to be reported. Call
    /// `DRAIN` next, which sends it.
    pub fn send(&self, to: &[u8], topic: u16, body: Vec<u8>, checked: bool) -> f64 {
        let message = MessageOut::new(peer_id(to), TopicId(topic), body);
        self.0.send(&message, checked)
    }

    /// Opens a topic: from here on its messages are queued for the application.
    #[wasm_bindgen(js_name = openTopic)]
    pub fn open_topic(&self, topic: u16) {
        self.0.open_topic(TopicId(topic));
    }

    /// Removes and returns the oldest message of an open topic.
    pub fn pop(&self, topic: u16) -> JsValue {
        self.0.pop(TopicId(topic)).map_or(JsValue::UNDEFINED, |message| to_js(&message))
    }

    /// Returns how many messages of an open topic were dropped because it was full.
    #[wasm_bindgen(js_name = lostMessages)]
    pub fn lost_messages(&self, topic: u16) -> f64 {
        self.0.lost_messages(TopicId(topic)) as f64
    }

    /// Watches the peer with that id of 16 bytes, or asks for its state again. Returns whether
    /// there is a place for it.
    pub fn watch(&self, id: &[u8]) -> bool {
        self.0.step(|client, now| client.watch(peer_id(id), now)).is_ok()
    }

    /// Stops watching a peer.
    pub fn unwatch(&self, id: &[u8]) {
        self.0.step(|client, _| client.unwatch(peer_id(id)));
    }

    /// Returns whether the client is closed, even if the `close` event is still to come.
    #[wasm_bindgen(getter)]
    pub fn closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Converts a message to an application's message object.
fn to_js(message: &MessageIn) -> JsValue {
    let from = &mut [0; PeerId::TEXT_LEN];
    received(message.from.encode_text(from), message.topic.0, &message.body)
}

/// Reads an id. `topic.js` makes its 16 bytes.
fn peer_id(bytes: &[u8]) -> PeerId {
    bytes.try_into().map_or(PeerId::NIL, PeerId::from_bytes)
}
