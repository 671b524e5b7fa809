// End-to-end tests: the real server, the real page, a real browser.
//
// By hand, from this folder:
//
//   cargo build -p waddell-server -p waddell-client
//   npm ci
//   node --test                         all of them
//   node --test call.test.js            one file
//   node --test --test-name-pattern=QR  one test
//
// Environment: WADDELL_PROGRAMS is the folder of `waddell-server` and `waddell` (default:
// target/debug of the repository), WADDELL_SERVER the server alone, CHROMIUM the browser (default:
// /usr/bin/chromium). Screenshots of the page's main states are written to the repository's
// artifacts/.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach } from "node:test";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "../..");
const programs = process.env.WADDELL_PROGRAMS ?? join(root, "target/debug");
const serverProgram = process.env.WADDELL_SERVER ?? join(programs, "waddell-server");
const clientProgram = join(programs, "waddell");
const START_WITHIN_MS = 10_000;

export const artifacts = join(root, "artifacts");
mkdirSync(artifacts, { recursive: true });

const scratch = mkdtempSync(join(tmpdir(), "waddell-e2e-"));
process.on("exit", () => rmSync(scratch, { recursive: true }));

/**
 * Starts the server and the browser that the tests of a file share. Each test's pages are closed
 * after it, and it fails if one of them had an error or a warning. `server` has the options of
 * `Server.start`, and is null if the file starts servers itself.
 */
export async function suite({ server: options = {} } = {}) {
  const browser = await Browser.launch();
  afterEach(() => browser.closePages());
  after(() => browser.close());
  if (options === null) return { browser };

  const server = await Server.start(options);
  after(async () => assert.equal(await server.stop(), 0));
  return { browser, server };
}

/** A server process, and the addresses that it prints when it listens. */
export class Server {
  /** Starts a server and waits until it listens on all of `listen`. */
  static async start({ listen = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0"], args = [] } = {}) {
    const server = new Server();
    const all = [...listen.flatMap((url) => ["--listen", url]), ...args];
    server.program = new Program(serverProgram, all);
    for (const _ of listen) {
      const line = await server.program.line(/^listening on /);
      const url = new URL(line.replace("listening on ", ""));
      server[url.protocol.slice(0, -1)] = url;
    }
    return server;
  }

  /** Address of the page. */
  get page() {
    return `http://${this.ws.host}/`;
  }

  /** Kills the server, as in a crash. */
  async kill() {
    await this.program.end("SIGKILL");
  }

  /** Stops the server. Resolves to its exit code. */
  async stop() {
    return this.program.end("SIGTERM");
  }
}

/** Runs the command-line client. */
export function runClient(...args) {
  return new Program(clientProgram, args);
}

/** A process whose standard output is read line by line. */
class Program {
  #lines = [];
  #waiting;
  #errors = "";

  constructor(path, args) {
    this.child = spawn(path, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.child.stderr.on("data", (data) => (this.#errors += data));
    this.exit = new Promise((done, failed) => {
      this.child.once("error", failed);
      this.child.once("close", (code, signal) => done(code ?? signal));
    });
    this.exit.catch(() => {}); // `line` reports it.
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.#lines.push(line);
      this.#waiting?.();
    });
  }

  /** Resolves to the next line of output that matches, and skips those before it. */
  async line(pattern) {
    const deadline = AbortSignal.timeout(START_WITHIN_MS);
    const late = once(deadline, "abort").then(() => "there was no such line in time");
    const ended = this.exit.then(
      (code) => `it ended with ${code}`,
      (error) => `it could not be started: ${error.message}`,
    );
    for (;;) {
      for (let line; (line = this.#lines.shift()) !== undefined; ) {
        if (pattern.test(line)) return line;
      }
      const more = new Promise((done) => (this.#waiting = done));
      const problem = await Promise.race([more, ended, late]);
      if (problem && !this.#lines.length) {
        const command = this.child.spawnargs.join(" ");
        throw new Error(`waited for ${pattern} of ${command}: ${problem}\n${this.#errors}`);
      }
    }
  }

  async end(signal) {
    this.child.kill(signal);
    return this.exit;
  }
}

/** A browser, and its pages with their errors and warnings. */
export class Browser {
  #pages = [];

  static async launch() {
    const browser = new Browser();
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    browser.chromium = await chromium.launch({ executablePath });
    return browser;
  }

  /**
   * Opens an address in a context of its own, as on another device. Options are those of
   * Playwright's contexts. `expect` matches errors that the test expects, and `prepare` is called
   * before the page loads.
   */
  async open(url, { expect, prepare, ...options } = {}) {
    const viewport = { width: 1280, height: 860 };
    const context = await this.chromium.newContext({ viewport, ...options });
    const page = await context.newPage();
    const complaints = [];
    const complain = (text) => expect?.test(text) || complaints.push(text);
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complain(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => complain(`uncaught: ${error.stack}`));
    // The console shows violations of the policy, too, but not what caused them.
    await page.exposeFunction("reportViolation", (text) => complain(`policy: ${text}`));
    await page.addInitScript(() =>
      document.addEventListener("securitypolicyviolation", (event) =>
        window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
      ),
    );
    await prepare?.(page);
    await page.goto(url);
    this.#pages.push({ page, complaints });
    return page;
  }

  /** Closes all pages. Fails if one of them had an error or a warning. */
  async closePages() {
    const pages = this.#pages.splice(0);
    for (const { page } of pages) await page.context().close();
    assert.deepEqual(pages.flatMap(({ complaints }) => complaints), []);
  }

  async close() {
    await this.chromium.close();
  }
}

/** Resolves to a page's id. */
export async function idOf(page) {
  await page.waitForSelector('body[data-server="open"] #copy-link:enabled');
  return page.locator("#id").innerText();
}

/** Resolves to the link that a page shows. */
export async function linkOf(page) {
  await idOf(page);
  return page.locator("#link").getAttribute("href");
}

/** Waits until a page's call is in a state. */
export async function inCall(page, state) {
  const selector = `#talk[data-state="${state}"]`;
  await page.waitForSelector(selector, { state: "attached", timeout: 20_000 });
}

/** Opens two pages, the second by the first one's link, and waits until they are connected. */
export async function openPair(browser, server, options) {
  const first = await browser.open(server.page, options);
  const second = await browser.open(await linkOf(first), options);
  await Promise.all([inCall(first, "connected"), inCall(second, "connected")]);
  return [first, second];
}

/** Writes a chat message. */
export async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

/** Waits until a page shows a chat message from the other side. */
export async function hears(page, text) {
  await page.locator(".bubble.in", { hasText: text }).waitFor();
}

/** Waits until a page offers a file to its user, and accepts it. */
export async function accept(page, name) {
  await page.getByRole("button", { name: `Accept ${name}`, exact: true }).click();
}

/** Writes random bytes to a file, which is removed after the tests. */
export function makeFile(name, size) {
  const bytes = randomBytes(size);
  const path = join(mkdtempSync(join(scratch, "file-")), name);
  writeFileSync(path, bytes);
  return { path, sha256: createHash("sha256").update(bytes).digest("hex") };
}
