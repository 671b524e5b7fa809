// Bindings to the wasm module, for the folders in which no bundler loads it.

import { kindOf } from "./options.js";
import * as bindings from "./waddell_bg.js";

/**
 * Starts the module, and returns its exports. `source` is its address, a response with it, its
 * bytes, or the module itself.
 */
export default async function start(source) {
  if (["String", "URL", "Request"].includes(kindOf(source))) source = await fetch(source);
  if (kindOf(source) === "Response") {
    if (!source.ok) throw new Error(`${source.status} for ${source.url}`);
    source = await source.arrayBuffer();
  }
  const started = await WebAssembly.instantiate(source, { "./waddell_bg.js": bindings });
  const { exports } = started.instance ?? started;
  bindings.__wbg_set_wasm(exports);
  exports.__wbindgen_start();
  return exports;
}

export { Driver, received, WaddellError } from "./waddell_bg.js";
