//! The waddell client for JavaScript: browsers, workers and Node.
//!
//! ```text
//!   waddell.js   the package's module, and a map of the other JavaScript files
//!   client.js    the public classes Client and Topic
//!   init.js      starts the WebAssembly module
//!   imports.js   what Rust imports; the public class WaddellError
//!   lib.rs       bindings between JavaScript and Rust
//!   driver.rs    the core's client and inbox, driven by a socket and a timer
//!   socket.rs    one WebSocket and its callbacks
//!   timer.rs     one timeout, and the clock
//! ```
//!
//! The public classes are written in JavaScript, because classes in Rust cannot extend
//! `EventTarget`. They contain no rule of the protocol; all rules are in `waddell_core`.

// std formats the message of a panic, although it is shown nowhere. That code would be an eighth
// of the module.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod driver;
mod socket;
mod timer;

use alloc::rc::Rc;

use js_sys::{Array, Uint8Array};
use waddell_core::{MessageIn, PeerId, TopicId};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

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

    /// Class of every error of this package.
    pub(crate) type WaddellError;

    #[wasm_bindgen(constructor)]
    pub(crate) fn new(code: &str, message: &str) -> WaddellError;

    /// Makes an application's message object.
    fn received(from: &str, topic: u16, body: Uint8Array) -> JsValue;

    /// Makes the error of a dial that failed or a connection that ended.
    #[wasm_bindgen(js_name = disconnectError)]
    pub(crate) fn disconnect_error(
        code: &str,
        message: &str,
        close_event: &JsValue,
    ) -> WaddellError;

    /// A `Client`'s callbacks for its driver. The driver calls them without holding a borrow, so
    /// each may call the driver again.
    pub type Handler;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn dial(this: &Handler) -> Result<WebSocket, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn connected(this: &Handler, id: &str) -> Result<(), JsValue>;

    /// Passes on a message. Returns whether the inbox must keep it.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn message(this: &Handler, topic: u16, message: JsValue) -> Result<bool, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn disconnected(
        this: &Handler,
        error: WaddellError,
        retry_in_ms: f64,
    ) -> Result<(), JsValue>;

    /// Reports the close. `last_error` is the last attempt's, and absent if the application
    /// closed the client.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn closed(this: &Handler, last_error: Option<WaddellError>) -> Result<(), JsValue>;
}

/// A handle of a driver for `client.js`.
///
/// Every method takes `&self`, and none holds a borrow while JavaScript runs. So listeners may call
/// any of them at any time.
#[wasm_bindgen(js_name = Driver, skip_typescript)]
#[derive(Debug)]
pub struct DriverHandle(Rc<Driver>);

#[wasm_bindgen(js_class = Driver)]
impl DriverHandle {
    /// Makes a driver from options that `client.js` has checked.
    #[wasm_bindgen(constructor)]
    pub fn new(
        handler: Handler,
        reconnect_attempts: f64,
        connect_timeout_ms: f64,
        keep_alive_ms: f64,
        max_buffered_amount: f64,
    ) -> Self {
        let config =
            Config { reconnect_attempts, connect_timeout_ms, keep_alive_ms, max_buffered_amount };
        Self(Driver::new(handler, config))
    }

    /// Dials for the first time.
    pub fn start(&self) {
        self.0.drain();
    }

    /// Sends a message whose body is `parts` joined.
    ///
    /// # Errors
    ///
    /// A `WaddellError` if nothing was sent; its code is the reason.
    pub fn send(&self, to: &str, topic: u16, parts: Array<Uint8Array>) -> Result<(), JsValue> {
        self.0.send(to, TopicId(topic), &parts).map_err(JsValue::from)
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
    pub fn lost(&self, topic: u16) -> f64 {
        self.0.lost(TopicId(topic)) as f64
    }

    /// Dials at once if the client is waiting to dial.
    #[wasm_bindgen(js_name = retryNow)]
    pub fn retry_now(&self) {
        self.0.step(waddell_core::Client::retry_now);
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
