// Loads the wasm module out of this file, so that there is no other file to find or to forget.
import start from "./wasm.js";

export default async function load(source) {
  return start(source ? await source.module_or_path : await inflate());
}

async function inflate() {
  const bytes = Uint8Array.from(atob(GZIP), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// waddell_bg.wasm, compressed, in Base64.
const GZIP = "@GZIP@";
