// The public class Client.
//
// The protocol is in Rust (driver.rs). The classes call a `Driver`, and the `Driver` calls the
// methods of the handler that `Client` gives it.

import { abortedBy, connectFailed, disconnectError, illegalConstructor } from "./errors.js";
import init from "./init.js";
import { parseOptions } from "./options.js";
import { Socket } from "./socket.js";
import { end, HERE, offer, Topic } from "./topic.js";
import { Driver, WaddellError } from "./wasm.js";

/** Longest delay of `setTimeout`, 24.8 days; longer ones fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

// A client lives until it is closed, even if the application holds no reference to it: its driver
// holds the handler below, and the handler holds the client.
export class Client extends EventTarget {
  #settings;
  #driver;
  #socket; // the latest
  #closeEvent; // its close event, until its loss is reported
  #timer;
  #topics = new Map();
  #id = null;
  #state = "connecting";
  #closeError; // why the client was closed, if not by `close` or by the driver
  #connecting; // resolve and reject of the promise that `connect` returned
  #removeListeners; // those on the page and the signal

  static async connect(url, options = {}) {
    const settings = parseOptions(url, options);
    const { signal } = settings;
    if (signal) await unlessAborted(signal, init);
    else await init();
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
      settings.maxBufferedAmount,
    );
    this.#driver.start();
  }

  get id() {
    return this.#driver.closed ? null : this.#id;
  }

  get state() {
    return this.#driver.closed ? "closed" : this.#state;
  }

  topic(number) {
    if (!Number.isInteger(number) || number < 0 || number > 0xffff) {
      throw new WaddellError("invalid-topic", "a topic is a whole number from 0 to 65535");
    }
    let topic = this.#topics.get(number);
    if (!topic) {
      this.#driver.openTopic(number);
      topic = new Topic(HERE, this.#driver, number);
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
      hangUp: () => this.#socket?.hangUp(), // there is none if the constructor threw
      get bufferedAmount() {
        return client.#socket.bufferedAmount;
      },
      setTimer: (delayMs) => this.#setTimer(delayMs),
      connected: (id) => this.#connected(id),
      message: (topic, message) => offer(this.#topics.get(topic), message),
      disconnected: (...reason) => this.#disconnected(...reason),
      closed: (...reason) => this.#closed(...reason),
    };
  }

  #dial() {
    this.#enter("connecting");
    const { WebSocket, url, protocols } = this.#settings;
    try {
      this.#socket = new Socket(new WebSocket(url, protocols), this.#driver, (closeEvent) => {
        this.#closeEvent = closeEvent;
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

  #disconnected(code, message, retryInMs) {
    const error = this.#lossOf(code, message);
    this.#id = null;
    this.#enter("waiting");
    this.#emit("error", { code: error.code, error, retryInMs });
  }

  /** `code` and `message` are about the last attempt, if no attempt is left. */
  #closed(code, message) {
    this.#id = null;
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
    const closeEvent = this.#closeEvent;
    this.#closeEvent = undefined;
    return disconnectError(code, message, closeEvent);
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

// For `using` declarations, where the engine has them.
if (Symbol.dispose) Client.prototype[Symbol.dispose] = Client.prototype.close;

/** Calls `start`, and rejects if the signal is aborted before its promise is settled. */
async function unlessAborted(signal, start) {
  if (signal.aborted) throw abortedBy(signal);
  let abort;
  const aborted = new Promise((_, reject) => (abort = () => reject(abortedBy(signal))));
  signal.addEventListener("abort", abort);
  try {
    await Promise.race([start(), aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
  if (signal.aborted) throw abortedBy(signal);
}
