// The bundler has loaded the wasm module already.
import * as wasm from "./waddell_bg.wasm";

export default async function load() {
  return wasm;
}
