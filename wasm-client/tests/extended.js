// A server that speaks the extension, in JavaScript: its bytes are those of PROTOCOL.md.

import { randomUUID } from "node:crypto";

import { connect, frame, next, Server } from "./support.js";

const NIL = "00000000-0000-0000-0000-000000000000";
const CONTROL = 0xffff;

/** Parts of the extension, as bits of `wants` and `granted`. */
export const PARTS = {
  verdicts: 0x01,
  peers: 0x02,
  resume: 0x04,
  restart: 0x08,
  ice: 0x10,
  renew: 0x20,
  auth: 0x40,
};
export const ALL_PARTS = Object.values(PARTS).reduce((bits, bit) => bits | bit);

/** Why a message was dropped. */
export const REASONS = { various: 0, unknown: 1, away: 2, full: 3, memory: 4 };

/** States of a peer. */
export const STATES = { lost: 0, here: 1, away: 2, gone: 3 };

const KINDS = {
  0x01: "hello",
  0x02: "sync",
  0x03: "watch",
  0x04: "unwatch",
  0x05: "renew",
  0x06: "auth",
  0x07: "ice",
  0x08: "bye",
};

/** Bytes of an integer of `size` bytes. */
export function int(value, size) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes.subarray(0, size);
}

const uuid = (id) => Buffer.from(id.replaceAll("-", ""), "hex");
const toText = (bytes) =>
  bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
const field = (tag, value) => Buffer.concat([int(tag, 1), int(value.length, 2), value]);
const control = (kind, ...parts) => frame(NIL, CONTROL, Buffer.concat([int(kind, 1), ...parts]));

export function welcome({ granted, id, flags = 0, fields = {} }) {
  const encoded = Object.entries(fields).map(([tag, value]) => field(tag, value));
  const head = [int(2, 1), int(flags, 1), int(granted, 4), uuid(id), int(65_535, 2)];
  return control(0x81, ...head, ...encoded);
}

export function dropped(...entries) {
  return control(
    0x82,
    ...entries.flatMap(({ first, span = 1, count = span, reason, topic = 0, to = NIL }) => [
      int(first, 8),
      int(span, 4),
      int(count, 4),
      int(reason, 1),
      int(0, 1),
      int(topic, 2),
      uuid(to),
    ]),
  );
}

export const handled = (upto, { complete = true } = {}) =>
  control(0x83, int(upto, 8), int(complete ? 1 : 0, 1));

export const peers = (...entries) =>
  control(
    0x84,
    ...entries.flatMap(({ id = NIL, state, lost = 0 }) => [uuid(id), int(state, 1), int(lost, 4)]),
  );

export const renewed = (id, token) => control(0x85, uuid(id), token ? field(1, token) : int(0, 0));

export const token = (bytes) => control(0x86, bytes);

/** ICE servers: what the frame and the field of WELCOME have in common. */
export const iceServers = (seconds, json) => Buffer.concat([int(seconds, 4), Buffer.from(json)]);

export const ice = (seconds, json) => control(0x88, iceServers(seconds, json));

export const restarting = (inMs, waitMs = 0, spreadMs = 0) =>
  control(0x89, int(inMs, 4), int(waitMs, 4), int(spreadMs, 4), int(0, 1));

export const closing = (code, upto, reason = "") =>
  control(0x8a, int(code, 2), int(upto, 8), Buffer.from(reason));

/**
 * One connection to the server. It greets and answers HELLO, SYNC and WATCH by itself, unless
 * `answers` leaves their names out, or `refusal` comes in place of the greeting. All frames of the
 * client are in `frames`.
 */
export class Connection {
  /** The frames after HELLO, with their numbers. */
  frames = [];
  /** The decoded HELLO: `version`, `wants`, `fields`. */
  hello;
  /** Number of the next frame. */
  number;
  /** Returns why to drop a message; `undefined`: forward it. */
  drop = () => undefined;
  #waiting = [];

  constructor(socket, request, { granted = ALL_PARTS, id = randomUUID(), ...options } = {}) {
    this.socket = socket;
    this.granted = granted;
    this.id = id;
    this.answers = options.answers ?? ["hello", "sync", "watch"];
    this.welcome = options.welcome ?? {};
    this.refusal = options.refusal;
    socket.on("message", (data) => this.#receive(data));
    if (!this.refusal) socket.send(frame(id, 0));
    if (socket.protocol === "waddell.2") {
      const protocols = request.headers["sec-websocket-protocol"];
      const [, base64url] = /waddell\.2\.hello\.([\w-]+),waddell$/.exec(protocols);
      this.#begin(Buffer.from(base64url, "base64url"));
    }
  }

  send(bytes) {
    this.socket.send(bytes);
  }

  /** Resolves to the next frame of a kind that was not returned yet. */
  async next(kind) {
    for (;;) {
      const found = this.frames.find((one) => one.kind === kind && !one.isReturned);
      if (found) return Object.assign(found, { isReturned: true });
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  #receive(data) {
    // The package sends each frame as one message.
    const [to, topic] = [toText(data.subarray(2, 18)), data.readUInt16LE(18)];
    const body = data.subarray(20);
    const kind = to === NIL && topic === CONTROL ? KINDS[body[0]] : "message";
    if (kind === "hello") this.#begin(body);
    else this.#handle({ number: this.number++, kind, to, topic, body });
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #begin(body) {
    const fields = new Map();
    for (let at = 10; at < body.length; ) {
      const length = body.readUInt16LE(at + 1);
      fields.set(body[at], body.subarray(at + 3, at + 3 + length));
      at += 3 + length;
    }
    this.hello = { version: body[5], wants: body.readUInt32LE(6), fields };
    this.number = Number(fields.get(2)?.readBigUInt64LE() ?? 1n);
    this.frames.push({ kind: "hello", ...this.hello });
    if (this.refusal) this.send(this.refusal);
    if (this.refusal || !this.answers.includes("hello")) return;
    const granted = this.granted & this.hello.wants;
    this.send(welcome({ granted, id: this.id, ...this.welcome }));
  }

  #handle(one) {
    this.frames.push(one);
    const { number, kind, to, topic, body } = one;
    if (kind === "message") {
      const reason = this.drop(one);
      if (reason !== undefined) this.send(dropped({ first: number, reason, topic, to }));
    }
    if (kind === "sync" && this.answers.includes("sync")) this.send(handled(number));
    if (kind === "watch" || kind === "unwatch") {
      one.ids = [];
      for (let at = 1; at < body.length; at += 16) one.ids.push(toText(body.subarray(at, at + 16)));
    }
    if (kind === "watch" && this.answers.includes("watch")) {
      this.send(peers(...one.ids.map((id) => ({ id, state: STATES.here }))));
    }
  }
}

/** Connects, and waits for what the server grants. */
export async function connectExtended(server, options) {
  const client = await connect(server, options);
  if (!client.extension) await next(client, "extension");
  return client;
}

/** Collects the details of a client's events of a type. */
export function collect(client, type) {
  const details = [];
  client.addEventListener(type, (event) => details.push(event.detail));
  return details;
}

/** Runs `body` with a server whose connections are `options(number)`, and stops it afterwards. */
export async function withExtended(options, body) {
  const connections = [];
  const server = await Server.start((socket, number, request) => {
    connections.push(new Connection(socket, request, options?.(number)));
  });
  try {
    await body(server, connections);
  } finally {
    await server.stop();
  }
}
