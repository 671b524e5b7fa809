// Errors that more than one file makes.

import { WaddellError } from "./wasm.js";

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

/** Makes the error of a client that has no attempt left. `cause` is that of the last one. */
export function connectFailed(cause) {
  const { message, closeCode, closeReason } = cause;
  const options = { cause, closeCode, closeReason };
  return new WaddellError("connect-failed", `no reconnect attempt is left: ${message}`, options);
}

export function illegalConstructor(instead) {
  return new WaddellError("illegal-constructor", `cannot be constructed: call ${instead}`);
}

/** Makes the error of a message that was not sent, from what the driver has returned. */
export function sendError(returned) {
  return new WaddellError(...SEND_ERRORS[-returned]);
}

const SEND_ERRORS = [
  ,
  ["closed", "the client is closed"],
  ["body-too-long", "the body is longer than 65517 bytes, the most that fits in a frame"],
  ["not-connected", "not connected: wait for the id event"],
  ["buffer-full", "too many checked messages have no outcome yet: try again later"],
  ["buffer-full", "the send buffer is full: try again later"],
];

/** The number of an error that the driver need not find. */
export const BODY_TOO_LONG = -2;
