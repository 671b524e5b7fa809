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

/** Makes an application's message object. Copies the body, which is in wasm's memory. */
export function received(from, topic, body) {
  return { from, topic, body: body.slice() };
}
