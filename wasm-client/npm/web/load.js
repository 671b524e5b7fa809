// Loads the wasm file that lies beside this module.
import start from "./wasm.js";

export default async function load(source) {
  if (source) return start(await source.module_or_path);
  let file = "waddell_bg.wasm";
  try {
    file = new URL("waddell_bg.wasm", import.meta.url);
    return await start(file);
  } catch (cause) {
    throw new Error(
      `${file}: ${cause.message}; if a bundler left this file out, import "waddell", which ` +
        'contains it, instead of "waddell/web", or give `init({ module_or_path })` its address',
      { cause },
    );
  }
}
