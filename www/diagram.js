// The diagram of the live view: two paths, and a moving dot for each message.

import { find } from "./dom.js";

const YOU = [60, 128];
const SERVER = [200, 36];
const THEM = [340, 128];
const LEG_MS = 420;
/** Least time between two dots of the direct path, because a file is thousands of messages. */
const DIRECT_EVERY_MS = 140;
const MAX_PULSES = 40;

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
let lastDirect = 0;

/** Shows the existing paths, in the picture and in its title for screen readers. */
export function drawPaths(server, call) {
  const diagram = find("diagram");
  diagram.dataset.server = server;
  diagram.dataset.call = call;
  const toServer = server === "open" ? "connected" : "not connected";
  const toPeer = call === "connected" ? "directly connected" : "not connected";
  find("diagram-title").textContent =
    `You are ${toServer} to the server, and ${toPeer} to another page`;
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
  if (reducedMotion.matches || document.visibilityState === "hidden") return;
  if (pulses.childElementCount >= MAX_PULSES) return;
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  dot.setAttribute("r", "5");
  dot.classList.add("pulse", path);
  pulses.append(dot);
  const frames = stops.map(([x, y]) => ({ transform: `translate(${x}px, ${y}px)` }));
  const duration = LEG_MS * (stops.length - 1);
  const animation = dot.animate(frames, { duration, easing: "ease-in-out" });
  animation.onfinish = animation.oncancel = () => dot.remove();
}
