// One WebSocket, whose events go to a driver.

import { OPENED, UPGRADED } from "./commands.js";
import { SUBPROTOCOL } from "./upgrade.js";

export class Socket {
  #webSocket; // null once it is hung up or lost
  #driver;
  #lost;

  /**
   * Takes a WebSocket that is still connecting. `lost` is called with its close event, or without
   * one if it is useless from here on.
   */
  constructor(webSocket, driver, lost) {
    this.#webSocket = webSocket;
    this.#driver = driver;
    this.#lost = lost;
    webSocket.binaryType = "arraybuffer";
    webSocket.onopen = () =>
      this.#webSocket && driver.call(webSocket.protocol === SUBPROTOCOL ? UPGRADED : OPENED);
    webSocket.onmessage = ({ data }) => this.#receive(data);
    webSocket.onclose = (event) => this.#lose(event);
    webSocket.onerror = () => this.#fail();
  }

  /** Number of bytes that wait to be sent. */
  get bufferedAmount() {
    return this.#webSocket?.bufferedAmount ?? 0;
  }

  send(bytes) {
    try {
      // A copy: an implementation may read the bytes later, when wasm's memory has changed.
      this.#webSocket?.send(bytes.slice());
    } catch {
      this.#lose();
    }
  }

  /** Closes the WebSocket. Bytes sent before still go out, and nothing more is reported. */
  hangUp(code) {
    const webSocket = this.#webSocket;
    if (!webSocket) return;
    this.#webSocket = null;
    // Not `onerror`: Node's `ws` throws an error that has no listener.
    webSocket.onopen = webSocket.onmessage = webSocket.onclose = null;
    webSocket.close(code);
  }

  #receive(data) {
    // No waddell server sends text, so this is not a stream of frames.
    if (typeof data === "string") this.#lose();
    // WebAssembly memory never shrinks, so a giant message is copied in pieces. A listener may
    // hang up between two of them.
    for (let at = 0; this.#webSocket && at < data.byteLength; at += PIECE_LEN) {
      const length = Math.min(PIECE_LEN, data.byteLength - at);
      this.#driver.received(new Uint8Array(data, at, length));
    }
  }

  /**
   * Handles an error event. A close event follows at once, but for two cases: an address that the
   * browser has blocked, and a dial that fails in Node 22.
   */
  #fail() {
    const { readyState } = this.#webSocket ?? {};
    // In another state, as with Node's `ws` package, the close event may come later.
    if (readyState !== CONNECTING && readyState !== CLOSED) return;
    setTimeout(() => this.#lose({ isBlocked: readyState === CLOSED }), CLOSE_WAIT_MS);
  }

  #lose(closeEvent) {
    if (!this.#webSocket) return;
    this.hangUp(3000);
    this.#lost(closeEvent);
  }
}

/** How many bytes of a message are copied into wasm's memory at a time. */
const PIECE_LEN = 64 * 1024;

/** How long a close event may take: the standard has it in the same task as the error. */
const CLOSE_WAIT_MS = 100;

// Values of `readyState`.
const CONNECTING = 0;
const CLOSED = 3;
