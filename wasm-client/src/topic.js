// The public class Topic.

import { BODY_TOO_LONG, illegalConstructor, sendError } from "./errors.js";
import { kindOf, parseSendOptions, toUtf8 } from "./options.js";
import { unlessAborted } from "./signal.js";
import { WaddellError } from "./wasm.js";

/** With this key `Client` calls the constructors, and applications cannot. */
export const HERE = Symbol();

// Private methods of `Topic` that `Client` calls.
export let offer;
export let end;

// A topic has two ways to take messages. Listeners fit pages that draw what arrives; loops fit
// dialogues, in which a program waits for the next message. `EventTarget` dispatches to listeners
// that exist at that time, so messages before the first listener or loop wait in the inbox.
export class Topic extends EventTarget {
  #driver;
  #checks;
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

  constructor(key, driver, checks, number) {
    super();
    if (key !== HERE) throw illegalConstructor("client.topic(number)");
    this.#driver = driver;
    this.#checks = checks;
    this.#number = number;
  }

  get number() {
    return this.#number;
  }

  get lost() {
    return this.#driver.lostMessages(this.#number);
  }

  send(peerId, body) {
    const returned = this.#driver.send(parseId(peerId), this.#number, toBody(body), false);
    if (returned < 0) throw sendError(returned);
  }

  async sendChecked(peerId, body, options) {
    const { signal } = parseSendOptions(options);
    const [id, bytes] = [parseId(peerId), toBody(body)];
    return unlessAborted(signal, () => this.#checks.send(id, this.#number, bytes));
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

/** Returns the 16 bytes of a peer id: a UUID of 32 digits, with hyphens or without. */
export function parseId(peerId) {
  if (typeof peerId !== "string" || !UUID.test(peerId)) {
    throw new WaddellError("invalid-peer-id", "a peer id is a UUID such as client.id");
  }
  return Uint8Array.from(peerId.replaceAll("-", "").match(/../g), (byte) => parseInt(byte, 16));
}

const UUID = /^[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}$/i;

/** Returns the bytes of a body, which can be an array of parts. */
function toBody(body) {
  const parts = (Array.isArray(body) ? body : [body]).map(toBytes);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  // Refuse a body that is too long before it is copied.
  if (length > MAX_BODY_LEN) throw sendError(BODY_TOO_LONG);
  if (parts.length === 1) return parts[0];
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Longest body, in bytes. */
const MAX_BODY_LEN = 65_517;

function toBytes(part) {
  if (typeof part === "string") return toUtf8(part);
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
