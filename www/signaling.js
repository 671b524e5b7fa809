// Messages through the server: signals to other peers, and echoes to this page itself, which
// measure the round trip.

import { readSignal } from "./signal.js";

/** Topic of signals. */
const SIGNALS = 1;
/** Topic of echoes: messages that a peer sends to itself. */
const ECHOES = 2;
/** Bytes of a frame around its body: length 2, peer id 16, topic 2. */
const FRAME_OVERHEAD = 20;
const ECHO_EVERY_MS = 1_000;

/**
 * Events: `state` (detail: the client's state), `id` (detail: id, resumed; resumed: the page has
 * kept its id), `signal` (detail: from, signal), `traffic` (detail: direction, kind, peer, bytes),
 * `rtt` (detail: milliseconds), `trouble` (detail: message, retryInMs; the connection is lost, or a
 * dial failed), `unreadable` (detail: from, bytes), `peer` (detail: id, state; what the server says
 * of a peer: "unknown" if it dropped a signal because no peer has the id, else the client's states
 * of peers), `restart` (detail: inMs; the server will end the connection).
 */
export class Signaling extends EventTarget {
  #client;
  #signals;
  #echoes;
  #echo = { number: 0, sentAt: 0 };

  constructor(url) {
    super();
    this.url = url;
  }

  get id() {
    return this.#client?.id;
  }

  get state() {
    return this.#client?.state ?? "connecting";
  }

  /** Resolves when the page has its first id. */
  async connect() {
    const { default: init, Client } = await import("./pkg/waddell.js").catch((cause) => {
      const error = new Error("the browser package could not be loaded", { cause });
      throw Object.assign(error, { code: "package" });
    });
    await init();
    const options = { reconnectAttempts: Infinity, resume: true };
    this.#client = await Client.connect(this.url, options);
    this.#signals = this.#client.topic(SIGNALS);
    this.#echoes = this.#client.topic(ECHOES);
    this.#client.addEventListener("state", () => this.#emit("state", this.state));
    this.#client.addEventListener("error", ({ detail: { error, retryInMs } }) =>
      this.#emit("trouble", { message: error.message, retryInMs }),
    );
    this.#client.addEventListener("id", ({ detail: { id, resumed } }) =>
      this.#emit("id", { id, resumed }),
    );
    this.#client.addEventListener("peer", ({ detail: { id, state } }) => {
      // The page writes its echoes to itself.
      if (id !== this.id) this.#emit("peer", { id, state });
    });
    this.#client.addEventListener("undelivered", ({ detail: { to, topic, reason } }) => {
      const isUnknown = topic === SIGNALS && reason === "unknown-recipient";
      if (isUnknown) this.#emit("peer", { id: to, state: "unknown" });
    });
    this.#client.addEventListener("restart", ({ detail }) => this.#emit("restart", detail));
    this.#signals.addEventListener("message", ({ detail }) => this.#handleSignal(detail));
    this.#echoes.addEventListener("message", ({ detail }) => this.#handleEcho(detail));
    this.#emit("state", this.state);
    if (this.id) this.#emit("id", { id: this.id, resumed: false });
    setInterval(() => this.#sendEcho(), ECHO_EVERY_MS);
    this.#sendEcho();
  }

  /** Sends a signal. Returns false if there is no connection, or its buffer is full. */
  send(to, signal) {
    const body = new TextEncoder().encode(JSON.stringify(signal));
    try {
      this.#signals.send(to, body);
    } catch {
      return false;
    }
    this.#traffic("out", to, signal, body.length);
    return true;
  }

  #handleSignal({ from, body }) {
    const signal = readSignal(body);
    if (!signal) {
      this.#emit("unreadable", { from, bytes: body.length + FRAME_OVERHEAD });
      return;
    }
    this.#traffic("in", from, signal, body.length);
    this.#emit("signal", { from, signal });
  }

  #sendEcho() {
    if (this.state !== "open" || document.visibilityState === "hidden") return;
    this.#echo = { number: this.#echo.number + 1, sentAt: performance.now() };
    try {
      this.#echoes.send(this.id, String(this.#echo.number));
    } catch {
      // The connection was lost; the next echo goes over the next connection.
    }
  }

  #handleEcho({ from, body }) {
    if (from !== this.id || new TextDecoder().decode(body) !== String(this.#echo.number)) return;
    this.#emit("rtt", performance.now() - this.#echo.sentAt);
  }

  #traffic(direction, peer, signal, length) {
    const kind = signal.description?.type ?? signal.kind;
    this.#emit("traffic", { direction, peer, kind, bytes: length + FRAME_OVERHEAD });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
