// A call: everything between two pages from the first signal to the goodbye. It joins the
// signaling (through the server) with the peer connection (past it), and outlives a change of
// either side's id, because both know it by its token.
//
//            answer heard        channel open
//   calling ------------> connecting ------> connected <--> interrupted
//      |                      |                  |               |
//      +----------------------+------- ended ----+---------------+

import { isPolite, Peer } from "./peer.js";

const ANSWER_WITHIN_MS = 10_000;
const CONNECT_WITHIN_MS = 20_000;
/** A path often comes back by itself; looking for a new one any earlier only costs signals. */
const RESTART_ICE_AFTER_MS = 3_000;
const RECOVER_WITHIN_MS = 25_000;
const PING_EVERY_MS = 1_000;

/** Longest chat message, in UTF-16 code units. */
export const MAX_CHAT_LENGTH = 4_000;

/**
 * Holds at most one call and decides what an incoming signal means for it.
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

  /** Calls a peer; a call that is under way ends first. */
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
      // They still believe in a call that is over here.
      this.#signaling.send(from, { call: signal.call, kind: "bye" });
    }
  }

  #handleIncoming(from, signal) {
    const call = this.current;
    if (call?.isLive && call.remoteId !== from && ["connecting", "connected"].includes(call.state)) {
      this.#signaling.send(from, { call: signal.call, kind: "busy" });
      return;
    }
    if (call?.isLive && call.state === "calling" && call.remoteId === from && call.token < signal.call) {
      return; // Both dialed at once; the smaller token is the call, on both sides.
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

  /** What was under way to or from the former id is lost: the one who called starts again. */
  #redial(call) {
    if (call === this.current && call.opens && ["calling", "connecting"].includes(call.state)) {
      call.drop();
      this.#start({ token: randomToken(), remoteId: call.remoteId, opens: true });
    }
  }
}

/**
 * Events: `state`, `chat` (detail: text), `rtt` (detail: milliseconds), `moved` (detail: the other
 * side's new id), `ice` (detail: part, value), `bytes` (detail: direction, bytes of a chat message),
 * `trouble` (detail: an Error of the peer connection, which goes on as well as it can).
 */
class Call extends EventTarget {
  state = "calling";
  /**
   * Why the call ended. This side: "hung-up", "page-left", "replaced" by another call. The other
   * side: "left", "busy", "no-answer". The path between: "ice-failed", "lost".
   */
  reason;

  #signaling;
  #peer;
  #heard = false;
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
      send: (signal) => this.#signal({ kind: signal.description ? "description" : "candidate", ...signal }),
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
    // Over both ways: closing the connection may overtake what is still in the channel.
    this.#talk({ kind: "bye" });
    this.#signal({ kind: "bye" });
    this.#end(reason);
  }

  /** Ends the call without a word to the other side, which has another one already. */
  drop() {
    this.#end("replaced");
  }

  handleSignal(from, signal) {
    if (this.remoteId !== from) this.#handleMoved(from);
    if (!this.isLive) return;
    this.#heard = true;
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

  /** This page has a new id: tells the other side every way there is. */
  handleOwnId() {
    this.#talk({ kind: "id", id: this.#signaling.id });
    if (this.opens && !this.#heard) return;
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
      return; // Not ours: anybody may write anything.
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
        if (message.number === this.#ping.number) this.#emit("rtt", performance.now() - this.#ping.sentAt);
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

  /** Sends through the server; what cannot leave yet goes once there is a new id. */
  #signal(signal) {
    const whole = { call: this.token, ...signal };
    if (this.opens && !this.#heard) whole.opens = true;
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

/** Whether a text is a peer id as the server writes it. */
export function isPeerId(text) {
  return typeof text === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

function randomToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
