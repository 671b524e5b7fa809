// Calls of two pages: connecting, talking over a data channel, and ending.

import assert from "node:assert/strict";
import { test } from "node:test";
import jsQR from "jsqr";
import { PNG } from "pngjs";
import { hears, idOf, inCall, linkOf, openPair, say, suite } from "./harness.js";
import { openStranger } from "./stranger.js";

const UNKNOWN = "00000000-0000-4000-8000-000000000000";

const { browser, server } = await suite();

test("a page shows its id, and a link and a QR code that lead to it", async () => {
  const page = await browser.open(server.page);
  const id = await idOf(page);
  assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  const link = `${server.page}#peer=${id}`;
  assert.equal(await linkOf(page), link);

  const image = PNG.sync.read(await page.locator("#qr").screenshot());
  const code = jsQR(new Uint8ClampedArray(image.data), image.width, image.height);
  assert.equal(code?.data, link);
});

test("the QR code of a dark page can be read, too", async () => {
  const page = await browser.open(server.page, { colorScheme: "dark" });
  const link = await linkOf(page);
  const image = PNG.sync.read(await page.locator("#qr").screenshot());
  assert.equal(jsQR(new Uint8ClampedArray(image.data), image.width, image.height)?.data, link);
});

test("id and link are copied to the clipboard", async () => {
  const permissions = ["clipboard-read", "clipboard-write"];
  const page = await browser.open(server.page, { permissions });
  const id = await idOf(page);
  await page.click("#copy-id");
  await page.getByRole("button", { name: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), id);
  await page.click("#copy-link");
  await page.waitForFunction(
    async (link) => (await navigator.clipboard.readText()) === link,
    await linkOf(page),
  );
});

test("two pages chat over a data channel, and the server sees nothing of it", async () => {
  const frames = [];
  const prepare = (page) =>
    page.on("websocket", (socket) => {
      for (const event of ["framesent", "framereceived"]) {
        socket.on(event, ({ payload }) => frames.push(payload.toString("latin1")));
      }
    });
  const [first, second] = await openPair(browser, server, { prepare });
  await say(second, "Swim south.");
  await hears(first, "Swim south.");
  await say(first, "<b>On my way</b>");
  await hears(second, "<b>On my way</b>");

  const hasOffer = frames.some((frame) => frame.includes('"type":"offer"'));
  assert.ok(hasOffer, "the offer went through the server");
  assert.ok(!frames.some((frame) => /Swim south|On my way/.test(frame)), "the chat did not");
  const remoteId = await first.locator("#remote-id").innerText();
  assert.equal(remoteId, await second.locator("#id").innerText());
  for (const figure of ["#direct-rtt", "#signal-rtt"]) {
    await second.waitForFunction(
      (selector) => document.querySelector(selector).textContent.endsWith(" ms"),
      figure,
    );
  }
});

test("both sides see the same safety code", async () => {
  const [first, second] = await openPair(browser, server);
  const code = await first.locator("#safety").innerText();
  assert.match(code, /^\d{4} \d{4} \d{4}$/);
  assert.equal(await second.locator("#safety").innerText(), code);
});

test("an id can be typed, with the keyboard alone", async () => {
  const first = await browser.open(server.page);
  const second = await browser.open(server.page);
  const id = await idOf(first);
  await idOf(second);
  const reach = async (selector) => {
    const target = second.locator(selector);
    for (let presses = 0; presses < 20; presses++) {
      if (await target.evaluate((element) => element === document.activeElement)) return;
      await second.keyboard.press("Tab");
    }
    assert.fail(`twenty Tabs do not reach ${selector}`);
  };
  await reach("#dial-id");
  await second.keyboard.type("no such id");
  await second.keyboard.press("Enter");
  await second.getByRole("alert").filter({ hasText: "That is no id" }).waitFor();
  await second.keyboard.press("ControlOrMeta+a");
  await second.keyboard.type(id.toUpperCase());
  await second.keyboard.press("Enter");
  await inCall(second, "connected");
  await second.keyboard.type("Look, no mouse");
  await second.keyboard.press("Enter");
  await hears(first, "Look, no mouse");
  await reach("#hang-up");
  await second.keyboard.press("Space");
  await inCall(first, "ended");
});

test("two pages that call each other at the same time end up in one call", async () => {
  // Holds back each page's messages until both have sent their offer, so that the offers cross.
  let crossing = false;
  const held = [];
  const release = () => {
    crossing = false;
    for (const send of held.splice(0)) send();
  };
  const offers = new Set();
  const prepare = (page) =>
    page.routeWebSocket(/\/ws$/, (socket) => {
      const upstream = socket.connectToServer();
      socket.onMessage((message) => {
        if (!crossing) return upstream.send(message);
        held.push(() => upstream.send(message));
        if (message.toString("latin1").includes('"type":"offer"')) offers.add(page);
        if (offers.size === 2) release();
      });
    });
  const pages = [];
  for (let i = 0; i < 2; i++) pages.push(await browser.open(server.page, { prepare }));
  const ids = await Promise.all(pages.map(idOf));
  crossing = true;
  await Promise.all(
    pages.map((page, i) => page.evaluate((id) => (location.hash = `peer=${id}`), ids[1 - i])),
  );
  await Promise.all(pages.map((page) => inCall(page, "connected")));
  assert.equal(offers.size, 2);
  await say(pages[0], "You called?");
  await hears(pages[1], "You called?");
  await say(pages[1], "So did you.");
  await hears(pages[0], "So did you.");
});

test("a page notices at once that the other was closed, and can be called again", async () => {
  const [first, second] = await openPair(browser, server);
  await second.close({ runBeforeUnload: true });
  await first.waitForSelector('[data-notice="left"]');
  const third = await browser.open(await linkOf(first));
  await Promise.all([inCall(first, "connected"), inCall(third, "connected")]);
  await say(third, "Back again");
  await hears(first, "Back again");
});

test("a reload calls again", async () => {
  const [first, second] = await openPair(browser, server);
  await second.reload();
  await inCall(second, "connected");
  await inCall(first, "connected");
  await say(first, "Welcome back");
  await hears(second, "Welcome back");
});

test("a third page is told that the other two are talking", async () => {
  const [first] = await openPair(browser, server);
  const third = await browser.open(await linkOf(first));
  await third.getByRole("alert").filter({ hasText: "talking with somebody else" }).waitFor();
  assert.equal(await first.locator("#talk").getAttribute("data-state"), "connected");
});

test("the server says at once that no page has the id of a link", async () => {
  const page = await browser.open(`${server.page}#peer=${UNKNOWN}`);
  const notice = page.getByRole("alert").filter({ hasText: "No page has this id" });
  await notice.waitFor();
  assert.match(await notice.innerText(), /fresh link/);
  await notice.getByRole("button", { name: "Try again" }).click();
  await notice.waitFor();
  await page.locator("#event-list li", { hasText: "no peer has the id" }).nth(1).waitFor();
});

test("a page that does not answer leads to a notice with advice", async () => {
  const stranger = await openStranger(browser, server);
  const id = await stranger.evaluate(() => window.stranger.id);
  const prepare = (page) => page.clock.install();
  const page = await browser.open(`${server.page}#peer=${id}`, { prepare });
  await inCall(page, "calling");
  await page.clock.fastForward(10_000);
  const notice = page.getByRole("alert").filter({ hasText: "Nobody answered" });
  await notice.waitFor();
  assert.match(await notice.innerText(), /fresh link/);
  await notice.getByRole("button", { name: "Try again" }).click();
  await inCall(page, "calling");
});

test("the server tells that the other side has left before it answered", async () => {
  const stranger = await openStranger(browser, server);
  const id = await stranger.evaluate(() => window.stranger.id);
  const page = await browser.open(`${server.page}#peer=${id}`);
  await stranger.waitForFunction(() => window.stranger.signals.length > 0);
  await stranger.evaluate(() => window.stranger.close());
  await page.locator("#event-list li", { hasText: "has left" }).waitFor();
  await page.getByRole("alert").filter({ hasText: "No page has this id" }).waitFor();
});

test("a page's own link, and half a link, are recognised", async () => {
  const page = await browser.open(server.page);
  const id = await idOf(page);
  await page.evaluate((hash) => (location.hash = hash), `peer=${id}`);
  await page.getByRole("alert").filter({ hasText: "your own link" }).waitFor();
  await page.evaluate((hash) => (location.hash = hash), `peer=${id.slice(0, 30)}`);
  await page.getByRole("alert").filter({ hasText: "not complete" }).waitFor();
});

test("networks that block the connection are named as the reason", async () => {
  // Remove all candidates, which has the same effect as networks that block the connection.
  const prepare = (page) =>
    page.addInitScript(() => {
      RTCPeerConnection.prototype.addIceCandidate = async () => {};
      const original = RTCPeerConnection.prototype.setRemoteDescription;
      RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        return original.call(this, { type, sdp: sdp.replace(/^a=candidate.*\r\n/gm, "") });
      };
    });
  const first = await browser.open(server.page, { prepare });
  const second = await browser.open(await linkOf(first), {
    prepare: async (page) => {
      await prepare(page);
      await page.clock.install();
    },
  });
  await inCall(second, "connecting");
  await second.clock.fastForward(20_000);
  await second.getByRole("alert").filter({ hasText: "No direct path" }).waitFor();
});

test("a page looks for a new path after a break, and reports if there is none", async () => {
  // No test breaks a real path, so the connection's state is replaced.
  const prepare = async (page) => {
    await page.addInitScript(() => {
      window.RTCPeerConnection = class extends RTCPeerConnection {
        fakeState;
        constructor(...args) {
          super(...args);
          window.setState = (fakeState) => {
            this.fakeState = fakeState;
            this.dispatchEvent(new Event("connectionstatechange"));
          };
        }
        get connectionState() {
          return this.fakeState ?? super.connectionState;
        }
      };
    });
    await page.clock.install();
  };
  const first = await browser.open(server.page);
  const second = await browser.open(await linkOf(first), { prepare });
  await Promise.all([inCall(first, "connected"), inCall(second, "connected")]);

  const offers = second.locator(".what", { hasText: "offer to" });
  assert.equal(await offers.count(), 1);
  await second.evaluate(() => setState("failed"));
  await inCall(second, "interrupted");
  await offers.nth(1).waitFor();
  await second.evaluate(() => setState("connected"));
  await inCall(second, "connected");
  await say(second, "Found another way");
  await hears(first, "Found another way");

  await second.evaluate(() => setState("disconnected"));
  await inCall(second, "interrupted");
  await second.clock.fastForward(3_000);
  await offers.nth(2).waitFor();
  await second.clock.fastForward(25_000);
  await second.getByRole("alert").filter({ hasText: "was lost" }).waitFor();
});

test("messages of other programs are shown as unreadable, and do no harm", async () => {
  const page = await browser.open(server.page);
  const id = await idOf(page);
  const stranger = await browser.open(server.page);
  await idOf(stranger);
  await stranger.evaluate(async (id) => {
    const { Client } = await import("/pkg/waddell.js");
    const client = await Client.connect(`ws://${location.host}/ws`);
    const topic = client.topic(1);
    topic.send(id, new Uint8Array([0xff, 0xfe, 0x00]));
    topic.send(id, "null");
    topic.send(id, "{}");
    const call = "0".repeat(32);
    const description = { type: "offer", sdp: "v=0\r\nm=application\r\na=fingerprint:x" };
    for (const signal of [
      { call, kind: "description", opens: true, description },
      { call, kind: "candidate", candidate: { candidate: "nonsense" } },
      { call, kind: "bye" },
    ]) {
      topic.send(id, JSON.stringify(signal));
    }
  }, id);
  await page.waitForFunction(() => document.querySelectorAll("#event-list .what").length > 6);
  await inCall(page, "ended");
  assert.equal(await page.locator(".what", { hasText: "unreadable" }).count(), 3);
  const friend = await browser.open(await linkOf(page));
  await inCall(friend, "connected");
});
