// The package in bundlers: the web build, loaded by the time that the importing module runs.
import init from "./web/waddell.js";

await init();

export { default } from "./web/waddell.js"; // for programs that run without a bundler as well
export * from "./web/waddell.js";
