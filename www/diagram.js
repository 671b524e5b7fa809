// The picture beside the story: two paths, and a dot for each message that takes one.

import { find } from "./dom.js";

const YOU = [60, 128];
const SERVER = [200, 36];
const THEM = [340, 128];
const LEG_MS = 420;
/** A file is thousands of messages; this many dots a second say it just as well. */
const DIRECT_EVERY_MS = 140;
const MOST_PULSES = 40;

const still = matchMedia("(prefers-reduced-motion: reduce)");
let lastDirect = 0;

/** Shows which paths there are: server "open" or not, call state, for eyes and for readers. */
export function drawPaths(server, call) {
  const diagram = find("diagram");
  diagram.dataset.server = server;
  diagram.dataset.call = call;
  const withServer = server === "open" ? "connected to the server" : "not connected to the server";
  const withThem = call === "connected" ? "connected directly to the other side" : "not connected to anybody else";
  find("diagram-title").textContent = `You are ${withServer} and ${withThem}`;
}

export function pulseSignal(direction) {
  pulse("signal", direction === "out" ? [YOU, SERVER, THEM] : [THEM, SERVER, YOU]);
}

export function pulseDirect(direction) {
  const now = performance.now();
  if (now - lastDirect < DIRECT_EVERY_MS) return;
  lastDirect = now;
  pulse("direct", direction === "out" ? [YOU, THEM] : [THEM, YOU]);
}

function pulse(path, stops) {
  const pulses = find("pulses");
  if (still.matches || document.visibilityState === "hidden" || pulses.childElementCount >= MOST_PULSES) return;
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  dot.setAttribute("r", "5");
  dot.classList.add("pulse", path);
  pulses.append(dot);
  const frames = stops.map(([x, y]) => ({ transform: `translate(${x}px, ${y}px)` }));
  const animation = dot.animate(frames, { duration: LEG_MS * (stops.length - 1), easing: "ease-in-out" });
  animation.onfinish = animation.oncancel = () => dot.remove();
}
