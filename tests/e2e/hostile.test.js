// The page against a hostile other side, over a real data channel.

import assert from "node:assert/strict";
import { test } from "node:test";
import { accept, hears, say, suite } from "./harness.js";
import { openVictim, told } from "./stranger.js";

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
