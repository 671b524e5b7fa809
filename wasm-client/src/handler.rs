//! What a driver calls in JavaScript.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
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

    /// Reports the id of a connection. `why` is the code of why it is not the one before; 0: the
    /// client had not asked for that.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn connected(
        this: &Handler,
        id: &str,
        resumed: bool,
        why: u8,
    ) -> Result<(), JsValue>;

    /// Reports another id on the same connection, or the same if there is to be no other.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn renamed(this: &Handler, id: &str) -> Result<(), JsValue>;

    /// Passes on a message. Returns whether the inbox must keep it.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn message(this: &Handler, topic: u16, message: JsValue) -> Result<bool, JsValue>;

    /// Reports which parts of the extension the server grants, as bits.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn extended(this: &Handler, granted: u32) -> Result<(), JsValue>;

    /// Reports what became of a checked message: `forwarded`, `sent`, or an error's code and text.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn checked(
        this: &Handler,
        ticket: f64,
        outcome: &str,
        message: Option<&str>,
    ) -> Result<(), JsValue>;

    /// Reports messages that the server dropped.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn undelivered(
        this: &Handler,
        to: &str,
        topic: u16,
        reason: &str,
        count: u32,
        exact: bool,
    ) -> Result<(), JsValue>;

    /// Reports the state of a peer, as the code on the wire.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn peer(this: &Handler, id: &str, state: u8, lost: u32) -> Result<(), JsValue>;

    /// Reports that the server does not speak the extension.
    #[wasm_bindgen(method, catch, js_name = notExtended)]
    pub(crate) fn not_extended(this: &Handler) -> Result<(), JsValue>;

    /// Reports ICE servers as JSON, and for how long they are valid.
    #[wasm_bindgen(method, catch, js_name = iceServers)]
    pub(crate) fn ice_servers(this: &Handler, json: &str, valid_ms: f64) -> Result<(), JsValue>;

    /// Asks for new credentials.
    #[wasm_bindgen(method, catch, js_name = credentialsDue)]
    pub(crate) fn credentials_due(this: &Handler) -> Result<(), JsValue>;

    /// Reports that the server will stop, and how long the client waits at most before it dials.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn restarting(this: &Handler, in_ms: u32, wait_ms: f64) -> Result<(), JsValue>;

    /// Reports why the server ends the connection, before the connection ends.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn closing(this: &Handler, code: u16, reason: &str) -> Result<(), JsValue>;

    /// Reports a dial that failed or a connection that ended.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn disconnected(
        this: &Handler,
        code: &str,
        message: &str,
        retry_in_ms: f64,
    ) -> Result<(), JsValue>;

    /// Reports the close. `code` and `message` are those of the last attempt if no attempt is left,
    /// say why the server does not serve the client, or are absent if the application closed it.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn closed(
        this: &Handler,
        code: Option<&str>,
        message: Option<&str>,
        is_exhausted: bool,
    ) -> Result<(), JsValue>;
}
