// Notices about failures: what happened, and what to do.

import { find, make } from "./dom.js";

const TEXTS = {
  // The server.
  unreachable: {
    title: "The server does not answer",
    text: "Is waddell-server running, and can this device reach it? The page keeps trying.",
  },
  reconnecting: {
    title: "The connection to the server is gone",
    text:
      "The page keeps trying. If the server cannot give its id back, it gets a new id and a new " +
      "link.",
  },
  reconnectingInCall: {
    title: "The connection to the server is gone",
    text:
      "Your conversation goes on: it does not need the server. The page reconnects by itself, " +
      "with its id or with a new one.",
  },
  closed: {
    title: "The connection to the server is closed",
    text: "The page does not reconnect any more. Reload it to start again.",
    action: "Reload",
  },
  package: {
    title: "A part of the page is missing",
    text:
      "pkg/waddell.js could not be loaded. Reload the page. If that does not help, the server " +
      "was built without the browser package.",
    action: "Reload",
  },
  refused: {
    title: "This server cannot be used",
    text: "Check the address after ?server= in the address bar: it looks like wss://host/ws.",
  },
  // The browser.
  unsupported: {
    title: "This browser cannot connect to others",
    text: "WebRTC is missing or switched off. Use a current Firefox, Chrome, Edge or Safari.",
  },
  ice: {
    title: "The ICE servers in the address cannot be used",
    text: "Write ?ice=stun:HOST:PORT or ?ice=turn:USER:PASSWORD@HOST:PORT.",
  },
  // The other side.
  ownLink: {
    title: "This is your own link",
    text: "Open it in another tab or on another device, or send it to another person.",
  },
  badLink: {
    title: "This link is not complete",
    text:
      "An id has 36 characters, like 3f2c0b9e-7d41-4c1a-9a55-0f6d2c8e1b34. Copy the whole link.",
  },
  unknown: {
    title: "No page has this id",
    text: "The other page is closed, or has a new id. Ask for a fresh link.",
    action: "Try again",
  },
  "no-answer": {
    title: "Nobody answered",
    text: "The other page may be closed, or have a new id. Ask for a fresh link.",
    action: "Try again",
  },
  busy: {
    title: "They are talking with somebody else",
    text: "A page holds one conversation at a time. Try again later, or ask them to hang up.",
    action: "Try again",
  },
  "ice-failed": {
    title: "No direct path between the two pages",
    text:
      "The networks in between block direct connections. Use the same network, switch off a VPN, " +
      "or open both pages with ?ice=stun:HOST:PORT (or a TURN server) in the address.",
    action: "Try again",
  },
  lost: {
    title: "The connection to the other side was lost",
    text:
      "The page found no new path. If the other page is still open, call again. If it has a new " +
      "id, ask for a fresh link.",
    action: "Call again",
  },
  missed: {
    title: "Another page called",
    text: "The page told them that you are busy. Their id is in the list of events.",
    mild: true,
  },
  left: {
    title: "The other side has left",
    text: "Messages and files stay here until you close the page.",
    mild: true,
  },
};

const shown = new Map();

/** Shows a notice in a place ("server", "call" or "missed"), in place of the notice there. */
export function notify(place, name, action) {
  const known = shown.get(place);
  if (known?.name === name) return;
  dismiss(place);
  const { title, text, action: label, mild } = TEXTS[name];
  const words = make("div", "words", make("h2", "", title), make("p", "", text));
  const element = make("div", mild ? "notice mild" : "notice", words);
  element.setAttribute("role", mild ? "status" : "alert");
  element.dataset.notice = name;
  const buttons = make("div", "actions");
  if (label) {
    const button = make("button", "", label);
    button.type = "button";
    button.addEventListener("click", () => {
      dismiss(place);
      action();
    });
    buttons.append(button);
  }
  if (place !== "server") {
    const close = make("button", "quiet", "Dismiss");
    close.type = "button";
    close.addEventListener("click", () => dismiss(place));
    buttons.append(close);
  }
  if (buttons.childElementCount) element.append(buttons);
  shown.set(place, { name, element });
  find("notices").append(element);
}

/** Removes the notice of a place. */
export function dismiss(place) {
  shown.get(place)?.element.remove();
  shown.delete(place);
}
