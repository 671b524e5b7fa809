//! The waddell client for JavaScript: browsers, workers and Node.
//!
//! ```text
//!   waddell.js   the package's module, and a map of the other JavaScript files
//!   client.js    the public class Client
//!   topic.js     the public class Topic
//!   socket.js    one WebSocket, whose events go to a driver
//!   imports.js   what Rust imports; the public class WaddellError
//!   lib.rs       bindings between JavaScript and Rust
//!   driver.rs    the core's client and inbox, driven by a socket and a timer
//!   handler.rs   what the driver calls in JavaScript
//!   codes.rs     codes of errors
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
mod codes;
mod driver;
mod handler;

use alloc::vec::Vec;

use js_sys::{Array, Uint8Array};
use waddell_core::{Client, CloseCode, Credentials, MessageIn, PeerId, TopicId};
use wasm_bindgen::prelude::*;

use crate::driver::{Config, Driver};
use crate::handler::Handler;

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

    /// Class of every error of this package.
    pub(crate) type WaddellError;

    #[wasm_bindgen(constructor)]
    pub(crate) fn new(code: &str, message: &str) -> WaddellError;

    /// Makes an application's message object.
    fn received(from: &str, topic: u16, body: Uint8Array) -> JsValue;
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

    /// Performs what the client is to do: after `new`, it dials.
    pub fn drain(&self) {
        self.0.drain();
    }

    /// Sets the credentials for the next dials, 1 to 4,096 bytes.
    #[wasm_bindgen(js_name = setCredentials)]
    pub fn set_credentials(&self, credentials: &[u8]) {
        self.0.set_credentials(credentials);
    }

    /// Sets the credentials, and gives them to the server of the present connection.
    pub fn authenticate(&self, credentials: &[u8]) {
        self.0.authenticate(credentials);
    }

    /// Returns the body of the HELLO to send in the upgrade to WebSocket, if there is to be one.
    #[wasm_bindgen(js_name = upgradeHello)]
    pub fn upgrade_hello(&self) -> Option<Vec<u8>> {
        self.0.upgrade_hello()
    }

    /// Handles the socket's open event, and whether the server has read the HELLO in the upgrade.
    pub fn opened(&self, upgraded: bool) {
        self.0.step(if upgraded { Client::handle_upgraded } else { Client::handle_connected });
    }

    /// Handles bytes that the socket has received.
    pub fn received(&self, mut bytes: Vec<u8>) {
        self.0.step(|client, now| client.handle_bytes(&mut bytes, now));
    }

    /// Handles the loss of the socket, be it open or not. `code` is that of its close event, if
    /// there was one.
    pub fn lost(&self, code: u16) {
        self.0.step(|client, now| client.handle_closed(CloseCode(code), now));
    }

    /// Handles the timer. It may be early.
    #[wasm_bindgen(js_name = timerFired)]
    pub fn timer_fired(&self) {
        self.0.timer_fired();
    }

    /// Sends a message whose body is `parts` joined.
    ///
    /// # Errors
    ///
    /// A `WaddellError` if nothing was sent; its code is the reason.
    pub fn send(&self, to: &str, topic: u16, parts: Array<Uint8Array>) -> Result<(), JsValue> {
        self.0.send(to, TopicId(topic), &parts).map_err(JsValue::from)
    }

    /// Accepts a message whose body is `parts` joined. Its outcome is to be reported under the
    /// returned ticket. Call `drain` next, which sends it.
    ///
    /// # Errors
    ///
    /// A `WaddellError` if it was not accepted; its code is the reason.
    #[wasm_bindgen(js_name = acceptChecked)]
    pub fn accept_checked(
        &self,
        to: &str,
        topic: u16,
        parts: Array<Uint8Array>,
    ) -> Result<f64, JsValue> {
        let ticket = self.0.accept_checked(to, TopicId(topic), &parts).map_err(JsValue::from)?;
        Ok(ticket.number() as f64)
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

    /// Watches a peer. Asks for its state again if it is watched already.
    ///
    /// # Errors
    ///
    /// A `WaddellError`; its code is the reason.
    pub fn watch(&self, id: &str) -> Result<(), JsValue> {
        self.0.watch(id).map_err(JsValue::from)
    }

    /// Stops watching a peer.
    ///
    /// # Errors
    ///
    /// A `WaddellError` if that is no id.
    pub fn unwatch(&self, id: &str) -> Result<(), JsValue> {
        self.0.unwatch(id).map_err(JsValue::from)
    }

    /// Asks for ICE servers. Returns whether the server has any.
    #[wasm_bindgen(js_name = requestIceServers)]
    pub fn request_ice_servers(&self) -> bool {
        self.0.step(|client, _| client.request_ice_servers())
    }

    /// Asks whether the server speaks the extension.
    #[wasm_bindgen(js_name = findExtension)]
    pub fn find_extension(&self) {
        self.0.step(Client::find_extension);
    }

    /// Asks for a new id.
    pub fn rotate(&self) {
        self.0.step(Client::rotate);
    }

    /// Dials at once if the client is waiting to dial.
    #[wasm_bindgen(js_name = retryNow)]
    pub fn retry_now(&self) {
        self.0.step(Client::retry_now);
    }

    /// Closes the client for good.
    pub fn close(&self) {
        self.0.step(|client, _| client.close());
    }

    /// Returns whether the client is closed, even if the `close` event is still to come.
    #[wasm_bindgen(getter)]
    pub fn closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Converts a message to an application's message object.
pub(crate) fn to_js(message: &MessageIn) -> JsValue {
    let body = Uint8Array::from(&message.body[..]);
    let from = &mut [0; PeerId::TEXT_LEN];
    received(message.from.encode_text(from), message.topic.0, body)
}
