// Chromium, and a server of files and of waddell for its pages. Environment: CHROMIUM is the
// browser's path.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join, normalize } from "node:path";
import { chromium } from "playwright-core";
import { WebSocketServer } from "ws";

import { Server } from "./support.js";

const TYPES = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };

// The least that a page must allow for the package.
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; " +
  "worker-src 'self'";

/** Serves `files` (path -> text), for other paths those of `folder`, and waddell on `/ws`. */
export async function serveFiles(folder, files = {}, policy = POLICY) {
  const http = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://host").pathname);
    const name = path === "/" ? "/index.html" : path;
    try {
      const body = files[name] ?? (await readFile(join(folder, name)));
      const type = TYPES[name.split(".").pop()] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type, "content-security-policy": policy });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  const waddell = new Server();
  waddell.listener = new WebSocketServer({ server: http, path: "/ws" });
  waddell.listener.on("connection", (socket) => {
    waddell.connections.push(socket);
    waddell.serve(socket);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    waddell,
    url: `http://127.0.0.1:${http.address().port}/`,
    async stop() {
      for (const socket of waddell.connections) socket.terminate();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

let browser;

/** Opens a page and collects its errors. */
export async function open(url) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  browser ??= await chromium.launch({ executablePath });
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.location().url.endsWith("favicon.ico")) {
      errors.push(message.text());
    }
  });
  await page.goto(url);
  return { page, errors, close: () => context.close() };
}

export async function closeBrowser() {
  await browser?.close();
  browser = undefined;
}

/** Waits until the page sets its title, and resolves to that title. */
export async function result({ page, errors }) {
  await page
    .waitForFunction(() => document.title, undefined, { timeout: 20_000 })
    .catch((error) => {
      throw new Error(`the page did not finish: ${errors.join("\n")}`, { cause: error });
    });
  return page.title();
}
