// The public class Client.
//
// The protocol is in Rust (driver.rs). The classes call a `Driver`, and the `Driver` calls the
// methods of the handler that `Client` gives it.

import { Checks } from "./checks.js";
import {
  CLOSE,
  DRAIN,
  FIND_EXTENSION,
  LOST,
  REQUEST_ICE_SERVERS,
  RETRY_NOW,
  ROTATE,
  TIMER_FIRED,
} from "./commands.js";
import { connectFailed, disconnectError, illegalConstructor } from "./errors.js";
import init from "./init.js";
import { parseOptions, toUtf8 } from "./options.js";
import { Questions } from "./questions.js";
import { abortedBy, unlessAborted } from "./signal.js";
import { Socket } from "./socket.js";
import { end, HERE, offer, parseId, Topic } from "./topic.js";
import { upgradeProtocols } from "./upgrade.js";
import { Driver, received, WaddellError } from "./wasm.js";

// A client lives until it is closed, even if the application holds no reference to it: its driver
// holds the handler below, and the handler holds the client.
export class Client extends EventTarget {
  #settings;
  #driver;
  #dialing; // what distinguishes the present dial from others
  #socket; // the latest
  #closing; // how the server has closed it: its close event, or what came before that
  #timer;
  #checks;
  #watches = new Questions(); // of the states of peers, by the bytes of their ids
  #rotations = new Questions(); // of new ids, by the present one
  #topics = new Map();
  #id = null;
  #iceRequests = new Questions(); // of ICE servers
  #ice = { staleAt: 0 }; // the latest: JSON text, and when half its time is over
  #previous = null; // the latest id
  #resumed = false;
  #isPlain = false; // whether it is known that the server does not speak the extension
  #isUntold = false; // whether it is known that the server does not tell the state of peers
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
      settings.resume,
      settings.ice,
      ["undefined", "string", "function"].indexOf(typeof settings.token),
      settings.urls.length,
    );
    this.#checks = new Checks(this.#driver);
    if (typeof settings.token === "string") {
      this.#driver.setCredentials(toUtf8(settings.token), false);
    }
    this.#driver.call(DRAIN);
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

  get resumed() {
    return this.#resumed;
  }

  async watch(peerId) {
    const id = parseId(peerId);
    if (this.#driver.closed) throw closed();
    const key = String(id);
    const state = this.#watches.ask(key);
    if (!this.#driver.watch(id)) {
      this.#watches.fail(key, new WaddellError("too-many-watched", TOO_MANY_WATCHED));
    }
    if (this.#isUntold) this.#watches.fail(key, notSupported());
    return state;
  }

  unwatch(peerId) {
    const id = parseId(peerId);
    this.#driver.unwatch(id);
    this.#watches.fail(String(id), new WaddellError("aborted", "the peer is not watched any more"));
  }

  async iceServers() {
    if (this.#driver.closed) throw closed();
    if (!this.#settings.ice || this.#isPlain || this.#extension?.ice === false) return [];
    if (performance.now() < this.#ice.staleAt) return JSON.parse(this.#ice.json);
    const isFirst = !this.#iceRequests.has(ONE);
    const json = this.#iceRequests.ask(ONE);
    // A server answers once in five seconds. WELCOME brings them, too.
    if (!this.#extension) this.#driver.call(FIND_EXTENSION);
    else if (isFirst) this.#driver.call(REQUEST_ICE_SERVERS);
    return JSON.parse(await json);
  }

  async rotate() {
    if (this.#driver.closed) throw closed();
    const id = this.#rotations.ask(ONE);
    this.#driver.call(ROTATE);
    return id;
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
    this.#driver.call(CLOSE);
  }

  // Called by the driver ----------------------------------------------------------------------

  #handler() {
    const client = this;
    const events = this.#events();
    return {
      dial: (address) => this.#dial(address),
      transmit: (bytes) => this.#socket.send(bytes),
      hangUp: () => this.#hangUp(),
      get bufferedAmount() {
        return client.#socket.bufferedAmount;
      },
      setTimer: (delayMs) => this.#setTimer(delayMs),
      message: (from, topic, body) => {
        // The driver is in the midst of its work: no error may end that.
        try {
          return offer(this.#topics.get(topic), received(from, topic, body));
        } catch {
          return false;
        }
      },
      report: (event, ...values) => {
        try {
          events[event](...values);
        } catch {
          // As above.
        }
      },
    };
  }

  /** What the driver reports: by name, two texts and three numbers each. */
  #events() {
    return {
      connected: (id, _, resumed, why) => this.#named(id, resumed > 0, why),
      renamed: (id) => (id === this.#id ? this.#rotated(id) : this.#named(id, false, 0)),
      extended: (_, __, granted) => this.#extended(granted),
      checked: (...outcome) => this.#checks.settle(...outcome),
      undelivered: (...dropped) => this.#undelivered(...dropped),
      peer: (id, _, ...state) => this.#peer(id, ...state),
      notExtended: () => this.#notExtended(),
      iceServers: (json, _, validMs) => this.#receiveIce(json, validMs),
      credentialsDue: () => this.#authenticate(),
      restarting: (_, __, inMs, waitMs) => this.#emit("restart", { inMs, waitMs }),
      // 1001 is the WebSocket close code of a server that stops, with or without the extension.
      closing: (reason, _, code) => (this.#closing = { code: code === 4000 ? 1001 : code, reason }),
      disconnected: (...reason) => this.#disconnected(...reason),
      closed: (...reason) => this.#closed(...reason),
    };
  }

  async #dial(address) {
    this.#enter("connecting");
    const dial = (this.#dialing = Symbol());
    const { token } = this.#settings;
    if (typeof token === "function") {
      try {
        this.#driver.setCredentials(toUtf8(await token()), false);
      } catch (error) {
        if (this.#dialing === dial) this.#lost(error);
      }
      if (this.#dialing !== dial) return;
    }
    this.#open(this.#settings.urls[address]);
  }

  #open(url) {
    const { WebSocket, protocols } = this.#settings;
    // A server that is to read HELLO in the upgrade could not choose the application's protocol.
    const hello = protocols.length === 0 ? this.#driver.upgradeHello() : undefined;
    try {
      const webSocket = new WebSocket(url, hello ? upgradeProtocols(hello) : protocols);
      this.#socket = new Socket(webSocket, this.#driver, (closeEvent) => this.#lost(closeEvent));
    } catch (cause) {
      // It would refuse the address again.
      this.#closeError = new WaddellError(
        "websocket-refused",
        `the WebSocket constructor refused ${url}: ${cause?.message}`,
        { cause },
      );
      this.#driver.call(CLOSE);
    }
  }

  #hangUp() {
    this.#dialing = undefined;
    // 1000 says that the client will not come back.
    this.#socket?.hangUp(this.#driver.closed ? 1000 : 3000);
  }

  /** `closing` is the socket's close event, or the error of a token that did not come. */
  #lost(closing) {
    this.#dialing = undefined;
    this.#closing = closing;
    this.#driver.call(LOST, closing?.code >= 4000 ? closing.code : 0);
  }

  async #authenticate() {
    try {
      this.#driver.setCredentials(toUtf8(await this.#settings.token()), true);
    } catch {
      // When the present one has expired, the server ends the connection, and the next dial asks.
    }
  }

  /** The client has that id: that of a new connection, or another on the same. */
  #named(id, resumed, why) {
    const previous = this.#previous;
    this.#id = this.#previous = id;
    this.#resumed = resumed;
    this.#enter("open");
    this.#emit("id", { id, resumed, previous, why: WHY[why] });
    this.#connecting.resolve(this);
    this.#rotated(previous);
  }

  #rotated(previous) {
    if (this.#id !== previous) this.#rotations.answer(ONE, this.#id);
    else this.#rotations.fail(ONE, new WaddellError("too-soon", TOO_SOON));
  }

  #setTimer(delayMs) {
    clearTimeout(this.#timer);
    if (delayMs === Infinity) return;
    this.#timer = setTimeout(() => this.#driver.call(TIMER_FIRED), Math.min(delayMs, MAX_DELAY_MS));
  }

  #extended(granted) {
    const isGranted = (name, bit) => [name, Boolean(granted & (1 << bit))];
    this.#extension = Object.freeze(Object.fromEntries(PARTS.map(isGranted)));
    if (!this.#extension.peers) this.#setUntold();
    if (!this.#extension.ice) this.#iceRequests.answer(ONE, "[]");
    this.#emit("extension", { extension: this.#extension });
  }

  #notExtended() {
    this.#isPlain = true;
    this.#setUntold();
    this.#iceRequests.answer(ONE, "[]");
  }

  #receiveIce(json, validMs) {
    this.#ice = { json, staleAt: performance.now() + validMs / 2 };
    this.#iceRequests.answer(ONE, json);
  }

  /** The server does not tell the state of peers. */
  #setUntold() {
    this.#isUntold = true;
    this.#watches.failAll(notSupported());
  }

  #peer(id, stateCode, lost) {
    const state = PEER_STATES[stateCode];
    this.#watches.answer(String(parseId(id)), state);
    this.#emit("peer", { id, state, lost });
  }

  #undelivered(to, reason, topic, count, isExact) {
    const exact = isExact > 0;
    const whose = exact ? { to, topic } : { to: null, topic: null };
    this.#emit("undelivered", { ...whose, reason, count, exact });
  }

  #disconnected(code, message, retryInMs) {
    const error = this.#lossOf(code, message);
    this.#id = this.#extension = null;
    this.#isUntold = this.#isPlain = false;
    this.#enter("waiting");
    this.#emit("error", { code: error.code, error, retryInMs });
  }

  #closed(code, message, isExhausted) {
    this.#id = this.#extension = null;
    this.#setTimer(Infinity);
    this.#removeListeners();
    const loss = code ? this.#lossOf(code, message) : null;
    const error = this.#closeError ?? (isExhausted ? connectFailed(loss) : loss);
    this.#connecting.reject(error ?? closed());
    for (const questions of [this.#watches, this.#rotations, this.#iceRequests]) {
      questions.failAll(closed());
    }
    this.#enter("closed");
    for (const topic of this.#topics.values()) end(topic);
    this.#emit("close", { code: error?.code ?? "closed", error });
  }

  // -------------------------------------------------------------------------------------------

  /** Returns the error of a socket's loss. */
  #lossOf(code, message) {
    const closing = this.#closing;
    this.#closing = undefined;
    return closing instanceof Error ? closing : disconnectError(code, message, closing);
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
    const online = () => this.#driver.call(RETRY_NOW);
    const visible = () => document.visibilityState === "visible" && this.#driver.call(RETRY_NOW);
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

function closed() {
  return new WaddellError("closed", "the client is closed");
}

function notSupported() {
  return new WaddellError("not-supported", "the server does not tell the state of peers");
}

/** The one key of questions about the client's own id, and of those about ICE servers. */
const ONE = Symbol();

const TOO_MANY_WATCHED = "64 peers are watched already: unwatch one of them first";

const TOO_SOON = "the server gives no new id at the moment: try again in some seconds";

/** Why an id was not resumed, and states of peers, by their codes. */
const WHY = [null, "expired", "not-ours", "stale", "contested", "other-subject", "off"];
const PEER_STATES = [, "here", "away", "gone"];

/** Parts of the extension, in the order of their bits. */
const PARTS = ["verdicts", "peers", "resume", "restart", "ice", "renew", "auth"];

/** Longest delay of `setTimeout`, 24.8 days; longer ones fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

// For `using` declarations, where the engine has them.
if (Symbol.dispose) Client.prototype[Symbol.dispose] = Client.prototype.close;
