// The package's module.
//
//   waddell.js       what applications import
//     client.js      Client and Topic
//       socket.js    one WebSocket
//     init.js        starts the wasm module, once
//       load.js      finds the wasm module; one for each folder of the package
//     wasm.js        bindings to the wasm module, by wasm-bindgen
//       imports.js   what the wasm module imports; WaddellError
//
// Importing it does nothing but define things; only `waddell/bundler` loads its wasm file then.

export { Client, Topic } from "./client.js";
export { default } from "./init.js";
export { WaddellError } from "./wasm.js";
