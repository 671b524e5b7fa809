// Browsers over WebSocket and native programs over TCP, as peers of one server.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { idOf, inCall, runClient, suite } from "./harness.js";

const LARGEST_BODY = 65_517;

const { browser, server } = await suite();

test("a page's call reaches a native client over TCP, whose answer reaches the page", async () => {
  const native = await listen(1);
  const page = await browser.open(`${server.page}#peer=${native.id}`);
  const id = await idOf(page);
  const offer = await native.message();
  assert.equal(offer.from, id);
  const signal = JSON.parse(offer.text);
  assert.equal(signal.description.type, "offer");

  await inCall(page, "calling");
  await send(id, 1, JSON.stringify({ call: signal.call, kind: "busy" }));
  await page.getByRole("alert").filter({ hasText: "talking with somebody else" }).waitFor();
  await native.end();
});

test("a message of a native client on the page's topic is shown as unreadable", async () => {
  const page = await browser.open(server.page);
  await send(await idOf(page), 1, "hello from a terminal");
  await page.locator(".what", { hasText: "unreadable" }).waitFor();
});

test("bodies of every kind pass between the browser's client and the native one", async () => {
  const native = await listen(9);
  const page = await browser.open(server.page);
  await page.evaluate(async () => {
    const { default: init, Client } = await import("/pkg/waddell.js");
    await init();
    window.client = await Client.connect("/ws");
    window.received = [];
    client.topic(9).addEventListener("message", ({ detail: { from, topic, body } }) => {
      received.push({ from, topic, body: Array.from(body) });
    });
  });
  const id = await page.evaluate(() => client.id);

  const bodies = [Buffer.from("späť, 戻る, 🐧"), Buffer.alloc(0), randomBytes(LARGEST_BODY)];
  for (const body of bodies) {
    await page.evaluate(
      ([to, bytes]) => client.topic(9).send(to, new Uint8Array(bytes)),
      [native.id, Array.from(body)],
    );
    const message = await native.message();
    assert.equal(message.from, id);
    assert.equal(message.topic, 9);
    const bytes = "text" in message ? [message.text] : [message.hex, "hex"];
    assert.deepEqual(Buffer.from(...bytes), body);
  }

  for (const [i, body] of bodies.entries()) {
    await send(id, 9, body);
    await page.waitForFunction((count) => received.length === count, i + 1);
    const message = await page.evaluate(() => received.at(-1));
    assert.equal(message.topic, 9);
    assert.deepEqual(Buffer.from(message.body), body);
  }
  await page.evaluate(() => client.close());
  await native.end();
});

/** Starts `waddell listen` over TCP, and waits for its id. */
async function listen(topic) {
  const program = runClient("listen", server.tcp.href, "--topic", String(topic), "--json");
  const event = async (name) => JSON.parse(await program.line(new RegExp(`"event":"${name}"`)));
  const { id } = await event("id");
  return { id, message: () => event("message"), end: () => program.end("SIGTERM") };
}

/** Runs `waddell send` over TCP to its end. */
async function send(to, topic, body) {
  const program = runClient("send", server.tcp.href, to, "--topic", String(topic), "-");
  program.child.stdin.end(body);
  assert.equal(await program.exit, 0);
}
