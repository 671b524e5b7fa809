// A call: the connection of two pages from the first signal to the last. It joins the signaling
// through the server with the direct peer connection. Either side's id may change during a call,
// because both identify the call by its token.
//
//            answer arrives      channel open
//   calling ------------> connecting ------> connected <--> interrupted
//      |                      |                  |               |
//      +----------------------+------- ended ----+---------------+

import { isPolite, Peer } from "./peer.js";

const ANSWER_WITHIN_MS = 10_000;
const CONNECT_WITHIN_MS = 20_000;
/** A path often comes back by itself within this time. An earlier restart would waste signals. */
const RESTART_ICE_AFTER_MS = 3_000;
const RECOVER_WITHIN_MS = 25_000;
const PING_EVERY_MS = 1_000;

/** Longest chat message, in UTF-16 code units. */
export const MAX_CHAT_LENGTH = 4_000;

/**
 * Holds at most one call. A signal belongs to that call, starts a new one, or is refused.
 *
 * Event: `call` (detail: the new Call).
 */
export class Switchboard extends EventTarget {
  current;
  #signaling;
  #config;

  constructor(signaling, config) {
    super();
    this.#signaling = signaling;
    this.#config = config;
    signaling.addEventListener("signal", ({ detail }) => this.#handleSignal(detail));
    signaling.addEventListener("id", () => this.#handleOwnId());
  }

  /** Calls a peer. Ends the current call first. */
  dial(remoteId) {
    this.current?.hangUp("replaced");
    this.#start({ token: randomToken(), remoteId, opens: true });
  }

  #start(options) {
    const call = new Call({ ...options, signaling: this.#signaling, config: this.#config });
    this.current = call;
    this.dispatchEvent(new CustomEvent("call", { detail: call }));
    return call;
  }

  #handleSignal({ from, signal }) {
    const call = this.current;
    if (call?.isLive && signal.call === call.token) {
      call.handleSignal(from, signal);
      if (signal.kind === "moved") this.#redial(call);
    } else if (signal.kind === "description" && signal.opens === true) {
      this.#handleIncoming(from, signal);
    } else if (signal.kind === "description") {
      // The other side does not know that this call has ended.
      this.#signaling.send(from, { call: signal.call, kind: "bye" });
    }
  }

  #handleIncoming(from, signal) {
    const call = this.current;
    const isBusy = call?.isLive && ["connecting", "connected"].includes(call.state);
    if (isBusy && call.remoteId !== from) {
      this.#signaling.send(from, { call: signal.call, kind: "busy" });
      return;
    }
    const isCalling = call?.isLive && call.state === "calling";
    if (isCalling && call.remoteId === from && call.token < signal.call) {
      return; // Both dialed at once: on both sides the smaller token is the call.
    }
    if (call?.isLive && call.remoteId === from) call.drop();
    else call?.hangUp("replaced");
    this.#start({ token: signal.call, remoteId: from, opens: false }).handleSignal(from, signal);
  }

  #handleOwnId() {
    const call = this.current;
    if (!call?.isLive) return;
    call.handleOwnId();
    this.#redial(call);
  }

  /** Starts an unfinished call again after an id changed: signals for the old id are lost. */
  #redial(call) {
    if (call === this.current && call.opens && ["calling", "connecting"].includes(call.state)) {
      call.drop();
      this.#start({ token: randomToken(), remoteId: call.remoteId, opens: true });
    }
  }
}

/**
 * Events: `state`, `chat` (detail: text), `rtt` (detail: milliseconds), `moved` (detail: the other
 * side's new id), `ice` (detail: part, value), `bytes` (of a chat message; detail: direction,
 * bytes), `trouble` (detail: an Error of the peer connection; the call continues).
 */
class Call extends EventTarget {
  state = "calling";
  /**
   * Why the call ended. By this side: "hung-up", "page-left", "replaced" (by another call). By the
   * other side: "left", "busy", "no-answer". By the network: "ice-failed", "lost".
   */
  reason;

  #signaling;
  #peer;
  /** Whether a signal of the other side has arrived. */
  #wasAnswered = false;
  #unsent = [];
  #deadline;
  #restart;
  #pinging;
  #ping = { number: 0, sentAt: 0 };

  constructor({ signaling, token, remoteId, opens, config }) {
    super();
    this.token = token;
    this.remoteId = remoteId;
    /** Whether this side called. */
    this.opens = opens;
    this.#signaling = signaling;
    this.#peer = new Peer({
      polite: isPolite(signaling.id, remoteId),
      send: (signal) => {
        const kind = signal.description ? "description" : "candidate";
        this.#signal({ kind, ...signal });
      },
      channels: { talk: 0, files: 1 },
      config,
    });
    this.#peer.addEventListener("state", ({ detail }) => this.#handlePeerState(detail));
    this.#peer.addEventListener("ice", ({ detail }) => this.#emit("ice", detail));
    this.#peer.addEventListener("error", ({ detail }) => this.#emit("trouble", detail));
    const { talk } = this.#peer.channels;
    talk.onopen = () => this.#handleOpen();
    talk.onclose = () => this.isLive && this.#end("left");
    talk.onmessage = ({ data }) => this.#handleTalk(data);
    this.#endIn(opens ? ANSWER_WITHIN_MS : CONNECT_WITHIN_MS, opens ? "no-answer" : "ice-failed");
    if (!opens) this.#enter("connecting");
  }

  get isLive() {
    return this.state !== "ended";
  }

  /** The data channel for files. */
  get files() {
    return this.#peer.channels.files;
  }

  get maxMessageSize() {
    return this.#peer.maxMessageSize;
  }

  get fingerprints() {
    return this.#peer.fingerprints;
  }

  path() {
    return this.#peer.path();
  }

  /** Sends a chat message. Returns false if there is no channel to send it over. */
  chat(text) {
    return this.#talk({ kind: "chat", text });
  }

  hangUp(reason = "hung-up") {
    if (!this.isLive) return;
    // Send it both ways: closing the connection may overtake messages in the channel.
    this.#talk({ kind: "bye" });
    this.#signal({ kind: "bye" });
    this.#end(reason);
  }

  /** Ends the call without a message to the other side, which has another call already. */
  drop() {
    this.#end("replaced");
  }

  handleSignal(from, signal) {
    if (this.remoteId !== from) this.#handleMoved(from);
    if (!this.isLive) return;
    this.#wasAnswered = true;
    switch (signal.kind) {
      case "description":
        if (this.state === "calling") {
          this.#enter("connecting");
          this.#endIn(CONNECT_WITHIN_MS, "ice-failed");
        }
        this.#peer.handleSignal({ description: signal.description });
        break;
      case "candidate":
        this.#peer.handleSignal({ candidate: signal.candidate });
        break;
      case "bye":
        this.#end("left");
        break;
      case "busy":
        this.#end("busy");
        break;
    }
  }

  /** Sends this page's new id to the other side, over the channel and through the server. */
  handleOwnId() {
    this.#talk({ kind: "id", id: this.#signaling.id });
    if (this.opens && !this.#wasAnswered) return;
    const unsent = this.#unsent.splice(0);
    this.#signal({ kind: "moved" });
    for (const signal of unsent) this.#signal(signal);
  }

  #handleMoved(id) {
    this.remoteId = id;
    this.#emit("moved", id);
  }

  #handleOpen() {
    this.#enter("connected");
    clearTimeout(this.#deadline);
    this.#pinging = setInterval(() => this.#sendPing(), PING_EVERY_MS);
    this.#sendPing();
  }

  #handlePeerState(state) {
    if (!this.isLive) return;
    clearTimeout(this.#restart);
    switch (state) {
      case "connected":
        if (this.state !== "interrupted") return;
        clearTimeout(this.#deadline);
        this.#enter("connected");
        break;
      case "disconnected":
        this.#interrupt();
        this.#restart = setTimeout(() => this.#peer.restartIce(), RESTART_ICE_AFTER_MS);
        break;
      case "failed":
        if (this.state === "connecting") {
          this.#end("ice-failed");
        } else {
          this.#interrupt();
          this.#peer.restartIce();
        }
        break;
    }
  }

  #interrupt() {
    if (this.state !== "connected") return;
    this.#enter("interrupted");
    this.#endIn(RECOVER_WITHIN_MS, "lost");
  }

  #handleTalk(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // Not a message of this page: the other side may send anything.
    }
    switch (message?.kind) {
      case "chat":
        if (typeof message.text !== "string") return;
        this.#emit("bytes", { direction: "in", bytes: data.length });
        this.#emit("chat", message.text.slice(0, MAX_CHAT_LENGTH));
        break;
      case "ping":
        this.#talk({ kind: "pong", number: message.number });
        break;
      case "pong":
        if (message.number !== this.#ping.number) return;
        this.#emit("rtt", performance.now() - this.#ping.sentAt);
        break;
      case "id":
        if (isPeerId(message.id) && message.id !== this.remoteId) this.#handleMoved(message.id);
        break;
      case "bye":
        this.#end("left");
        break;
    }
  }

  #sendPing() {
    this.#ping = { number: this.#ping.number + 1, sentAt: performance.now() };
    this.#talk({ kind: "ping", number: this.#ping.number });
  }

  #talk(message) {
    const { talk } = this.#peer.channels;
    if (talk.readyState !== "open") return false;
    const text = JSON.stringify(message);
    talk.send(text);
    if (message.kind === "chat") this.#emit("bytes", { direction: "out", bytes: text.length });
    return true;
  }

  /** Sends a signal through the server. Without a connection, keeps it until there is a new id. */
  #signal(signal) {
    const whole = { call: this.token, ...signal };
    if (this.opens && !this.#wasAnswered) whole.opens = true;
    if (!this.#signaling.send(this.remoteId, whole)) this.#unsent.push(signal);
  }

  #endIn(milliseconds, reason) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#end(reason), milliseconds);
  }

  #end(reason) {
    if (!this.isLive) return;
    clearTimeout(this.#deadline);
    clearTimeout(this.#restart);
    clearInterval(this.#pinging);
    this.#peer.close();
    this.reason = reason;
    this.#enter("ended");
  }

  #enter(state) {
    this.state = state;
    this.#emit("state", state);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Returns whether a text is a peer id in the server's form. */
export function isPeerId(text) {
  return typeof text === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

function randomToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
