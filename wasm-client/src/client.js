// The public classes Client and Topic, with their events and promises.
//
// The protocol is in Rust (driver.rs). The classes below call a `Driver`, and the `Driver` calls
// the methods of the handler that `Client` gives it.

import init from "./init.js";
import { Socket } from "./socket.js";
import { Driver, WaddellError } from "./wasm.js";

// Only this module can call the constructors.
const HERE = Symbol();

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

// Private methods of `Topic` that `Client` calls.
let offer;
let end;

// A topic has two ways to take messages. Listeners fit pages that draw what arrives; loops fit
// dialogues, in which a program waits for the next message. `EventTarget` dispatches to listeners
// that exist at that time, so messages before the first listener or loop wait in the inbox.
export class Topic extends EventTarget {
  #driver;
  #number;
  #ended = false;
  #readers = []; // calls of next() that wait for a message
  #iterations = 0; // number of running loops
  #wrappers = new WeakMap(); // "message" listener -> the function that is registered for it
  #listening = false; // whether there may be "message" listeners
  #wasHeard = false; // whether a "message" listener was called since this was reset
  #flushing = false; // whether queued messages are still to be dispatched to listeners
  #undelivered; // a message that no listener got; older than those in the inbox

  static {
    offer = (topic, message) => !topic || topic.#offer(message);
    end = (topic) => topic.#end();
  }

  constructor(key, driver, number) {
    super();
    if (key !== HERE) throw illegalConstructor("client.topic(number)");
    this.#driver = driver;
    this.#number = number;
  }

  get number() {
    return this.#number;
  }

  get lost() {
    return this.#driver.lostMessages(this.#number);
  }

  send(peerId, body) {
    if (typeof peerId !== "string" || peerId.length > 36) {
      throw new WaddellError("invalid-peer-id", "a peer id is a string such as client.id");
    }
    const parts = Array.isArray(body) ? body : [body];
    this.#driver.send(peerId, this.#number, parts.map(toBytes));
  }

  addEventListener(type, listener, options) {
    if (type !== "message" || !isListener(listener)) {
      super.addEventListener(type, listener, options);
      return;
    }
    super.addEventListener(type, this.#wrap(listener), options);
    this.#listening = true;
    if (!this.#flushing) {
      // Queued messages come before new ones, but after the caller has added more listeners.
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
  }

  removeEventListener(type, listener, options) {
    const wrapper = type === "message" && isListener(listener) && this.#wrappers.get(listener);
    super.removeEventListener(type, wrapper || listener, options);
  }

  [Symbol.asyncIterator]() {
    let state = "new"; // then "begun", then "done"
    const done = (value) => ({ value, done: true });
    const iterator = {
      next: async () => {
        if (state === "done") return done();
        if (state === "new") {
          state = "begun";
          this.#iterations += 1;
        }
        const message = this.#take();
        if (message) return { value: message, done: false };
        if (this.#ended) return iterator.return();
        return new Promise((resolve) => this.#readers.push({ iterator, resolve }));
      },
      return: async (value) => {
        if (state === "begun") this.#iterationEnded();
        state = "done";
        const mine = this.#readers.filter((reader) => reader.iterator === iterator);
        this.#readers = this.#readers.filter((reader) => reader.iterator !== iterator);
        for (const { resolve } of mine) resolve(done());
        return done(value);
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** Delivers a new message. Returns whether the inbox must keep it. */
  #offer(message) {
    if (this.#flushing && this.#iterations === 0) return true; // older ones come first
    const heard = this.#dispatch(message);
    const reader = this.#readers.shift();
    reader?.resolve({ value: message, done: false });
    return !reader && (!heard || this.#iterations > 0);
  }

  /** Dispatches a message to the listeners. Returns whether there was one. */
  #dispatch(message) {
    if (!this.#listening) return false;
    this.#wasHeard = false;
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    this.#listening = this.#wasHeard;
    return this.#wasHeard;
  }

  /** Dispatches the queued messages to listeners, unless a loop reads them. */
  #flush() {
    while (this.#iterations === 0 && this.#listening) {
      const message = this.#take();
      if (!message) break;
      if (!this.#dispatch(message)) this.#undelivered = message;
    }
    this.#flushing = false;
  }

  #take() {
    const message = this.#undelivered ?? this.#driver.pop(this.#number);
    this.#undelivered = undefined;
    return message;
  }

  /** Keeps a loop's unread messages for the next loop, unless listeners have seen them. */
  #iterationEnded() {
    this.#iterations -= 1;
    if (this.#iterations === 0 && this.#listening) while (this.#take());
  }

  #end() {
    this.#ended = true;
    for (const { iterator } of [...this.#readers]) iterator.return();
  }

  #wrap(listener) {
    let wrapper = this.#wrappers.get(listener);
    if (!wrapper) {
      const topic = this;
      wrapper = function (event) {
        topic.#wasHeard = true;
        if (typeof listener === "function") listener.call(this, event);
        else listener.handleEvent(event);
      };
      this.#wrappers.set(listener, wrapper);
    }
    return wrapper;
  }
}

function isListener(value) {
  return typeof value === "function" || (typeof value === "object" && value !== null);
}

function illegalConstructor(instead) {
  return new WaddellError("illegal-constructor", `cannot be constructed: call ${instead}`);
}

function parseOptions(url, options) {
  // Other kinds of objects, such as arrays and signals, have no property that is an option.
  if (kindOf(options) !== "Object") throw invalidOption("the options argument", "an object");
  const {
    reconnectAttempts = 10,
    connectTimeoutMs = 10_000,
    keepAliveMs = Infinity,
    maxBufferedAmount = 1 << 20,
    protocols = [],
    WebSocket = globalThis.WebSocket,
    signal,
    ...unknown
  } = options;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw new WaddellError("invalid-option", `there is no option ${stranger}`);
  }
  const isCount = Number.isInteger(reconnectAttempts) || reconnectAttempts === Infinity;
  if (!isCount || reconnectAttempts < 0) {
    throw invalidOption("reconnectAttempts", "a whole number of at least 0, or Infinity");
  }
  for (const [name, ms] of Object.entries({ connectTimeoutMs, keepAliveMs })) {
    if (typeof ms !== "number" || !(ms >= 1)) {
      throw invalidOption(name, "at least 1 millisecond, or Infinity for never");
    }
  }
  if (typeof maxBufferedAmount !== "number" || !(maxBufferedAmount >= 0)) {
    throw invalidOption("maxBufferedAmount", "a number of bytes, or Infinity");
  }
  const isSignal = typeof signal?.addEventListener === "function" && "aborted" in signal;
  if (signal !== undefined && !isSignal) {
    throw invalidOption("signal", "an AbortSignal");
  }
  const isProtocol = (value) => typeof value === "string";
  if (!isProtocol(protocols) && !(Array.isArray(protocols) && protocols.every(isProtocol))) {
    throw invalidOption("protocols", "a string or an array of strings");
  }
  if (WebSocket === undefined) {
    throw new WaddellError(
      "no-websocket",
      "this environment has no WebSocket: pass a constructor as the option WebSocket " +
        '(Node before 22: `import { WebSocket } from "ws"`)',
    );
  }
  if (typeof WebSocket !== "function") throw invalidOption("WebSocket", "a constructor");
  return {
    url: parseUrl(url),
    reconnectAttempts,
    connectTimeoutMs,
    keepAliveMs,
    maxBufferedAmount,
    protocols,
    WebSocket,
    signal,
  };
}

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

/**
 * Makes the error of a dial that failed or a connection that ended. `event` is the WebSocket's
 * close event, if there was one.
 */
function disconnectError(code, message, event) {
  if (event?.isBlocked) {
    return new WaddellError(
      code,
      `${message}: the browser blocked the address; ` +
        "does the page's content security policy allow it in connect-src?",
    );
  }
  const { code: closeCode, reason } = event ?? {};
  // WebSocket implementations report 1005, 1006 and 1015 if the server has sent no code.
  const wasSent = closeCode >= 1000 && ![1005, 1006, 1015].includes(closeCode);
  if (!wasSent) return new WaddellError(code, message);
  const closeReason = String(reason ?? "");
  const why = closeReason && `: ${closeReason}`;
  return new WaddellError(code, `${message}: the server closed it with code ${closeCode}${why}`, {
    closeCode,
    closeReason,
  });
}

function connectFailed(cause) {
  const { message, closeCode, closeReason } = cause;
  const options = { cause, closeCode, closeReason };
  return new WaddellError("connect-failed", `no reconnect attempt is left: ${message}`, options);
}

function abortedBy(signal) {
  return new WaddellError("aborted", "the signal was aborted", { cause: signal.reason });
}

function invalidOption(name, expected) {
  return new WaddellError("invalid-option", `${name} must be ${expected}`);
}

/** Accepts ws: and wss:, or http: and https: in their place; in a page relative URLs, too. */
function parseUrl(url) {
  const invalid = (cause) =>
    new WaddellError("invalid-url", "the URL must be like wss://host/ws", { cause });
  // Other values would become strings, and relative addresses: "/undefined", say.
  const isAddress = typeof url === "string" ? url.trim() !== "" : kindOf(url) === "URL";
  if (!isAddress) throw invalid();
  let parsed;
  try {
    parsed = new URL(url, globalThis.location?.href);
  } catch (cause) {
    throw invalid(cause);
  }
  parsed.hash = "";
  const address = parsed.href.replace(/^http/, "ws");
  if (!/^wss?:/.test(address)) throw invalid();
  return address;
}

/** Returns the name of a value's class, because another frame's classes are other objects. */
function kindOf(value) {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}

const encoder = new TextEncoder();

function toBytes(part) {
  if (typeof part === "string") return encoder.encode(part);
  try {
    if (ArrayBuffer.isView(part)) {
      return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    }
    if (["ArrayBuffer", "SharedArrayBuffer"].includes(kindOf(part))) return new Uint8Array(part);
  } catch {
    // A detached buffer.
  }
  throw new WaddellError(
    "invalid-body",
    "a body is a string, an ArrayBuffer, a view of one such as Uint8Array, or an array of those",
  );
}
