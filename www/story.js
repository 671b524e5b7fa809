// The live view: figures, states and a list of events.

import { find, formatBytes, formatMilliseconds, make } from "./dom.js";
import { Feed } from "./feed.js";
import { safeText } from "./text.js";

const MAX_EVENTS = 300;
/** Longest piece of an event's text. The browser's own errors quote what the other side sent. */
const MAX_LENGTH = 250;
const SPARK_POINTS = 30;
const ARROWS = { out: "↑", in: "↓", note: "·" };
const ARROW_WORDS = { out: "sent", in: "received", note: "note" };

/** One of the two figures: the number of bytes, and the latest round trips. */
class Figure {
  bytes = 0;
  #name;
  #rtts = [];

  constructor(name) {
    this.#name = name;
  }

  count(bytes) {
    this.bytes += bytes;
    find(`${this.#name}-bytes`).textContent = formatBytes(this.bytes);
  }

  /** Adds a round trip in milliseconds; undefined clears them. */
  rtt(milliseconds) {
    const label = find(`${this.#name}-rtt`);
    if (milliseconds === undefined) this.#rtts = [];
    else this.#rtts = [...this.#rtts, milliseconds].slice(-SPARK_POINTS);
    label.textContent = milliseconds === undefined ? "–" : formatMilliseconds(milliseconds);
    // The scale ends at twice the median, so that single slow ones do not flatten the rest. With
    // a coarse clock the median can be 0.
    const sorted = this.#rtts.toSorted((a, b) => a - b);
    const top = 2 * (sorted[sorted.length >> 1] || 1);
    const points = this.#rtts.map((rtt, i) => {
      const x = 100 - (this.#rtts.length - 1 - i) * (100 / (SPARK_POINTS - 1));
      return `${x.toFixed(1)},${(23 - 22 * Math.min(rtt / top, 1)).toFixed(1)}`;
    });
    find(`${this.#name}-spark`).firstElementChild.setAttribute("points", points.join(" "));
  }
}

export const signalFigure = new Figure("signal");
export const directFigure = new Figure("direct");

const events = new Feed(find("event-list"), { limit: MAX_EVENTS, newestFirst: true });

/** Sets one of the states: "server", "signaling", "ice", "call". */
export function showState(name, value) {
  find(`state-${name}`).textContent = value;
}

/**
 * Adds an event at the top of the list. `path` is "signal", "direct" or "page", and `direction` is
 * "out", "in" or "note". Each piece of `what` keeps its own direction of writing.
 */
export function logEvent(path, direction, what, bytes) {
  const pieces = [what].flat().map((text) => make("bdi", "", safeText(text, MAX_LENGTH)));
  const arrow = make("span", "arrow", ARROWS[direction]);
  arrow.setAttribute("role", "img");
  arrow.setAttribute("aria-label", ARROW_WORDS[direction]);
  const item = make(
    "li",
    path,
    make("time", "", clock()),
    arrow,
    make("span", "what", ...pieces),
    make("span", "bytes", bytes === undefined ? "" : formatBytes(bytes)),
  );
  events.add(item);
}

function clock() {
  const now = new Date();
  const pad = (n, length) => String(n).padStart(length, "0");
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map((n) => pad(n, 2)).join(":");
  return `${time}.${pad(now.getMilliseconds(), 3)}`;
}
