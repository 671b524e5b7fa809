// The package for Node: the web build, with its wasm file read from disk. Initialized at once.
import { readFileSync } from "node:fs";

import { initSync } from "./web/waddell.js";

const wasm = initSync({ module: readFileSync(new URL("./web/waddell_bg.wasm", import.meta.url)) });

/** Does nothing; for programs that also run in a page. */
export default async function init() {
  return wasm;
}

export * from "./web/waddell.js";
