// What the page says when something fails: what happened, and what to do about it.

import { find, make } from "./dom.js";

const TEXTS = {
  // The server.
  unreachable: {
    title: "The server does not answer",
    text: "Is waddell-server running, and can this device reach it? The page keeps trying by itself.",
  },
  reconnecting: {
    title: "The connection to the server is gone",
    text: "The page keeps trying by itself. Your id and link will be new ones then.",
  },
  reconnectingInCall: {
    title: "The connection to the server is gone",
    text: "Your conversation goes on: it does not need the server. The page reconnects by itself and gets a new id.",
  },
  closed: {
    title: "The connection to the server is closed",
    text: "The server cannot be used any more from here. Reload the page to start again.",
    action: "Reload",
  },
  package: {
    title: "A part of the page is missing",
    text: "pkg/waddell.js could not be loaded. Reload; if that does not help, the server was built without the browser package.",
    action: "Reload",
  },
  refused: {
    title: "This server cannot be used",
    text: "Check the address after ?server= in the address bar: it looks like wss://host/ws.",
  },
  // The browser.
  unsupported: {
    title: "This browser cannot connect to others",
    text: "It has no WebRTC, or it is switched off. Try a current Firefox, Chrome, Edge or Safari.",
  },
  ice: {
    title: "The ICE servers in the address cannot be used",
    text: "Write ?ice=stun:HOST:PORT or ?ice=turn:USER:PASSWORD@HOST:PORT.",
  },
  // The other side.
  ownLink: {
    title: "This is your own link",
    text: "Open it in another tab or on another device, or send it to somebody.",
  },
  badLink: {
    title: "This link is not complete",
    text: "An id has 36 characters, like 3f2c0b9e-7d41-4c1a-9a55-0f6d2c8e1b34. Copy the whole link.",
  },
  "no-answer": {
    title: "Nobody answered",
    text: "That page is closed, or has a new id since its connection was renewed. Ask for a fresh link.",
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
      "They found each other, but the networks in between let nothing through. Use the same network, switch a VPN off, " +
      "or open both pages with ?ice=stun:HOST:PORT (or a TURN server) in the address.",
    action: "Try again",
  },
  lost: {
    title: "The connection to the other side was lost",
    text: "No path to them came back. If their page is still open, call again; if it has a new id, ask for a fresh link.",
    action: "Call again",
  },
  left: { title: "The other side has left", text: "What you received stays here until you close the page.", mild: true },
};

const shown = new Map();

/** Shows a notice in a place ("server" or "call"), instead of what was there. */
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
  if (place === "call") {
    const close = make("button", "quiet", "Dismiss");
    close.type = "button";
    close.addEventListener("click", () => dismiss(place));
    buttons.append(close);
  }
  if (buttons.childElementCount) element.append(buttons);
  shown.set(place, { name, element });
  find("notices").append(element);
}

/** Takes the notice of a place away. */
export function dismiss(place) {
  shown.get(place)?.element.remove();
  shown.delete(place);
}
