// The page's module for peer connections, tested without the rest of the page.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { suite } from "./harness.js";

/** Without a limit, a negotiation that is stuck would wait without end. */
const LIMIT = { timeout: 30_000 };

const { browser, server } = await suite();
let page;

beforeEach(async () => {
  page = await browser.open(server.page);
  await page.evaluate(makePair);
});

test("two peers that offer at the same time are connected", LIMIT, async () => {
  const result = await page.evaluate(async () => {
    window.pair = window.makePair([true, false]);
    await pair.delivered();
    await pair.opened();
    const offers = pair.signals.filter(({ description }) => description?.type === "offer").length;
    return { offers, errors: pair.errors };
  });
  assert.ok(result.offers >= 2, "both offered");
  assert.deepEqual(result.errors, []);
});

test("repeated restarts of ICE by both sides at once keep the connection", LIMIT, async () => {
  const errors = await page.evaluate(async () => {
    window.pair = window.makePair([false, true]);
    await pair.delivered();
    await pair.opened();
    for (let round = 0; round < 10; round++) {
      const before = pair.credentials();
      for (const peer of pair.peers) peer.restartIce();
      // One side's offer gives new credentials to both sides, or both offers do in turn.
      while (pair.credentials() === before || !pair.stable()) await pair.delivered();
      const [first, second] = pair.peers.map((peer) => peer.channels.talk);
      const echo = new Promise((done) => (second.onmessage = ({ data }) => done(data)));
      first.send(`round ${round}`);
      if ((await echo) !== `round ${round}`) return [`round ${round} got lost`];
    }
    return pair.errors;
  });
  assert.deepEqual(errors, []);
});

/** Runs in the page: defines `makePair`, which makes two peers with crossing signals. */
async function makePair() {
  const { Peer } = await import("/peer.js");
  window.makePair = (polite) => {
    const descriptions = [];
    const states = [];
    const pair = { peers: [], signals: [], errors: [] };
    const queues = [[], []];
    for (const side of [0, 1]) {
      const send = (signal) => {
        pair.signals.push(signal);
        if (signal.description) descriptions[side] = signal.description;
        queues[1 - side].push(signal);
      };
      const peer = new Peer({ polite: polite[side], send, channels: { talk: 0 } });
      peer.addEventListener("ice", ({ detail }) => {
        if (detail.part === "signaling") states[side] = detail.value;
      });
      peer.addEventListener("error", ({ detail }) => pair.errors.push(String(detail)));
      pair.peers.push(peer);
    }
    const tick = () => new Promise((done) => setTimeout(done));
    // Holds signals until both sides have some, or no more come, so that offers cross.
    pair.delivered = async () => {
      for (let idle = 0; idle < 3; idle++) {
        await tick();
        if (queues[0].length && queues[1].length) break;
      }
      for (const side of [0, 1]) {
        for (const signal of queues[side].splice(0)) pair.peers[side].handleSignal(signal);
      }
      await tick();
    };
    pair.opened = async () => {
      const isOpen = ({ channels }) => channels.talk.readyState === "open";
      while (!pair.peers.every(isOpen)) await pair.delivered();
    };
    pair.credentials = () => descriptions.map(({ sdp }) => /a=ice-ufrag:(.*)/.exec(sdp)[1]).join();
    pair.stable = () => {
      const isIdle = !queues[0].length && !queues[1].length;
      return isIdle && states.every((state) => state === "stable");
    };
    return pair;
  };
}
