// A call: the connection of two pages from the first signal to the last. It joins the signaling
// through the server with the direct peer connection. Either side's id may change during a call,
// because both identify the call by its token.
//
//            answer arrives      channel open
//   calling ------------> connecting ------> connected <--> interrupted
//      |                      |                  |               |
//      +----------------------+------- ended ----+---------------+

import { Allowance } from "./allowance.js";
import { readMessage, sendMessage } from "./message.js";
import { isPolite, Peer } from "./peer.js";
import { randomToken } from "./signal.js";

const ANSWER_WITHIN_MS = 10_000;
const CONNECT_WITHIN_MS = 20_000;
/** A path often comes back by itself within this time. An earlier restart would waste signals. */
const RESTART_ICE_AFTER_MS = 3_000;
const RECOVER_WITHIN_MS = 25_000;
/** The other side may be back soon, with a new id. */
const RETURN_WITHIN_MS = 3_000;
const PING_EVERY_MS = 1_000;
/** Calls that may come in. Each makes a connection, of which a browser has some hundreds. */
const INCOMING = { most: 10, everyMs: 2_000 };
/** Pings that are answered. */
const PONGS = { most: 10, everyMs: 200 };
/** New ids of the other side that are followed. */
const MOVES = { most: 10, everyMs: 5_000 };
/** Claims of a new id that are answered. Each is a signal to the claimed id. */
const CLAIMS = { most: 5, everyMs: 5_000 };
/** How often one call starts again because a side has lost its server. */
const MAX_REDIALS = 20;
/** Signals that are kept until there is a new id. */
const MAX_UNSENT = 200;

/** Longest chat message, in UTF-16 code units. */
export const MAX_CHAT_LENGTH = 4_000;

/**
 * Holds at most one call. A signal belongs to that call, starts a new one, or is refused. A call of
 * another peer does not replace the current one.
 *
 * Events: `call` (detail: the new Call), `missed` (detail: the id of a peer that called meanwhile).
 */
export class Switchboard extends EventTarget {
  current;
  #signaling;
  #config;
  #incoming = new Allowance(INCOMING);

  constructor(signaling, config) {
    super();
    this.#signaling = signaling;
    this.#config = config;
    signaling.addEventListener("signal", ({ detail }) => this.#handleSignal(detail));
    signaling.addEventListener("id", () => this.#handleOwnId());
    signaling.addEventListener("peer", ({ detail: { id, state } }) => {
      if (this.current?.remoteId === id) this.current.handleRemoteState(state);
    });
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
      if (call.handleSignal(from, signal)) this.#redial(call);
    } else if (signal.kind === "description" && signal.opens) {
      this.#handleIncoming(from, signal);
    } else if (signal.kind === "description") {
      // The other side does not know that this call has ended.
      this.#signaling.send(from, { call: signal.call, kind: "bye" });
    }
  }

  #handleIncoming(from, signal) {
    const call = this.current?.isLive ? this.current : undefined;
    const isOther = call && call.remoteId !== from;
    if (isOther || !this.#incoming.take()) {
      this.#signaling.send(from, { call: signal.call, kind: "busy" });
      if (isOther) this.dispatchEvent(new CustomEvent("missed", { detail: from }));
      return;
    }
    if (call?.state === "calling" && call.token < signal.call) {
      return; // Both dialed at once: on both sides the smaller token is the call.
    }
    call?.drop();
    this.#start({ token: signal.call, remoteId: from, opens: false }).handleSignal(from, signal);
  }

  #handleOwnId() {
    const call = this.current;
    if (!call?.isLive) return;
    call.handleOwnId();
    this.#redial(call);
  }

  /** Starts an unfinished call again after a side has lost its server: signals may be lost. */
  #redial(call) {
    const isUnfinished = call.opens && ["calling", "connecting"].includes(call.state);
    if (call !== this.current || !isUnfinished || call.redials === MAX_REDIALS) return;
    call.drop();
    const { remoteId, redials } = call;
    this.#start({ token: randomToken(), remoteId, opens: true, redials: redials + 1 });
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
   * other side: "left", "busy", "no-answer", "unknown" (no peer has its id). By the network:
   * "ice-failed", "lost".
   */
  reason;

  #signaling;
  #peer;
  /** A new id that the other side has claimed over the channel, until the server confirms it. */
  #claimedId;
  /** Whether a signal of the other side has arrived. */
  #wasAnswered = false;
  #unsent = [];
  #deadline;
  #restart;
  #pinging;
  #ping = { number: 0, sentAt: 0, isAnswered: false };
  #pongs = new Allowance(PONGS);
  #moves = new Allowance(MOVES);
  #claims = new Allowance(CLAIMS);

  constructor({ signaling, token, remoteId, opens, config, redials = 0 }) {
    super();
    this.token = token;
    /** The other side's id. The server stamped it: the other side cannot choose it. */
    this.remoteId = remoteId;
    /** Whether this side called. */
    this.opens = opens;
    this.redials = redials;
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
    const bytes = this.#talk({ kind: "chat", text });
    if (bytes) this.#emit("bytes", { direction: "out", bytes });
    return bytes > 0;
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

  /** Returns whether the other side has connected to the server again, perhaps with a new id. */
  handleSignal(from, signal) {
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
      case "moved":
        if (!this.#believes(signal) || !this.#moves.take()) break;
        this.#handleMoved(from);
        return true;
      case "bye":
        this.#end("left");
        break;
      case "busy":
        this.#end("busy");
        break;
    }
    return false;
  }

  /**
   * Sends this page's new id to the other side: through the server, which stamps it, and over the
   * channel in case the other side has a new id, too.
   */
  handleOwnId() {
    this.#talk({ kind: "id", id: this.#signaling.id });
    this.#sendMoved();
    if (this.opens && !this.#wasAnswered) return;
    for (const signal of this.#unsent.splice(0)) this.#signal(signal);
  }

  /** Handles what the server says of the other side's id. A direct connection needs no server. */
  handleRemoteState(state) {
    const needsServer = this.isLive && this.state !== "connected";
    if (!needsServer || !["unknown", "gone"].includes(state)) return;
    if (state === "unknown" && !this.#wasAnswered) this.#end("unknown");
    else this.#endIn(RETURN_WITHIN_MS, this.state === "interrupted" ? "left" : "unknown");
  }

  /** Shows the other side this page's id, stamped by the server. Without a connection, does not. */
  #sendMoved() {
    const signal = { call: this.token, kind: "moved", proof: this.#proof() };
    this.#signaling.send(this.#claimedId ?? this.remoteId, signal);
  }

  #handleMoved(id) {
    this.#claimedId = undefined;
    if (id === this.remoteId) return;
    this.remoteId = id;
    this.#emit("moved", id);
  }

  /**
   * Returns what both ends of a direct connection know to be the same, and the ends of no other
   * connection: the fingerprints of their certificates. Undefined while there is no connection.
   */
  #proof() {
    if (!["connected", "interrupted"].includes(this.state)) return undefined;
    return this.fingerprints?.toSorted().join(" ");
  }

  /**
   * Returns whether a `moved` comes from the other end of this connection. The token does not show
   * that: the other side may have given it to a third page, and have claimed this page's id there.
   */
  #believes({ proof }) {
    return proof === this.#proof();
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
    const message = readMessage(data);
    switch (message?.kind) {
      case "chat":
        if (typeof message.text !== "string") return;
        this.#emit("bytes", { direction: "in", bytes: data.length });
        this.#emit("chat", message.text);
        break;
      case "ping":
        if (!Number.isSafeInteger(message.number) || !this.#pongs.take()) return;
        this.#talk({ kind: "pong", number: message.number });
        break;
      case "pong":
        if (message.number !== this.#ping.number || this.#ping.isAnswered) return;
        this.#ping.isAnswered = true;
        this.#emit("rtt", performance.now() - this.#ping.sentAt);
        break;
      case "id":
        // The other side may claim any id. So the page shows none before that id has sent a
        // signal through the server. The claim is only where to send this page's own.
        if (!isPeerId(message.id) || !this.#proof() || !this.#claims.take()) return;
        this.#claimedId = message.id;
        this.#sendMoved();
        break;
      case "bye":
        this.#end("left");
        break;
    }
  }

  #sendPing() {
    const number = this.#ping.number + 1;
    this.#ping = { number, sentAt: performance.now(), isAnswered: false };
    this.#talk({ kind: "ping", number });
  }

  #talk(message) {
    return sendMessage(this.#peer.channels.talk, message);
  }

  /** Sends a signal through the server. Without a connection, keeps it until there is a new id. */
  #signal(signal) {
    const whole = { call: this.token, ...signal };
    if (this.opens && !this.#wasAnswered) whole.opens = true;
    if (this.#signaling.send(this.remoteId, whole) || this.#unsent.length >= MAX_UNSENT) return;
    this.#unsent.push(signal);
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
