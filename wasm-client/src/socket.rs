//! One WebSocket and its callbacks.

use js_sys::Function;
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, MessageEvent, WebSocket};

#[wasm_bindgen(module = "/src/imports.js")]
extern "C" {
    /// Callback for error events. It calls the callback for close events if the browser will not.
    #[wasm_bindgen(thread_local_v2, js_name = errorListener)]
    static ERROR_LISTENER: Function;
}

/// A WebSocket that reports to callbacks. Dropping it hangs up, and nothing more is reported.
#[derive(Debug)]
pub(crate) struct Socket {
    web_socket: WebSocket,
    number: u32,
    /// Dropped with the socket, so that it cannot call them any more.
    _on_open: Closure<dyn Fn()>,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_close: Closure<dyn Fn(JsValue)>,
}

impl Socket {
    /// Sets the callbacks of a WebSocket that is still connecting. `number` identifies the socket.
    pub(crate) fn new(
        web_socket: WebSocket,
        number: u32,
        on_open: impl Fn() + 'static,
        on_message: impl Fn(MessageEvent) + 'static,
        on_close: impl Fn(JsValue) + 'static,
    ) -> Self {
        let on_open = Closure::new(on_open);
        let on_message = Closure::new(on_message);
        let on_close = Closure::new(on_close);
        web_socket.set_binary_type(BinaryType::Arraybuffer);
        web_socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        web_socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        web_socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        ERROR_LISTENER.with(|listener| web_socket.set_onerror(Some(listener)));
        Self { web_socket, number, _on_open: on_open, _on_message: on_message, _on_close: on_close }
    }

    /// Returns the number that identifies this socket.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Returns the WebSocket itself, so that the driver need not stay borrowed while it is used.
    pub(crate) fn web_socket(&self) -> WebSocket {
        self.web_socket.clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.web_socket.set_onopen(None);
        self.web_socket.set_onmessage(None);
        self.web_socket.set_onclose(None);
        // Bytes that were sent before still go out. 1000 is a valid code, so this cannot throw.
        let _ = self.web_socket.close_with_code(1000);
    }
}
