// The package for bundlers: the web build, initialized before the importing module runs.
import init from "./web/waddell.js";

await init();

export { default } from "./web/waddell.js"; // for programs that also run without a bundler
export * from "./web/waddell.js";
