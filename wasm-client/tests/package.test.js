// The package as users get it: packed, installed, and used in Node, bundlers, TypeScript and pages.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, parse } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import { build as esbuild } from "esbuild";
import { rollup } from "rollup";
import { build, createServer } from "vite";
import webpack from "webpack";

import { closeBrowser, open, result, serveFiles } from "./browser.js";
import { pkg, Server } from "./support.js";

const here = import.meta.dirname;
let project; // a folder with the packed package in its node_modules

before(() => {
  project = mkdtempSync(join(tmpdir(), "waddell-package-"));
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
  const options = { cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] };
  const run = (...args) => execFileSync("npm", args, options);
  const tarball = run("pack", pkg, "--silent").trim();
  run("install", "--silent", "--offline", "--no-audit", "--no-fund", join(project, tarball));
  // Users install this package in addition; the tests have it already.
  symlinkSync(join(here, "node_modules/ws"), join(project, "node_modules/ws"));
});

after(async () => {
  await closeBrowser();
  rmSync(project, { recursive: true });
});

test("package.json has every field that a registry shows, and names only files that exist", () => {
  const installed = join(project, "node_modules/waddell");
  const manifest = JSON.parse(readFileSync(join(installed, "package.json")));
  assert.equal(manifest.name, "waddell");
  assert.match(manifest.version, /^\d+\.\d+\.\d+$/);
  assert.equal(manifest.license, "Apache-2.0");
  assert.equal(manifest.type, "module");
  for (const key of ["description", "repository", "files", "sideEffects", "exports", "types"]) {
    assert.ok(key in manifest, key);
  }
  const targets = (entry) =>
    typeof entry === "string" ? [entry] : Object.values(entry).flatMap(targets);
  const files = [manifest.main, manifest.types, ...targets(manifest.exports)];
  for (const file of [...files, "README.md", "LICENSE"]) readFileSync(join(installed, file));
});

const TALK = `
  const topic = client.topic(1);
  topic.send(client.id, "hello");
  for await (const { body } of topic) {
    done(new TextDecoder().decode(body));
    break;
  }
  client.close();
`;

/** Runs a program in Node with a waddell server's address. Resolves to what it prints. */
async function runNode(...args) {
  const server = await Server.start();
  try {
    // In the background: the server is in this process.
    return await new Promise((resolve, reject) => {
      const options = { cwd: project, timeout: 20_000 };
      execFile("node", [...args, server.url], options, (error, stdout) =>
        error ? reject(error) : resolve(stdout.trim()),
      );
    });
  } finally {
    await server.stop();
  }
}

// Without `await` at the top level, so that it can be bundled as CommonJS.
const nodeProgram = (imports) => `
  ${imports}
  import { WebSocket } from "ws";
  const done = (text) => console.log(text);
  async function main() {
    const client = await Client.connect(process.argv.at(-1), { WebSocket });
    ${TALK}
  }
  main();
`;

for (const [what, imports] of [
  ["the package", 'import { Client } from "waddell";'],
  ["the web build", 'import { Client } from "waddell/web";'],
  ["an init that is not needed", 'import init, { Client } from "waddell"; await init();'],
]) {
  test(`it runs in Node with ws (${what})`, async () => {
    writeFileSync(join(project, "main.js"), nodeProgram(imports));
    assert.equal(await runNode("main.js"), "hello");
  });
}

test("importing it reads no file and needs no global of Node", () => {
  const script = `
    for (const name of ["process", "Buffer", "fetch", "WebSocket", "require", "navigator"]) {
      delete globalThis[name];
    }
    const { Client } = await import("waddell");
    if (typeof Client.connect !== "function") throw new Error("no Client");`;
  execFileSync("node", ["--input-type=module", "--eval", script], { cwd: project });
  const sources = readdirSync(join(project, "node_modules/waddell/inline"), { recursive: true });
  for (const file of sources.filter((name) => name.endsWith(".js"))) {
    const source = readFileSync(join(project, "node_modules/waddell/inline", file), "utf8");
    assert.doesNotMatch(source, /node:|import\.meta|\brequire\b|\bprocess\b/, file);
  }
});

for (const [name, bundle] of Object.entries({
  "esbuild (ES module)": (entry, outfile) =>
    esbuild({ ...ESBUILD, platform: "node", format: "esm", entryPoints: [entry], outfile }),
  "esbuild (CommonJS)": (entry, outfile) =>
    esbuild({ ...ESBUILD, platform: "node", format: "cjs", entryPoints: [entry], outfile }),
  "rollup": (entry, outfile) => runRollup(entry, outfile, { external: ["ws"] }),
  "webpack": (entry, outfile) => runWebpack(entry, outfile, { target: "node20" }),
}) ) {
  for (const source of ["waddell", "waddell/web"]) {
    test(`${name} bundles ${source} for Node, and the bundle runs elsewhere`, async () => {
      const dir = mkdtempSync(join(project, "bundle-"));
      writeFileSync(join(dir, "main.js"), nodeProgram(`import { Client } from "${source}";`));
      const outfile = join(dir, "out", name.includes("CommonJS") ? "main.cjs" : "main.mjs");
      await bundle(join(dir, "main.js"), outfile);
      assert.equal(await runNode(outfile), "hello");
    });
  }
}

const ESBUILD = { bundle: true, minify: true, logLevel: "error", external: ["ws"] };

async function runRollup(input, file, { external = [], browser = false }) {
  const plugins = [nodeResolve({ browser, exportConditions: browser ? [] : ["node"] })];
  const bundle = await rollup({ input, external, plugins });
  await bundle.write({ file, format: "es", inlineDynamicImports: true });
  await bundle.close();
}

async function runWebpack(entry, outfile, options) {
  const { dir, base } = parse(outfile);
  const output = { path: dir, filename: base, publicPath: "auto" };
  const isNode = options.target !== "web";
  const configuration = {
    mode: "production",
    entry,
    context: project,
    output: isNode ? { ...output, module: true, chunkFormat: "module" } : output,
    ...(isNode && { externals: { ws: "module ws" } }),
    ...options,
    experiments: { outputModule: isNode, ...options.experiments },
  };
  const stats = await promisify(webpack)(configuration);
  if (stats.hasErrors()) throw new Error(stats.toString("errors-only"));
}

const MAIN = '<script type="module" src="/main.js"></script>';

const SOURCES = {
  "the package": `
    import { Client } from "waddell";`,
  "the package and an init that a bundler does not need": `
    import init, { Client } from "waddell";
    await init();`,
  "the web build": `
    import { Client } from "waddell/web";`,
  // Vite's development server would bundle the dependency's modules without the wasm file.
  "the bundler build": `
    import { Client } from "waddell/bundler";`,
};

for (const [what, imports] of Object.entries(SOURCES)) {
  const source = `${imports}
    const done = (text) => (document.title = text);
    const { server = location } = document.documentElement.dataset;
    const client = await Client.connect(new URL("/ws", server));
    ${TALK}`;

  test(`Vite builds a page with ${what}`, async () => {
    const root = mkdtempSync(join(project, "vite-"));
    writeFileSync(join(root, "index.html"), `<!doctype html>${MAIN}`);
    writeFileSync(join(root, "main.js"), source);
    await build({ root, logLevel: "error", configFile: false, build: { target: "esnext" } });
    const server = await serveFiles(join(root, "dist"));
    const opened = await open(server.url);
    assert.equal(await result(opened), "hello");
    assert.deepEqual(opened.errors, []);
    await opened.close();
    await server.stop();
  });

  test(`Vite serves a page with ${what} as it is developed`, async () => {
    const waddell = await Server.start();
    const root = mkdtempSync(join(project, "vite-"));
    writeFileSync(
      join(root, "index.html"),
      `<!doctype html><html data-server="${waddell.url}">${MAIN}`,
    );
    writeFileSync(join(root, "main.js"), source);
    const vite = await createServer({
      root,
      configFile: false,
      logLevel: "error",
      cacheDir: join(root, ".vite"),
      server: { port: 0, host: "127.0.0.1", hmr: false, ws: false },
      optimizeDeps: { exclude: what === "the bundler build" ? ["waddell"] : [] },
    });
    await vite.listen();
    const opened = await open(vite.resolvedUrls.local[0]);
    try {
      assert.equal(await result(opened), "hello");
    } finally {
      await opened.close();
      await vite.close();
      await waddell.stop();
    }
  });
}

/** Bundles a page's `main.js`, and resolves to the opened page. */
async function openBundle(bundle, source) {
  const dir = mkdtempSync(join(project, "bundle-"));
  writeFileSync(join(dir, "main.js"), source);
  await bundle(join(dir, "main.js"), join(dir, "out/main.js"));
  const server = await serveFiles(join(dir, "out"), { "/index.html": `<!doctype html>${MAIN}` });
  const opened = await open(server.url);
  const stop = async () => {
    await opened.close();
    await server.stop();
  };
  return { ...opened, stop };
}

const pageProgram = (name) => `
  import { Client } from "${name}";
  const done = (text) => (document.title = text);
  async function main() {
    const client = await Client.connect("/ws");
    ${TALK}
  }
  main().catch((error) => done(error.code + ": " + error.message));
`;

const FOR_PAGES = {
  "esbuild": (entry, outfile) =>
    esbuild({ ...ESBUILD, format: "esm", entryPoints: [entry], outfile }),
  "esbuild (script)": (entry, outfile) =>
    esbuild({ ...ESBUILD, format: "iife", entryPoints: [entry], outfile }),
  "rollup": (entry, outfile) => runRollup(entry, outfile, { browser: true }),
  "webpack": (entry, outfile) => runWebpack(entry, outfile, { target: "web" }),
};

for (const [name, bundle] of Object.entries(FOR_PAGES)) {
  test(`${name} bundles a page with the package`, async () => {
    const opened = await openBundle(bundle, pageProgram("waddell"));
    assert.equal(await result(opened), "hello");
    assert.deepEqual(opened.errors, []);
    await opened.stop();
  });

  test(`${name} bundles a page with the web build, or the page says what to import`, async () => {
    const opened = await openBundle(bundle, pageProgram("waddell/web"));
    const title = await result(opened);
    if (name === "webpack") assert.equal(title, "hello");
    else assert.match(title, /^load-failed: .*waddell_bg\.wasm.*import "waddell"/);
    await opened.stop();
  });
}

test("webpack bundles a page with the bundler build", async () => {
  const bundle = (entry, outfile) =>
    runWebpack(entry, outfile, { target: "web", experiments: { asyncWebAssembly: true } });
  const opened = await openBundle(bundle, pageProgram("waddell/bundler"));
  assert.equal(await result(opened), "hello");
  await opened.stop();
});

test("a bundle of a program that does not use it does not contain it", async () => {
  const dir = mkdtempSync(join(project, "bundle-"));
  writeFileSync(join(dir, "main.js"), 'import { Client } from "waddell"; console.log(1);');
  for (const [name, bundle] of Object.entries(FOR_PAGES)) {
    const outfile = join(dir, name, "main.js");
    await bundle(join(dir, "main.js"), outfile);
    assert.ok(readFileSync(outfile).length < 1_000, name);
  }
});

test("a plain page imports it from any path", async () => {
  const server = await serveFiles(join(project, "node_modules/waddell"), {
    "/index.html": `<!doctype html>${MAIN}`,
    "/main.js": `
      import { Client } from "./web/waddell.js";
      const done = (text) => (document.title = text);
      const client = await Client.connect("/ws");
      ${TALK}`,
  });
  const opened = await open(server.url);
  assert.equal(await result(opened), "hello");
  assert.deepEqual(opened.errors, []);
  await opened.close();
  await server.stop();
});

for (const typescript of ["typescript", "typescript-5.6", "typescript-5.0"]) {
  test(`tsc --strict accepts the types, and they refuse mistakes (${typescript})`, () => {
    cpSync(join(here, "sample.ts"), join(project, "sample.ts"));
    mkdirSync(join(project, "node_modules/@types/ws"), { recursive: true });
    writeFileSync(
      join(project, "node_modules/@types/ws/package.json"),
      '{ "version": "8.0.0", "types": "index.d.ts", "type": "module" }',
    );
    // The relevant part of @types/ws: its constructor has more arguments, of other types.
    writeFileSync(
      join(project, "node_modules/@types/ws/index.d.ts"),
      `export class WebSocket {
         constructor(address: null);
         constructor(address: string | URL, options?: { a?: 1 } | { b?: 1 });
         constructor(address: string | URL, protocols?: string | string[], options?: { a?: 1 });
       }`,
    );
    const tsc = join(here, "node_modules", typescript, "bin/tsc");
    const strict = ["--strict", "--skipLibCheck", "false", "--noEmit", "--target", "es2022"];
    for (const [module, moduleResolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
      for (const lib of ["es2022,dom", "esnext,dom"]) {
        const modules = ["--module", module, "--moduleResolution", moduleResolution];
        const args = [tsc, ...modules, ...strict, "--lib", lib, "sample.ts"];
        try {
          execFileSync("node", args, { cwd: project, encoding: "utf8" });
        } catch (error) {
          assert.fail(error.stdout);
        }
      }
    }
  });
}
