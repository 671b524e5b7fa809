// The package as users get it: packed, installed, and used in Node, Vite, TypeScript and a page.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build, createServer } from "vite";

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

test("it runs in Node with ws", async () => {
  const server = await Server.start();
  writeFileSync(
    join(project, "main.js"),
    `import init, { Client } from "waddell";
     import { WebSocket } from "ws";
     await init();
     const done = (text) => console.log(text);
     const client = await Client.connect(process.argv[2], { WebSocket });
     ${TALK}`,
  );
  // In the background: the server is in this process.
  const { execFile } = await import("node:child_process");
  const output = await new Promise((resolve, reject) => {
    execFile("node", ["main.js", server.url], { cwd: project, timeout: 20_000 }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
  await server.stop();
  assert.equal(output.trim(), "hello");
});

const MAIN = '<script type="module" src="/main.js"></script>';

const SOURCES = {
  "the package": `
    import { Client } from "waddell";`,
  "the package and an init that a bundler does not need": `
    import init, { Client } from "waddell";
    await init();`,
  "the web build": `
    import init, { Client } from "waddell/web";
    await init();`,
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

test("a plain page imports it from any path", async () => {
  const server = await serveFiles(join(project, "node_modules/waddell"), {
    "/index.html": `<!doctype html>${MAIN}`,
    "/main.js": `
      import init, { Client } from "./web/waddell.js";
      await init();
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

test("tsc --strict accepts its types, and its types refuse mistakes", () => {
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
  const args = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom", "sample.ts"];
  for (const resolution of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    const [module, moduleResolution] = resolution;
    const modules = ["--module", module, "--moduleResolution", moduleResolution];
    const tsc = join(here, "node_modules/.bin/tsc");
    try {
      execFileSync(tsc, [...modules, ...args], { cwd: project, encoding: "utf8" });
    } catch (error) {
      assert.fail(error.stdout);
    }
  }
});
