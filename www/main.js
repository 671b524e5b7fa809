// The page: connects signaling, calls, conversation and live view, and decides what to show.

import { isPeerId, Switchboard } from "./call.js";
import { Conversation } from "./conversation.js";
import { drawPaths, pulseDirect, pulseSignal } from "./diagram.js";
import { announce, find, formatMilliseconds, shortId } from "./dom.js";
import { dismiss, notify } from "./notices.js";
import { Share } from "./share.js";
import { Sha256 } from "./sha256.js";
import { Signaling } from "./signaling.js";
import { directFigure, logEvent, showState, signalFigure } from "./story.js";

/** How long the server may be away before the page shows a notice. */
const NOTICE_AFTER_MS = 2_500;
/** The browser chooses the path shortly after the first bytes have passed. */
const PATH_AFTER_MS = 500;

const query = new URLSearchParams(location.search);
const signaling = new Signaling(serverUrl());
const switchboard = new Switchboard(signaling, { iceServers: iceServers() });
const conversation = new Conversation();
const share = new Share();
let wasOpen = false;
/** Whether the notice about the server is due, and the timer until then. */
let isNoticeDue = false;
let noticeTimer;
/** Peer to call once there is a connection to the server. */
let peerToCall;
/** The call of the conversation. */
let conversationCall;
let signalCount = 0;
let unread = 0;

start();

function start() {
  find("events").open = matchMedia("(min-width: 60rem)").matches;
  find("dial").addEventListener("submit", handleDialForm);
  find("hang-up").addEventListener("click", () => switchboard.current?.hangUp());
  addEventListener("hashchange", readLink);
  addEventListener("pagehide", () => switchboard.current?.hangUp("page-left"));
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  document.addEventListener("visibilitychange", () => showUnread(0));
  signaling.addEventListener("state", showServer);
  signaling.addEventListener("id", ({ detail }) => handleId(detail));
  signaling.addEventListener("trouble", ({ detail }) =>
    logEvent(
      "signal",
      "note",
      `${detail.message}; next attempt in ${formatMilliseconds(detail.retryInMs)}`,
    ),
  );
  signaling.addEventListener("peer", ({ detail }) => handlePeer(detail));
  signaling.addEventListener("restart", ({ detail }) =>
    logEvent("signal", "in", `the server restarts in ${formatMilliseconds(detail.inMs)}`),
  );
  signaling.addEventListener("traffic", ({ detail }) => handleTraffic(detail));
  signaling.addEventListener("rtt", ({ detail }) => signalFigure.rtt(detail));
  signaling.addEventListener("unreadable", ({ detail }) =>
    logEvent("signal", "in", `unreadable message from ${shortId(detail.from)}`, detail.bytes),
  );
  switchboard.addEventListener("call", ({ detail }) => handleCall(detail));
  switchboard.addEventListener("missed", () => notify("missed", "missed"));
  conversation.addEventListener("bytes", ({ detail }) => handleDirectBytes(detail));
  conversation.addEventListener("file", ({ detail: { direction, name, event, bytes } }) =>
    logEvent("direct", direction, ["file ", name, `: ${event}`], bytes),
  );
  showServer();

  if (typeof RTCPeerConnection === "undefined") {
    notify("call", "unsupported");
    return;
  }
  try {
    new RTCPeerConnection({ iceServers: iceServers() }).close();
  } catch {
    notify("call", "ice");
    return;
  }
  logEvent("page", "note", `connecting to ${signaling.url}`);
  readLink();
  signaling.connect().catch((error) => {
    clearServerNotice();
    showStatus("closed", "Not connected");
    notify("server", error.code === "package" ? "package" : "refused", () => location.reload());
    logEvent("page", "note", `${error.message}`);
  });
}

/** Returns the address of the server: that of this page, or the one in `?server=`. */
function serverUrl() {
  return query.get("server") ?? new URL("ws", location.href).href.replace(/^http/, "ws");
}

/** Reads each `?ice=stun:HOST:PORT` and `?ice=turn:USER:PASSWORD@HOST:PORT`. */
function iceServers() {
  return query.getAll("ice").map((text) => {
    const turn = /^(turns?):([^:]+):(.+)@([^@]+)$/.exec(text);
    if (!turn) return { urls: text };
    const [, scheme, username, credential, host] = turn;
    return { urls: `${scheme}:${host}`, username, credential };
  });
}

function handleId({ id, resumed }) {
  share.show(id);
  logEvent("signal", "in", `this page has ${resumed ? "kept its" : "the"} id ${shortId(id)}`);
  if (peerToCall) dial(peerToCall);
}

function handlePeer({ id, state }) {
  const words = {
    here: `${shortId(id)} is connected`,
    away: `${shortId(id)} has lost its connection`,
    gone: `${shortId(id)} has left`,
    unknown: `no peer has the id ${shortId(id)}`,
  };
  logEvent("signal", "in", `the server says: ${words[state]}`);
}

/** Calls the peer in the address bar, if there is one. */
function readLink() {
  const match = /^#peer=(.*)$/.exec(location.hash);
  if (!match) return;
  const id = match[1].trim().toLowerCase();
  if (isPeerId(id)) dial(id);
  else notify("call", "badLink");
}

function handleDialForm(event) {
  event.preventDefault();
  const input = find("dial-id");
  const id = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(input.value.toLowerCase())?.[0];
  const error = !id
    ? "That is no id. An id has 36 characters, like 3f2c0b9e-7d41-4c1a-9a55-0f6d2c8e1b34."
    : id === signaling.id
      ? "That is your own id. Enter the id of another page."
      : "";
  find("dial-error").textContent = error;
  input.setAttribute("aria-invalid", Boolean(error));
  if (error) return input.focus();
  input.value = "";
  dial(id);
}

/** Calls a peer at once, or when there is a connection to the server. */
function dial(id) {
  peerToCall = undefined;
  const { current } = switchboard;
  if (!signaling.id) {
    peerToCall = id;
  } else if (id === signaling.id) {
    notify("call", "ownLink");
  } else if (!current?.isLive || current.remoteId !== id) {
    rememberPeer(id);
    switchboard.dial(id);
  }
}

/** Puts a peer into the address bar, so that a reload calls it again. */
function rememberPeer(id) {
  history.replaceState(null, "", id ? `#peer=${id}` : location.pathname + location.search);
}

function handleTraffic({ direction, peer, kind, bytes }) {
  signalCount++;
  signalFigure.count(bytes);
  find("signal-count").textContent = signalCount === 1 ? "1 message" : `${signalCount} messages`;
  const preposition = direction === "out" ? "to" : "from";
  logEvent("signal", direction, `${kind} ${preposition} ${shortId(peer)}`, bytes);
  pulseSignal(direction);
}

function handleDirectBytes({ direction, bytes }) {
  directFigure.count(bytes);
  pulseDirect(direction);
}

function handleCall(call) {
  dismiss("call");
  call.addEventListener("state", () => showCall(call));
  call.addEventListener("ice", ({ detail }) => {
    if (detail.part === "connection") showState("ice", detail.value);
    if (detail.part === "signaling") {
      showState("signaling", detail.value);
      showSafetyCode(call);
    }
    const part = detail.part === "connection" ? "ICE" : detail.part;
    logEvent("page", "note", `${part}: ${detail.value}`);
  });
  call.addEventListener("trouble", ({ detail }) => logEvent("page", "note", detail.message));
  call.addEventListener("chat", ({ detail }) => {
    conversation.receive(detail);
    if (document.visibilityState === "hidden") showUnread(unread + 1);
  });
  call.addEventListener("bytes", ({ detail }) => {
    logEvent("direct", detail.direction, "chat", detail.bytes);
    handleDirectBytes(detail);
  });
  call.addEventListener("rtt", ({ detail }) => directFigure.rtt(detail));
  call.addEventListener("moved", ({ detail }) => {
    find("remote-id").textContent = detail;
    if (call.opens) rememberPeer(detail);
    logEvent("page", "note", `the other side has the new id ${shortId(detail)}`);
  });
  showCall(call);
}

function showCall(call) {
  if (call !== switchboard.current) return;
  const { state, remoteId } = call;
  const titles = {
    calling: "Calling…",
    connecting: "Looking for a path…",
    connected: "Connected directly",
    interrupted: "Looking for a new path…",
    ended: "Conversation ended",
  };
  find("talk-title").textContent = titles[state];
  find("remote-id").textContent = remoteId;
  find("hang-up").textContent = ["calling", "connecting"].includes(state) ? "Cancel" : "Hang up";
  find("hang-up").hidden = state === "ended";
  find("talk").dataset.state = state;
  showState("call", state);
  logEvent("page", "note", `call ${state}${call.reason ? `: ${call.reason}` : ""}`);
  drawPaths(signaling.state, state);
  showServer();

  if (state === "connected") handleConnected(call);
  if (state === "ended") handleEnded(call);
  find("talk").hidden = state === "ended" && conversation.isEmpty;
  const together = ["connected", "interrupted"].includes(state);
  document.body.dataset.stage = together ? "together" : conversation.isEmpty ? "alone" : "after";
}

function handleConnected(call) {
  showPath(call);
  if (call === conversationCall) return; // It is connected again after an interruption.
  conversationCall = call;
  conversation.open(call);
  conversation.note(`Connected with ${shortId(call.remoteId)}`);
  announce("Connected directly. You can write and send files.");
  showSafetyCode(call);
  if (document.activeElement === document.body || find("dial").contains(document.activeElement)) {
    find("talk").hidden = false;
    conversation.focus();
  }
}

function handleEnded(call) {
  const lostFocus = find("talk").contains(document.activeElement);
  conversation.close();
  directFigure.rtt(undefined);
  find("direct-path").textContent = "not connected";
  find("safety-row").hidden = find("safety-help").hidden = true;
  showState("ice", "–");
  showState("signaling", "–");
  if (!conversation.isEmpty) conversation.note("The conversation ended");
  if (call.reason === "hung-up") {
    rememberPeer(undefined);
  } else if (!["replaced", "page-left"].includes(call.reason)) {
    notify("call", call.reason, () => dial(call.remoteId));
  }
  if (lostFocus) find("copy-link").focus();
}

async function showPath(call) {
  await new Promise((resolve) => setTimeout(resolve, PATH_AFTER_MS));
  if (call.state !== "connected") return;
  const path = await call.path();
  const text = path ? `${path.local} ↔ ${path.remote}, ${path.protocol}` : "connected";
  find("direct-path").textContent = text;
}

/** Shows both fingerprints as one short number. It differs if a third party is in between. */
function showSafetyCode(call) {
  const { fingerprints, state } = call;
  // The channel can open shortly before the browser reports the descriptions as current.
  if (!fingerprints || state !== "connected") return;
  const bytes = new TextEncoder().encode(fingerprints.toSorted().join("\n"));
  const digest = new Sha256().update(bytes).digest();
  const digits = String(BigInt(`0x${digest.slice(0, 16)}`) % 1_000_000_000_000n).padStart(12, "0");
  find("safety").textContent = digits.replace(/(.{4})(?=.)/g, "$1 ");
  find("safety-row").hidden = find("safety-help").hidden = false;
}

function showServer() {
  const { state } = signaling;
  const call = switchboard.current;
  showState("server", state);
  drawPaths(state, call?.state ?? "none");
  document.body.dataset.server = state;
  switch (state) {
    case "open":
      wasOpen = true;
      clearServerNotice();
      showStatus("open", "Connected to the server");
      dismiss("server");
      break;
    case "closed":
      clearServerNotice();
      share.show(undefined);
      showStatus("closed", "Not connected");
      notify("server", "closed", () => location.reload());
      break;
    default:
      share.show(undefined);
      signalFigure.rtt(undefined);
      showStatus(state, wasOpen ? "Reconnecting…" : "Connecting to the server…");
      if (isNoticeDue) showServerNotice();
      else noticeTimer ??= setTimeout(showServerNotice, NOTICE_AFTER_MS);
  }
}

function showServerNotice() {
  isNoticeDue = true;
  const inCall = switchboard.current?.state === "connected";
  notify("server", !wasOpen ? "unreachable" : inCall ? "reconnectingInCall" : "reconnecting");
}

function clearServerNotice() {
  clearTimeout(noticeTimer);
  noticeTimer = undefined;
  isNoticeDue = false;
}

function showStatus(state, text) {
  const status = find("status");
  if (status.dataset.state === state && find("status-text").textContent === text) return;
  status.dataset.state = state;
  find("status-text").textContent = text;
}

function showUnread(count) {
  unread = count;
  document.title = count ? `(${count}) waddell` : "waddell";
}
