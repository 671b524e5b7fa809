//! The waddell client for JavaScript: browsers, workers and Node.
//!
//! ```text
//!   client.js    what an application holds: Client, Topic, events, promises, errors
//!   lib.rs       the door between the two languages
//!   driver.rs    the core's client and inbox, driven by a socket and a timer
//!   socket.rs    one WebSocket and the closures that listen to it
//!   timer.rs     one timeout; the clock
//! ```
//!
//! The classes that face an application are JavaScript's own, because only such can be
//! `EventTarget`s. They decide nothing about the protocol: that is `waddell_core`'s.

mod driver;
mod socket;
mod timer;

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use waddell_core::{MessageIn, TopicId};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::driver::{Config, Driver};

/// A quarter of the size of the allocator that std brings, which is an eighth of the package.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

#[wasm_bindgen(module = "/src/client.js")]
extern "C" {
    // What `client.js` defines and the package exports. These are classes; they are declared as
    // functions, which nobody calls, because `skip_typescript` is not to be had for classes.
    #[wasm_bindgen(js_name = Client, reexport, skip_typescript)]
    fn client_class();
    #[wasm_bindgen(js_name = Topic, reexport, skip_typescript)]
    fn topic_class();
    #[wasm_bindgen(js_name = WaddellError, reexport, skip_typescript)]
    fn waddell_error_class();

    /// What every error of this package is.
    pub(crate) type WaddellError;

    #[wasm_bindgen(constructor)]
    pub(crate) fn new(code: &str, message: &str) -> WaddellError;

    /// Makes the object by which applications see a message.
    fn received(from: &str, topic: u16, body: Uint8Array) -> JsValue;

    /// Lets `Client.connect` make drivers.
    fn provide(new_driver: JsValue);

    /// What the driver tells a `Client`. None of these is called while the driver holds a borrow,
    /// so each may call the driver again.
    pub(crate) type Handler;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn dial(this: &Handler) -> Result<WebSocket, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn connected(this: &Handler, id: &str) -> Result<(), JsValue>;

    /// Returns whether the message is to be kept in the inbox.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn message(this: &Handler, topic: u16, message: JsValue) -> Result<bool, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn disconnected(
        this: &Handler,
        error: WaddellError,
        retry_in_ms: f64,
    ) -> Result<(), JsValue>;

    /// `error` is absent when the application closed the client.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn closed(this: &Handler, error: Option<WaddellError>) -> Result<(), JsValue>;
}

/// Runs once when the module is instantiated.
#[wasm_bindgen(start, private)]
fn start() {
    let new_driver = |handler, reconnect_attempts, connect_timeout_ms, keep_alive_ms, max| {
        let config = Config {
            reconnect_attempts,
            connect_timeout_ms,
            keep_alive_ms,
            max_buffered_amount: max,
        };
        DriverHandle(Driver::new(handler, config))
    };
    provide(
        Closure::<dyn Fn(Handler, f64, f64, f64, f64) -> DriverHandle>::new(new_driver)
            .into_js_value(),
    );
}

/// A driver, as `client.js` holds it.
///
/// Every method takes `&self` and none keeps a borrow while JavaScript runs: listeners may call
/// any of them at any time.
#[wasm_bindgen(js_name = Driver, private, skip_typescript)]
#[derive(Debug)]
pub struct DriverHandle(Rc<Driver>);

#[wasm_bindgen(js_class = Driver)]
impl DriverHandle {
    /// Dials for the first time.
    pub fn start(&self) {
        self.0.drain();
    }

    /// Sends a message whose body is `parts`, `Uint8Array`s, joined.
    ///
    /// # Errors
    ///
    /// A `WaddellError` says why nothing was sent.
    pub fn send(&self, to: &str, topic: u16, parts: Array<Uint8Array>) -> Result<(), JsValue> {
        self.0.send(to, TopicId(topic), &parts).map_err(JsValue::from)
    }

    /// Begins to keep a topic's messages for the application.
    #[wasm_bindgen(js_name = openTopic)]
    pub fn open_topic(&self, topic: u16) {
        self.0.open_topic(TopicId(topic));
    }

    /// Takes out the oldest message that waits on an open topic.
    pub fn pop(&self, topic: u16) -> JsValue {
        self.0.pop(TopicId(topic)).map_or(JsValue::UNDEFINED, |message| to_js(&message))
    }

    /// Returns how many messages of an open topic were dropped because too many waited.
    pub fn lost(&self, topic: u16) -> f64 {
        self.0.lost(TopicId(topic)) as f64
    }

    /// Dials at once if the client is waiting to.
    #[wasm_bindgen(js_name = retryNow)]
    pub fn retry_now(&self) {
        self.0.step(waddell_core::Client::retry_now);
    }

    /// Ends the client's life.
    pub fn close(&self) {
        self.0.step(|client, _| client.close());
    }

    /// Returns whether the client's life is over, even if its end is still to be told.
    #[wasm_bindgen(getter)]
    pub fn closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Makes the object by which applications see a message.
pub(crate) fn to_js(message: &MessageIn) -> JsValue {
    let body = Uint8Array::from(&message.body[..]);
    received(&message.from.to_string(), message.topic.0, body)
}
