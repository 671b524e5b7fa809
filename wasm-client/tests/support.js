// Shared by the tests: a small waddell server, and the built package.
//
// By hand, from this folder:
//
//   cargo xtask package
//   cargo build -p waddell-server
//   npm ci
//   node --test
//
// Environment: WADDELL_PROGRAMS is the folder of `waddell-server` (default: target/debug of the
// repository).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { WebSocket, WebSocketServer } from "ws";

import { Client, WaddellError } from "../pkg/inline/waddell.js";

export const pkg = resolve(import.meta.dirname, "../pkg");
export const PEER = "00010203-0405-4607-8809-0a0b0c0d0e0f";

/** Returns a frame's bytes: prefix, header, body. */
export function frame(peer, topic, body = "") {
  const header = Buffer.alloc(20);
  header.writeUInt16LE(18 + Buffer.byteLength(body), 0);
  Buffer.from(peer.replaceAll("-", ""), "hex").copy(header, 2);
  header.writeUInt16LE(topic, 18);
  return Buffer.concat([header, Buffer.from(body)]);
}

/**
 * A server that gives ids and forwards messages. `onConnection(socket, number, request)` replaces
 * `serve`; numbers begin at 0.
 */
export class Server {
  connections = [];
  #peers = new Map();

  static async start(onConnection, { port = 0 } = {}) {
    const server = new Server();
    server.listener = new WebSocketServer({ port, host: "127.0.0.1" });
    server.listener.on("connection", (socket, request) => {
      const number = server.connections.push(socket) - 1;
      if (onConnection) onConnection(socket, number, request);
      else server.serve(socket);
    });
    await once(server.listener, "listening");
    server.port = server.listener.address().port;
    server.url = `ws://127.0.0.1:${server.port}/ws`;
    return server;
  }

  /** Serves a connection like a waddell server. */
  serve(socket) {
    const id = randomUUID();
    this.#peers.set(id, socket);
    socket.on("close", () => this.#peers.delete(id));
    socket.on("message", (data) => {
      // The package sends each frame as one message, although the protocol does not demand it.
      if (data.length < 20) return;
      const to = data.toString("hex", 2, 18).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
      const forwarded = Buffer.from(data); // a copy, because tests read what was sent
      Buffer.from(id.replaceAll("-", ""), "hex").copy(forwarded, 2);
      this.#peers.get(to)?.send(forwarded);
    });
    socket.send(frame(id, 0));
    return id;
  }

  async stop() {
    for (const socket of this.connections) socket.terminate();
    this.listener.close();
    await once(this.listener, "close");
  }
}

/** The real server, as a process. */
export class RealServer {
  static async start(...args) {
    const root = resolve(import.meta.dirname, "../..");
    const programs = process.env.WADDELL_PROGRAMS ?? join(root, "target/debug");
    const listen = args.includes("--listen") ? [] : ["--listen", "ws://127.0.0.1:0"];
    const all = [...listen, ...args];
    const stdio = ["ignore", "pipe", "inherit"];
    const server = new RealServer();
    server.child = spawn(join(programs, "waddell-server"), [...all, "--log", "error"], { stdio });
    const [line] = await once(createInterface({ input: server.child.stdout }), "line");
    server.url = `${line.replace("listening on ", "")}/ws`;
    return server;
  }

  async stop() {
    const exited = once(this.child, "exit");
    this.child.kill("SIGTERM");
    await exited;
  }
}

/** Runs `body` with a server, and stops the server afterwards. */
export async function withServer(onConnection, body) {
  const server = await Server.start(onConnection);
  try {
    await body(server);
  } finally {
    await server.stop();
  }
}

export function connect(server, options) {
  return Client.connect(server.url ?? server, { WebSocket, ...options });
}

/** Asserts that a promise is rejected with an error of the package. */
export const rejects = (promise, code) =>
  assert.rejects(promise, (error) => error instanceof WaddellError && error.code === code);

/** Asserts that a call throws an error of the package. */
export const throws = (call, code) =>
  assert.throws(call, (error) => error instanceof WaddellError && error.code === code);

/** Resolves to the detail of the next event of a type. */
export async function next(target, type) {
  return new Promise((resolve) => {
    target.addEventListener(type, (event) => resolve(event.detail), { once: true });
  });
}

/** Resolves to the next `count` messages of a topic. */
export async function read(topic, count) {
  const messages = [];
  if (count === 0) return messages;
  for await (const message of topic) {
    if (messages.push(message) === count) break;
  }
  return messages;
}

export const text = (message) => Buffer.from(message.body).toString();

/**
 * The golden vectors of the core: name, to, wire, outcome, message with peer, topic, parts.
 * `controls` are control frames of the extension, the others are frames of the original.
 */
export const [vectors, controls] = (() => {
  const file = resolve(import.meta.dirname, "../../core/testdata/vectors.json");
  const { vectors, self } = JSON.parse(readFileSync(file));
  const bytes = ({ hex, times = 1 }) =>
    Buffer.concat(Array(times).fill(Buffer.from(hex.replaceAll(" ", ""), "hex")));
  const all = vectors.map((vector) => ({
    ...vector,
    self,
    wire: Buffer.concat(vector.wire.map(bytes)),
    message: vector.message && { ...vector.message, parts: vector.message.parts.map(bytes) },
  }));
  const isControl = ({ to }) => to.endsWith(" control");
  return [all.filter((vector) => !isControl(vector)), all.filter(isControl)];
})();

export { Client, WebSocket };
