// The package in Node: the web build, whose wasm file is read instead of fetched. Ready at once.
import { readFileSync } from "node:fs";

import { initSync } from "./web/waddell.js";

const wasm = initSync({ module: readFileSync(new URL("./web/waddell_bg.wasm", import.meta.url)) });

/** There is nothing left to do; for programs that run in a page as well. */
export default async function init() {
  return wasm;
}

export * from "./web/waddell.js";
