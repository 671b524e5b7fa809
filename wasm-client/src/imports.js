// What the wasm module imports.

/** An `Error` with a `code`; every error of this package is one. */
export class WaddellError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
    if (options?.closeCode !== undefined) {
      this.closeCode = options.closeCode;
      this.closeReason = options.closeReason;
    }
  }
}
WaddellError.prototype.name = "WaddellError";

/**
 * Makes the error of a dial that failed or a connection that ended. `event` is the WebSocket's
 * close event, if there was one.
 */
export function disconnectError(code, message, event) {
  if (event?.isBlocked) {
    return new WaddellError(
      code,
      `${message}: the browser blocked the address; ` +
        "does the page's content security policy allow it in connect-src?",
    );
  }
  const { code: closeCode, reason } = event ?? {};
  // WebSocket implementations report 1005, 1006 and 1015 if the server has sent no code.
  const wasSent = closeCode >= 1000 && ![1005, 1006, 1015].includes(closeCode);
  if (!wasSent) return new WaddellError(code, message);
  const closeReason = String(reason ?? "");
  const why = closeReason && `: ${closeReason}`;
  return new WaddellError(code, `${message}: the server closed it with code ${closeCode}${why}`, {
    closeCode,
    closeReason,
  });
}

/**
 * Listener of a WebSocket's error event. A close event follows at once, but for two cases: an
 * address that the browser has blocked, and a dial that fails in Node 22. Reports a close event in
 * its place.
 */
export function errorListener() {
  const { readyState } = this;
  // In another state, as with Node's `ws` package, the close event may come later.
  if (readyState !== CONNECTING && readyState !== CLOSED) return;
  setTimeout(() => this.onclose?.({ isBlocked: readyState === CLOSED }), CLOSE_WAIT_MS);
}

/** How long a close event may take: the standard has it in the same task as the error. */
const CLOSE_WAIT_MS = 100;

// Values of `readyState`.
const CONNECTING = 0;
const CLOSED = 3;

/** Makes an application's message object. */
export function received(from, topic, body) {
  return { from, topic, body };
}
