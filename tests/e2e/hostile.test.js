// The page against a hostile other side, over a real data channel.

import assert from "node:assert/strict";
import { test } from "node:test";
import { accept, hears, idOf, inCall, linkOf, say, suite } from "./harness.js";
import { openStranger, openVictim, told } from "./stranger.js";

const GIB = 1 << 30;
/** Most entries of the page's log, and of its list of events. */
const MAX_ENTRIES = 300;

const { browser, server } = await suite();

test("a flood of chat leaves the newest lines, and reads the layout once a frame", async () => {
  const prepare = (page) => page.addInitScript(countLayouts);
  const [page, stranger] = await openVictim(browser, server, { prepare });
  await stranger.evaluate(() => {
    for (let line = 0; line < 4_000; line++) window.stranger.say({ kind: "chat", text: "x" });
    window.stranger.say({ kind: "chat", text: "the last line" });
  });
  await hears(page, "the last line");
  const { entries, events, layouts, frames, atEnd } = await page.evaluate(() => {
    const log = document.querySelector("#log");
    return {
      entries: log.childElementCount,
      events: document.querySelector("#event-list").childElementCount,
      atEnd: log.lastElementChild.getBoundingClientRect().bottom <= innerHeight,
      ...window.counted,
    };
  });
  assert.equal(entries, MAX_ENTRIES);
  assert.equal(events, MAX_ENTRIES);
  assert.ok(atEnd, "the log follows the newest line");
  assert.ok(layouts <= 2 * frames, `${layouts} layouts in ${frames} frames`);
  await say(page, "Enough");
  await page.locator(".bubble.out", { hasText: "Enough" }).waitFor();
});

test("chat cannot reorder or hide what is around it", async () => {
  const [page, stranger] = await openVictim(browser, server);
  await stranger.evaluate(() => {
    window.stranger.say({ kind: "chat", text: "\u202e\u2066\u0000\u0007evil\u200f שלום\nmore" });
    const long = `${"y".repeat(3_999)}🐧${"z".repeat(50_000)}`;
    window.stranger.say({ kind: "chat", text: long });
  });
  await hears(page, "evil");
  const text = page.locator(".bubble.in bdi");
  assert.equal(await text.first().textContent(), "evil שלום\nmore");
  assert.equal(await text.first().evaluate((e) => getComputedStyle(e).unicodeBidi), "isolate");
  assert.equal(await text.nth(1).textContent(), "y".repeat(3_999));
});

test("a file's bytes are not taken before the user accepts it", async () => {
  const [page, stranger] = await openVictim(browser, server);
  await stranger.evaluate(async () => {
    window.stranger.tell({ kind: "offer", id: 1, name: "gift.bin", size: 5 });
    window.stranger.tell({ kind: "begin", id: 1 });
    await window.stranger.sendBytes(new Uint8Array(5));
    window.stranger.tell({ kind: "end", id: 1, sha256: "" });
    window.stranger.tell({ kind: "offer", id: 2, name: "other.bin", size: 5 });
  });
  await page.locator('.file[data-state="offered"]').nth(1).waitFor();
  assert.equal(await page.locator(".file").count(), 2);
  await page.getByRole("button", { name: "Decline gift.bin" }).click();
  await told(stranger, { kind: "stop", id: 1, reason: "declined" });
  await accept(page, "other.bin");
  await told(stranger, { kind: "accept", id: 2 });
  await page.locator(".file-status", { hasText: "Declined." }).waitFor();
});

test("offers are bounded in number, and accepted files in size", async () => {
  const [page, stranger] = await openVictim(browser, server);
  await stranger.evaluate((size) => {
    window.stranger.tell({ kind: "offer", id: 100, name: "huge.bin", size: size + 1 });
    for (let id = 1; id <= 12; id++) {
      window.stranger.tell({ kind: "offer", id, name: `file-${id}`, size });
    }
  }, GIB);
  await told(stranger, { kind: "stop", id: 100, reason: "size" });
  for (let id = 9; id <= 12; id++) {
    await told(stranger, { kind: "stop", id, reason: "offers" });
  }
  assert.equal(await page.locator(".file").count(), 8);
  await accept(page, "file-1");
  await told(stranger, { kind: "accept", id: 1 });
  await accept(page, "file-2");
  await told(stranger, { kind: "stop", id: 2, reason: "room" });
  await page.locator(".file-status", { hasText: "No room." }).waitFor();
  // What is cancelled, and what has ended with the call, holds no room.
  await page.getByRole("button", { name: "Cancel file-1" }).click();
  await accept(page, "file-3");
  await told(stranger, { kind: "accept", id: 3 });
  await page.click("#hang-up");
  await page.locator('.file[data-state="failed"]').nth(5).waitFor();
  assert.equal(await page.getByRole("button", { name: /^(Accept|Cancel) / }).count(), 0);
});

test("a received file holds its room until it is removed", async () => {
  const [page, stranger] = await openVictim(browser, server);
  await stranger.evaluate(async (size) => {
    window.stranger.tell({ kind: "offer", id: 1, name: "one.bin", size: 1 });
    window.stranger.tell({ kind: "offer", id: 2, name: "all.bin", size });
  }, GIB);
  await accept(page, "one.bin");
  await told(stranger, { kind: "accept", id: 1 });
  await stranger.evaluate(async () => {
    const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(1));
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0"));
    window.stranger.tell({ kind: "begin", id: 1 });
    await window.stranger.sendBytes(new Uint8Array(1));
    window.stranger.tell({ kind: "end", id: 1, sha256: hex.join("") });
  });
  await accept(page, "all.bin");
  await told(stranger, { kind: "stop", id: 2, reason: "room" });
  await page.getByRole("button", { name: "Remove one.bin" }).click();
  await page.getByRole("link", { name: "Save one.bin" }).waitFor({ state: "detached" });
  await stranger.evaluate(
    (size) => window.stranger.tell({ kind: "offer", id: 3, name: "again.bin", size }),
    GIB,
  );
  await accept(page, "again.bin");
  await told(stranger, { kind: "accept", id: 3 });
});

test("empty pieces and pieces of a byte are not kept one by one", async () => {
  const prepare = (page) => page.addInitScript(countBlobParts);
  const [page, stranger] = await openVictim(browser, server, { prepare });
  await stranger.evaluate(() =>
    window.stranger.tell({ kind: "offer", id: 1, name: "crumbs.bin", size: 3_000 }),
  );
  await accept(page, "crumbs.bin");
  await told(stranger, { kind: "accept", id: 1 });
  await stranger.evaluate(async () => {
    const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(3_000).fill(7));
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0"));
    window.stranger.tell({ kind: "begin", id: 1 });
    for (let at = 0; at < 3_000; at++) {
      await window.stranger.sendBytes(new Uint8Array(0));
      await window.stranger.sendBytes(Uint8Array.of(7));
    }
    window.stranger.tell({ kind: "end", id: 1, sha256: hex.join("") });
  });
  await page.locator('.file[data-state="done"]').waitFor();
  assert.deepEqual(await page.evaluate(() => window.blobs), [
    { parts: 1, type: "application/octet-stream" },
  ]);
});

test("a file that breaks its promise fails, and the conversation goes on", async () => {
  const [page, stranger] = await openVictim(browser, server);
  await stranger.evaluate(() => {
    const { filesChannel, talkChannel, tell } = window.stranger;
    for (const text of ["", "no JSON", "null", "7", "[]", '{"kind":7}', '{"kind":"__proto__"}']) {
      filesChannel.send(text);
      talkChannel.send(text);
    }
    talkChannel.send(new Uint8Array(9));
    filesChannel.send(new Uint8Array(9));
    for (const kind of ["begin", "end", "cancel", "accept", "got", "stop"]) {
      tell({ kind });
      tell({ kind, id: 9, sha256: 7, reason: {} });
    }
    for (const size of [-1, 0.5, 1e300, "5", null]) tell({ kind: "offer", id: 8, size });
    for (const id of [1, 2, 3]) tell({ kind: "offer", id, name: `file-${id}`, size: 10 });
    tell({ kind: "offer", id: 3, name: "the same id", size: 10 });
  });
  for (const id of [1, 2, 3]) {
    await accept(page, `file-${id}`);
    await told(stranger, { kind: "accept", id });
  }
  await stranger.evaluate(async () => {
    const { sendBytes, tell } = window.stranger;
    tell({ kind: "begin", id: 1 });
    for (const length of [9, 9, 9]) await sendBytes(new Uint8Array(length));
    tell({ kind: "begin", id: 2 });
    await sendBytes(new Uint8Array(10));
    tell({ kind: "end", id: 2, sha256: "0".repeat(64) });
    tell({ kind: "begin", id: 3 });
    await sendBytes(new Uint8Array(9));
    tell({ kind: "end", id: 3, sha256: "0".repeat(64) });
  });
  for (const id of [1, 2, 3]) await told(stranger, { kind: "stop", id, reason: "differs" });
  const statuses = page.locator('.file[data-state="failed"] .file-status');
  await statuses.nth(2).waitFor();
  assert.deepEqual(await statuses.allInnerTexts(), [
    "The other side sent more bytes than announced.",
    "The received file differs from the one that was sent.",
    "The received file differs from the one that was sent.",
  ]);
  assert.equal(await page.locator(".file").count(), 3);
  await stranger.evaluate(() => window.stranger.say({ kind: "chat", text: "Still here" }));
  await hears(page, "Still here");
});

test("a file's name is shown and saved without folders and hidden characters", async () => {
  const [page, stranger] = await openVictim(browser, server);
  await stranger.evaluate(() =>
    window.stranger.tell({
      kind: "offer",
      id: 1,
      name: "../../.ssh/\u202egpj.\u0000song\u2066.exe",
      type: "text/html",
      size: 0,
    }),
  );
  await accept(page, "gpj.song.exe");
  await told(stranger, { kind: "accept", id: 1 });
  await stranger.evaluate(async () => {
    const digest = await crypto.subtle.digest("SHA-256", new Uint8Array());
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0"));
    window.stranger.tell({ kind: "begin", id: 1 });
    window.stranger.tell({ kind: "end", id: 1, sha256: hex.join("") });
  });
  const save = page.getByRole("link", { name: "Save gpj.song.exe", exact: true });
  const [download] = await Promise.all([page.waitForEvent("download"), save.click()]);
  assert.equal(download.suggestedFilename(), "gpj.song.exe");
  assert.equal(await page.locator(".file-name").textContent(), "gpj.song.exe");
});

test("pings are answered at a bounded rate, and with their own number alone", async () => {
  const [page, stranger] = await openVictim(browser, server);
  const begin = Date.now();
  await stranger.evaluate(() => {
    window.stranger.say({ kind: "ping", number: "n".repeat(10_000) });
    for (let number = 0; number < 3_000; number++) window.stranger.say({ kind: "ping", number });
    window.stranger.say({ kind: "chat", text: "No more pings" });
  });
  await hears(page, "No more pings");
  const seconds = (Date.now() - begin) / 1000;
  await say(page, "No more pongs");
  const pongs = await stranger.evaluate(async () => {
    const { talk } = window.stranger;
    const isLast = ({ text }) => text === "No more pongs";
    while (!talk.some(isLast)) await new Promise((done) => setTimeout(done));
    return talk.filter(({ kind }) => kind === "pong").map(({ number }) => number);
  });
  assert.ok(pongs.length >= 10 && pongs.length <= 11 + 5 * seconds, `${pongs.length} pongs`);
  assert.ok(pongs.every(Number.isInteger));
});

test("an id that is claimed over the channel is not shown", async () => {
  const [page, stranger] = await openVictim(browser, server);
  const known = await browser.open(server.page);
  const ids = { page: await idOf(page), known: await idOf(known) };
  const strangerId = await stranger.evaluate(() => window.stranger.id);
  await stranger.evaluate((id) => window.stranger.say({ kind: "id", id }), ids.known);
  const from = (id) => new RegExp(`^moved from ${id.slice(0, 8)}`);
  await known.locator(".what", { hasText: from(ids.page) }).waitFor();
  assert.equal(await page.locator("#remote-id").innerText(), strangerId);
  assert.equal(await known.locator("#talk").isVisible(), false);

  // The known page is called with the same token, and told that the stranger's new id is that of
  // the first page. So it sends a signal with the token of that page's call.
  await stranger.evaluate(async (ids) => {
    await window.stranger.call(ids.known);
    window.stranger.say({ kind: "id", id: ids.page });
  }, ids);
  await page.locator(".what", { hasText: from(ids.known) }).waitFor();
  assert.equal(await page.locator("#remote-id").innerText(), strangerId);
  assert.equal(await page.locator("#talk").getAttribute("data-state"), "connected");
});

test("a stranger's call replaces neither a call being made nor one that is open", async () => {
  const silent = await openStranger(browser, server);
  const other = await openStranger(browser, server);
  const silentId = await silent.evaluate(() => window.stranger.id);
  const page = await browser.open(`${server.page}#peer=${silentId}`);
  await inCall(page, "calling");
  const isBusy = (id) =>
    other.evaluate(async (id) => {
      window.stranger.signals.length = 0;
      window.stranger.call(id);
      const isAnswer = ({ kind }) => kind === "busy" || kind === "description";
      for (;;) {
        const answer = window.stranger.signals.find(isAnswer);
        if (answer) return answer.kind === "busy";
        await new Promise((done) => setTimeout(done));
      }
    }, id);
  assert.ok(await isBusy(await idOf(page)));
  await page.getByRole("status").filter({ hasText: "Another page called" }).waitFor();
  assert.equal(await page.locator("#talk").getAttribute("data-state"), "calling");
  assert.equal(await page.locator("#remote-id").innerText(), silentId);

  const [victim] = await openVictim(browser, server);
  assert.ok(await isBusy(await idOf(victim)));
  await victim.getByRole("button", { name: "Dismiss" }).click();
  assert.equal(await victim.locator("#talk").getAttribute("data-state"), "connected");
});

test("descriptions with more than data, and floods of candidates, cost no more", async () => {
  const prepare = (page) => page.addInitScript(countConnections);
  const page = await browser.open(server.page, { prepare });
  const stranger = await openStranger(browser, server);
  await stranger.evaluate(async (id) => {
    const { signal, token } = window.stranger;
    const open = (sdp) => {
      const description = { type: "offer", sdp };
      signal(id, { call: token, kind: "description", opens: true, description });
    };
    const connection = new RTCPeerConnection();
    for (let i = 0; i < 3; i++) connection.addTransceiver("video");
    await connection.setLocalDescription();
    open(connection.localDescription.sdp);
    open(`v=0\r\nm=application\r\n${"a=x\r\n".repeat(7_000)}`);
    const sole = new RTCPeerConnection();
    sole.createDataChannel("talk", { negotiated: true, id: 0 });
    await sole.setLocalDescription();
    open(sole.localDescription.sdp);
    const answers = async (count) => {
      const isAnswer = ({ kind }) => kind === "description";
      while (window.stranger.signals.filter(isAnswer).length < count) {
        await new Promise((done) => setTimeout(done));
      }
    };
    await answers(1);
    for (let port = 1; port <= 1_000; port++) {
      const candidate = `candidate:1 1 udp 1 127.0.0.1 ${port} typ host`;
      const whole = { candidate, sdpMid: "0", sdpMLineIndex: 0 };
      signal(id, { call: token, kind: "candidate", candidate: whole });
    }
    // One of these offers is not lost in the flood. Its answer comes after the candidates.
    const offers = setInterval(() => open(sole.localDescription.sdp), 100);
    await answers(2);
    clearInterval(offers);
    signal(id, { call: token, kind: "bye" });
  }, await idOf(page));
  await inCall(page, "ended");
  const { descriptions, candidates } = await page.evaluate(() => window.counted);
  assert.ok(descriptions.every((sdp) => !sdp.includes("m=video") && sdp.length < 32_768));
  assert.ok(candidates > 0 && candidates <= 100, `${candidates} candidates`);
  const friend = await browser.open(await linkOf(page));
  await inCall(friend, "connected");
});

test("a flood of calls makes a bounded number of connections", async () => {
  const prepare = (page) => page.addInitScript(countConnections);
  const page = await browser.open(server.page, { prepare });
  const id = await idOf(page);
  const stranger = await openStranger(browser, server);
  const begin = Date.now();
  await stranger.evaluate(async (id) => {
    const sole = new RTCPeerConnection();
    sole.createDataChannel("talk", { negotiated: true, id: 0 });
    await sole.setLocalDescription();
    for (let number = 0; number < 700; number++) {
      const call = String(number).padStart(32, "0");
      const description = sole.localDescription;
      window.stranger.signal(id, { call, kind: "description", opens: true, description });
    }
    const isBusy = ({ kind }) => kind === "busy";
    while (window.stranger.signals.filter(isBusy).length < 600) {
      await new Promise((done) => setTimeout(done));
    }
  }, id);
  const seconds = (Date.now() - begin) / 1000;
  const { connections } = await page.evaluate(() => window.counted);
  // One is made at the start of the page.
  assert.ok(connections >= 11 && connections <= 12 + seconds / 2, `${connections} connections`);
});

test("a callee that keeps changing its id does not keep the page calling", async () => {
  const prepare = async (page) => {
    await page.addInitScript(countConnections);
    await page.clock.install();
  };
  const stranger = await openStranger(browser, server);
  const ids = await stranger.evaluate(async () => {
    const clients = [];
    for (let i = 0; i < 2; i++) clients.push(await window.stranger.Client.connect("/ws"));
    for (const [i, client] of clients.entries()) {
      client.topic(1).addEventListener("message", ({ detail: { from, body } }) => {
        const { call, kind } = JSON.parse(new TextDecoder().decode(body));
        if (kind !== "description") return;
        clients[1 - i].topic(1).send(from, JSON.stringify({ call, kind: "moved" }));
      });
    }
    return clients.map(({ id }) => id);
  });
  const page = await browser.open(`${server.page}#peer=${ids[0]}`, { prepare });
  await page.waitForFunction(() => window.counted.connections >= 22);
  await page.clock.fastForward(10_000);
  await page.getByRole("alert").filter({ hasText: "Nobody answered" }).waitFor();
  assert.equal(await page.evaluate(() => window.counted.connections), 22);
});

/** Runs in the page: counts how often the log's layout is read, and the frames. */
function countLayouts() {
  const counted = (window.counted = { layouts: 0, frames: 0 });
  const { get } = Object.getOwnPropertyDescriptor(Element.prototype, "scrollHeight");
  Object.defineProperty(Element.prototype, "scrollHeight", {
    get() {
      counted.layouts++;
      return get.call(this);
    },
  });
  const original = window.requestAnimationFrame;
  window.requestAnimationFrame = (callback) =>
    original((time) => {
      counted.frames++;
      callback(time);
    });
}

/** Runs in the page: records the Blobs that it makes. */
function countBlobParts() {
  const blobs = (window.blobs = []);
  window.Blob = class extends Blob {
    constructor(parts, options) {
      super(parts, options);
      blobs.push({ parts: parts.length, type: this.type });
    }
  };
}

/** Runs in the page: counts connections, and what they are given. */
function countConnections() {
  const counted = (window.counted = { connections: 0, descriptions: [], candidates: 0 });
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      counted.connections++;
    }
    setRemoteDescription(description) {
      counted.descriptions.push(description.sdp);
      return super.setRemoteDescription(description);
    }
    addIceCandidate(candidate) {
      counted.candidates++;
      return super.addIceCandidate(candidate);
    }
  };
}
