// What an application holds: clients, topics, events, promises and errors.
//
// The protocol, the socket and the timer are Rust's (driver.rs); a `Driver` calls the methods of
// the handler that `Client` gives it, and is called by what is below.

/** What every error of this package is: an `Error` with a `code`. */
export class WaddellError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}
WaddellError.prototype.name = "WaddellError";

let newDriver; // known as soon as the wasm module runs

export function provide(factory) {
  newDriver = factory;
}

export function received(from, topic, body) {
  return { from, topic, body };
}

export function ignore() {}

// Only this module can call the constructors.
const HERE = Symbol();

// A client lives until it is closed, whether or not the application still holds it: until then its
// driver has the handler below, and thereby the client.
export class Client extends EventTarget {
  #settings;
  #driver;
  #topics = new Map();
  #id = null;
  #state = "connecting";
  #refusal; // why the client was closed, if neither the server nor `close` is the reason
  #lastError; // of the latest lost connection or failed attempt
  #settle; // of the promise that `connect` returned
  #unhook; // stops listening to the page and the signal

  static async connect(url, options = {}) {
    if (!newDriver) {
      throw new WaddellError(
        "not-initialized",
        "the wasm module does not run yet: `await init()` first, init being the default export",
      );
    }
    const settings = parseOptions(url, options);
    if (settings.signal?.aborted) throw abortedBy(settings.signal);
    return new Promise((resolve, reject) => new Client(HERE, settings, { resolve, reject }));
  }

  constructor(key, settings, settle) {
    super();
    if (key !== HERE) throw illegalConstructor("Client.connect(url)");
    this.#settings = settings;
    this.#settle = settle;
    this.#unhook = this.#hook(settings.signal);
    this.#driver = newDriver(
      {
        dial: () => this.#dial(),
        connected: (id) => this.#connected(id),
        message: (topic, message) => offer(this.#topics.get(topic), message),
        disconnected: (error, retryInMs) => this.#disconnected(error, retryInMs),
        closed: (error) => this.#closed(error),
      },
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

  #dial() {
    this.#enter("connecting");
    const { WebSocket, url, protocols } = this.#settings;
    try {
      return new WebSocket(url, protocols);
    } catch (cause) {
      this.#refusal = new WaddellError(
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
    this.#settle.resolve(this);
  }

  #disconnected(error, retryInMs) {
    this.#id = null;
    this.#lastError = error;
    this.#enter("waiting");
    this.#emit("error", { code: error.code, error, retryInMs });
  }

  #closed(error) {
    this.#id = null;
    this.#unhook();
    if (error) error.cause = this.#lastError;
    error = this.#refusal ?? error ?? null;
    this.#settle.reject(error ?? new WaddellError("closed", "the client was closed"));
    this.#enter("closed");
    for (const topic of this.#topics.values()) end(topic);
    this.#emit("close", { code: error?.code ?? "closed", error });
  }

  // -------------------------------------------------------------------------------------------

  #enter(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #abort() {
    this.#refusal ??= abortedBy(this.#settings.signal);
    this.close();
  }

  /** Listens for reasons to dial at once, or to close. Returns how to stop. */
  #hook(signal) {
    const { document } = globalThis;
    const online = () => this.#driver.retryNow();
    const visible = () => document.visibilityState === "visible" && this.#driver.retryNow();
    const aborted = () => this.#abort();
    // Node has neither the function nor the events.
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

// For `using`, where there is such a thing.
if (Symbol.dispose) Client.prototype[Symbol.dispose] = Client.prototype.close;

// What `Client` may do with a topic and nobody else.
let offer;
let end;

export class Topic extends EventTarget {
  #driver;
  #number;
  #ended = false;
  #readers = []; // calls of next() that wait for a message
  #iterations = 0; // loops that have begun and not ended
  #wrappers = new WeakMap(); // "message" listener -> the function that is registered for it
  #listening = false; // whether there may be "message" listeners
  #heard = false; // whether any was called since this was last reset
  #flushing = false; // whether messages that waited are on their way to listeners
  #unheard; // a message that was dispatched to nobody; older than those in the inbox

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
    return this.#driver.lost(this.#number);
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
      // What has waited comes before what arrives, but after the caller has added more listeners.
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

  /** Hands over a message that has arrived. Returns whether the inbox is to keep it. */
  #offer(message) {
    if (this.#flushing && this.#iterations === 0) return true; // older ones come first
    const heard = this.#dispatch(message);
    const reader = this.#readers.shift();
    reader?.resolve({ value: message, done: false });
    return !reader && (!heard || this.#iterations > 0);
  }

  /** Tells the listeners of a message. Returns whether there was any. */
  #dispatch(message) {
    if (!this.#listening) return false;
    this.#heard = false;
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    this.#listening = this.#heard;
    return this.#heard;
  }

  /** Gives listeners what has waited, unless it waits for a loop. */
  #flush() {
    while (this.#iterations === 0 && this.#listening) {
      const message = this.#take();
      if (!message) break;
      if (!this.#dispatch(message)) this.#unheard = message;
    }
    this.#flushing = false;
  }

  #take() {
    const message = this.#unheard ?? this.#driver.pop(this.#number);
    this.#unheard = undefined;
    return message;
  }

  /** What a loop leaves unread waits for the next, unless listeners have seen it. */
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
        topic.#heard = true;
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
  return new WaddellError("illegal-constructor", `not to be constructed: call ${instead}`);
}

function parseOptions(url, options) {
  if (typeof options !== "object" || options === null) {
    throw invalidOption("the options", "an object");
  }
  const {
    reconnectAttempts = 10,
    connectTimeoutMs = 10_000,
    keepAliveMs = Infinity,
    maxBufferedAmount = 1 << 20,
    protocols = [],
    WebSocket = globalThis.WebSocket,
    signal,
  } = options;
  const isCount = Number.isInteger(reconnectAttempts) || reconnectAttempts === Infinity;
  if (!isCount || reconnectAttempts < 0) {
    throw invalidOption("reconnectAttempts", "a whole number from 0, or Infinity");
  }
  for (const [name, ms] of Object.entries({ connectTimeoutMs, keepAliveMs })) {
    if (typeof ms !== "number" || !(ms >= 1)) {
      throw invalidOption(name, "a number of milliseconds from 1, or Infinity for never");
    }
  }
  if (typeof maxBufferedAmount !== "number" || !(maxBufferedAmount >= 0)) {
    throw invalidOption("maxBufferedAmount", "a number of bytes from 0, or Infinity");
  }
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw invalidOption("signal", "an AbortSignal");
  }
  const isProtocol = (value) => typeof value === "string";
  if (!isProtocol(protocols) && !(Array.isArray(protocols) && protocols.every(isProtocol))) {
    throw invalidOption("protocols", "a string or an array of strings");
  }
  if (WebSocket === undefined) {
    throw new WaddellError(
      "no-websocket",
      "there is no WebSocket here: pass a constructor as the option WebSocket " +
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

function abortedBy(signal) {
  return new WaddellError("aborted", "the signal was aborted", { cause: signal.reason });
}

function invalidOption(name, expected) {
  return new WaddellError("invalid-option", `${name} must be ${expected}`);
}

/** Takes ws: and wss:, and http: and https: for those; in a page relative addresses, too. */
function parseUrl(url) {
  const invalid = (cause) =>
    new WaddellError("invalid-url", "the address must be like wss://host/ws", { cause });
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

const encoder = new TextEncoder();

function toBytes(part) {
  if (typeof part === "string") return encoder.encode(part);
  try {
    if (ArrayBuffer.isView(part)) {
      return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    }
    // By name, because a buffer may come from another frame and its ArrayBuffer.
    if (/^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(part))) {
      return new Uint8Array(part);
    }
  } catch {
    // A detached buffer.
  }
  throw new WaddellError(
    "invalid-body",
    "a body is a string, an ArrayBuffer, a view of one such as Uint8Array, or an array of those",
  );
}
