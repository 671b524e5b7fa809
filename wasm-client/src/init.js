// Starts the wasm module, once.

import load from "./load.js";
import { WaddellError } from "./wasm.js";

let started; // promise of the module's exports

/** Starts the wasm module. `Client.connect` does so, too. */
export default async function init(options) {
  if (options !== undefined && !["object", "string"].includes(options && typeof options)) {
    throw new WaddellError("invalid-option", "init takes nothing or { module_or_path }");
  }
  // wasm-bindgen's modules take the address or the bytes themselves, too.
  if (options && options.module_or_path === undefined) options = { module_or_path: options };
  // A second instance would take the place of the first, and its clients would break.
  started ??= load(options).catch((cause) => {
    started = undefined; // the next call tries again
    throw new WaddellError(
      "load-failed",
      `the WebAssembly module could not be started: ${cause?.message ?? cause}`,
      { cause },
    );
  });
  return started;
}
