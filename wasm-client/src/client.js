// The public class Client.
//
// The protocol is in Rust (driver.rs). The classes call a `Driver`, and the `Driver` calls the
// methods of the handler that `Client` gives it.

import { Checks } from "./checks.js";
import { connectFailed, disconnectError, illegalConstructor } from "./errors.js";
import init from "./init.js";
import { parseOptions } from "./options.js";
import { abortedBy, unlessAborted } from "./signal.js";
import { Socket } from "./socket.js";
import { end, HERE, offer, Topic } from "./topic.js";
import { Driver, WaddellError } from "./wasm.js";

// A client lives until it is closed, even if the application holds no reference to it: its driver
// holds the handler below, and the handler holds the client.
export class Client extends EventTarget {
  #settings;
  #driver;
  #socket; // the latest
  #closing; // how the server has closed it: its close event, or what came before that
  #timer;
  #checks;
  #topics = new Map();
  #id = null;
  #extension = null;
  #state = "connecting";
  #closeError; // why the client was closed, if not by `close` or by the driver
  #connecting; // resolve and reject of the promise that `connect` returned
  #removeListeners; // those on the page and the signal

  static async connect(url, options = {}) {
    const settings = parseOptions(url, options);
    await unlessAborted(settings.signal, init);
    return new Promise((resolve, reject) => new Client(HERE, settings, { resolve, reject }));
  }

  constructor(key, settings, connecting) {
    super();
    if (key !== HERE) throw illegalConstructor("Client.connect(url)");
    this.#settings = settings;
    this.#connecting = connecting;
    this.#removeListeners = this.#addListeners(settings.signal);
    this.#driver = new Driver(
      this.#handler(),
      settings.reconnectAttempts,
      settings.connectTimeoutMs,
      settings.keepAliveMs,
      settings.silenceTimeoutMs,
      settings.maxBufferedAmount,
      settings.extension,
    );
    this.#checks = new Checks(this.#driver);
    this.#driver.drain();
  }

  get id() {
    return this.#driver.closed ? null : this.#id;
  }

  get state() {
    return this.#driver.closed ? "closed" : this.#state;
  }

  get extension() {
    return this.#driver.closed ? null : this.#extension;
  }

  topic(number) {
    if (!Number.isInteger(number) || number < 0 || number > 0xffff) {
      throw new WaddellError("invalid-topic", "a topic is a whole number from 0 to 65535");
    }
    let topic = this.#topics.get(number);
    if (!topic) {
      this.#driver.openTopic(number);
      topic = new Topic(HERE, this.#driver, this.#checks, number);
      this.#topics.set(number, topic);
    }
    return topic;
  }

  close() {
    this.#driver.close();
  }

  // Called by the driver ----------------------------------------------------------------------

  #handler() {
    const client = this;
    return {
      dial: () => this.#dial(),
      transmit: (bytes) => this.#socket.send(bytes),
      // There is no socket if the constructor threw. 1000 says that the client will not come back.
      hangUp: () => this.#socket?.hangUp(this.#driver.closed ? 1000 : 3000),
      get bufferedAmount() {
        return client.#socket.bufferedAmount;
      },
      setTimer: (delayMs) => this.#setTimer(delayMs),
      connected: (id) => this.#connected(id),
      message: (topic, message) => offer(this.#topics.get(topic), message),
      extended: (granted) => this.#extended(granted),
      checked: (...outcome) => this.#checks.settle(...outcome),
      undelivered: (...dropped) => this.#undelivered(...dropped),
      // 1001 is the WebSocket close code of a server that stops, with or without the extension.
      closing: (code, reason) => (this.#closing = { code: code === 4000 ? 1001 : code, reason }),
      disconnected: (...reason) => this.#disconnected(...reason),
      closed: (...reason) => this.#closed(...reason),
    };
  }

  #dial() {
    this.#enter("connecting");
    const { WebSocket, url, protocols } = this.#settings;
    try {
      this.#socket = new Socket(new WebSocket(url, protocols), this.#driver, (closeEvent) => {
        this.#closing = closeEvent;
        this.#driver.lost();
      });
    } catch (cause) {
      this.#closeError = new WaddellError(
        "websocket-refused",
        `the WebSocket constructor refused ${url}: ${cause?.message}`,
        { cause },
      );
      throw cause; // the driver closes the client
    }
  }

  #connected(id) {
    this.#id = id;
    this.#enter("open");
    this.#emit("id", { id });
    this.#connecting.resolve(this);
  }

  #setTimer(delayMs) {
    clearTimeout(this.#timer);
    if (delayMs === Infinity) return;
    this.#timer = setTimeout(() => this.#driver.timerFired(), Math.min(delayMs, MAX_DELAY_MS));
  }

  #extended(granted) {
    const isGranted = (name, bit) => [name, Boolean(granted & (1 << bit))];
    this.#extension = Object.freeze(Object.fromEntries(PARTS.map(isGranted)));
    this.#emit("extension", { extension: this.#extension });
  }

  #undelivered(to, topic, reason, count, exact) {
    const whose = exact ? { to, topic } : { to: null, topic: null };
    this.#emit("undelivered", { ...whose, reason, count, exact });
  }

  #disconnected(code, message, retryInMs) {
    const error = this.#lossOf(code, message);
    this.#id = this.#extension = null;
    this.#enter("waiting");
    this.#emit("error", { code: error.code, error, retryInMs });
  }

  /** `code` and `message` are about the last attempt, if no attempt is left. */
  #closed(code, message) {
    this.#id = this.#extension = null;
    this.#setTimer(Infinity);
    this.#removeListeners();
    const error = this.#closeError ?? (code ? connectFailed(this.#lossOf(code, message)) : null);
    this.#connecting.reject(error ?? new WaddellError("closed", "the client was closed"));
    this.#enter("closed");
    for (const topic of this.#topics.values()) end(topic);
    this.#emit("close", { code: error?.code ?? "closed", error });
  }

  // -------------------------------------------------------------------------------------------

  /** Returns the error of a socket's loss. */
  #lossOf(code, message) {
    const closing = this.#closing;
    this.#closing = undefined;
    return disconnectError(code, message, closing);
  }

  #enter(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #abort() {
    this.#closeError ??= abortedBy(this.#settings.signal);
    this.close();
  }

  /** Listens for events to dial at once, or to close. Returns a function that stops that. */
  #addListeners(signal) {
    const { document } = globalThis;
    const online = () => this.#driver.retryNow();
    const visible = () => document.visibilityState === "visible" && this.#driver.retryNow();
    const aborted = () => this.#abort();
    // Node has neither these functions nor these events.
    globalThis.addEventListener?.("online", online);
    document?.addEventListener("visibilitychange", visible);
    signal?.addEventListener("abort", aborted);
    return () => {
      globalThis.removeEventListener?.("online", online);
      document?.removeEventListener("visibilitychange", visible);
      signal?.removeEventListener("abort", aborted);
    };
  }
}

/** Parts of the extension, in the order of their bits. */
const PARTS = ["verdicts", "peers", "resume", "restart", "ice", "renew", "auth"];

/** Longest delay of `setTimeout`, 24.8 days; longer ones fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

// For `using` declarations, where the engine has them.
if (Symbol.dispose) Client.prototype[Symbol.dispose] = Client.prototype.close;
