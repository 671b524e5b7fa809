// The package's module.
//
//   waddell.js       what applications import
//     client.js      Client
//       topic.js     Topic
//       checks.js    messages whose outcome is not known yet
//       questions.js questions that the server has not answered yet
//       socket.js    one WebSocket
//       upgrade.js   HELLO in the upgrade to it
//       commands.js  numbers of what a driver is told
//       options.js   options, checked
//       signal.js    abort signals
//       errors.js    errors that more than one file makes
//     init.js        starts the wasm module, once
//       load.js      finds the wasm module; one for each folder of the package
//     wasm.js        bindings to the wasm module, from wasm-bindgen
//       imports.js   what the wasm module imports; WaddellError
//
// Importing it does nothing but define things; only `waddell/bundler` loads its wasm file then.

export { Client } from "./client.js";
export { default } from "./init.js";
export { Topic } from "./topic.js";
export { WaddellError } from "./wasm.js";
