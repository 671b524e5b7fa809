// The package in Chromium: a plain page under a strict policy, a worker, and browser events.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { closeBrowser, open, result, serveFiles } from "./browser.js";
import { frame, PEER, pkg, vectors } from "./support.js";

after(closeBrowser);

/** Runs `body` with a page whose module script is `script`. */
async function withPage(script, body, files = {}) {
  const server = await serveFiles(pkg, {
    "/index.html": '<!doctype html><script type="module" src="/main.js"></script>',
    "/main.js": script,
    ...files,
  });
  try {
    const opened = await open(server.url);
    await body(opened, server);
    await opened.close();
  } finally {
    await server.stop();
  }
}

const ECHO = `
  import init, { Client } from "/web/waddell.js";
  await init();
  const client = await Client.connect("/ws");
  const topic = client.topic(1);
  topic.send(client.id, ["grü", new TextEncoder().encode("ße")]);
  for await (const { from, body } of topic) {
    done(from === client.id && new TextDecoder().decode(body));
    break;
  }
  client.close();
`;

test("a plain page sends and receives", () =>
  withPage(`const done = (text) => (document.title = text); ${ECHO}`, async (opened) => {
    assert.equal(await result(opened), "grüße");
    assert.deepEqual(opened.errors, []);
  }));

test("a worker sends and receives", () =>
  withPage(
    `const worker = new Worker("/worker.js", { type: "module" });
     worker.onmessage = ({ data }) => (document.title = data);`,
    async (opened) => {
      assert.equal(await result(opened), "grüße");
      assert.deepEqual(opened.errors, []);
    },
    { "/worker.js": `const done = (text) => postMessage(text); ${ECHO}` },
  ));

test("before init the error is not-initialized", () =>
  withPage(
    `import { Client } from "/web/waddell.js";
     Client.connect("/ws").catch((error) => (document.title = error.code));`,
    async (opened) => assert.equal(await result(opened), "not-initialized"),
  ));

const CONNECTED = `
  import init, { Client } from "/web/waddell.js";
  await init();
  globalThis.client = await Client.connect("/ws", { reconnectAttempts: Infinity });
  document.title = "connected";
`;

for (const [name, trigger] of [
  ["the network is back", () => window.dispatchEvent(new Event("online"))],
  ["the page is visible again", () => document.dispatchEvent(new Event("visibilitychange"))],
]) {
  test(`waiting ends at once when ${name}`, () =>
    withPage(CONNECTED, async (opened, server) => {
      await result(opened);
      const { page } = opened;
      // Make every attempt fail, until the wait is long enough to measure.
      const refuse = (socket) => socket.terminate();
      server.waddell.serve = refuse;
      const waiting = page.evaluate(
        () =>
          new Promise((resolve) => {
            client.addEventListener("error", ({ detail }) => {
              if (detail.retryInMs > 1000) resolve();
            });
          }),
      );
      server.waddell.connections[0].terminate();
      await waiting;
      delete server.waddell.serve;
      await page.evaluate(() => {
        const started = performance.now();
        const show = () => (document.title = performance.now() - started);
        client.addEventListener("id", show, { once: true });
      });
      await page.evaluate(trigger);
      await page.waitForFunction(() => document.title !== "connected");
      const took = Number(await page.title());
      assert.ok(took < 900, `${took} ms`);
    }));
}

test("every golden message arrives, and a throwing listener is reported and stops no other", () =>
  withPage(CONNECTED, async (opened, server) => {
    await result(opened);
    const golden = vectors.filter(({ outcome }) => outcome === "message");
    await opened.page.evaluate((topics) => {
      globalThis.seen = [];
      for (const number of new Set(topics)) {
        const topic = client.topic(number);
        topic.addEventListener("message", () => {
          throw new Error("on purpose");
        });
        topic.addEventListener("message", ({ detail }) => {
          seen.push([detail.from, detail.topic, detail.body.length]);
        });
      }
    }, golden.map(({ message }) => message.topic));
    for (const { wire } of golden) server.waddell.connections[0].send(wire);
    await opened.page.waitForFunction((count) => seen.length === count, golden.length);
    assert.deepEqual(
      await opened.page.evaluate(() => seen),
      golden.map(({ message }) => {
        const { peer, topic, parts } = message;
        return [peer, topic, Buffer.concat(parts).length];
      }),
    );
    assert.equal(opened.errors.length, golden.length);
    assert.ok(opened.errors.every((text) => text.includes("on purpose")), opened.errors.join());
  }));

test("sending beyond maxBufferedAmount is refused", () =>
  withPage(CONNECTED, async (opened, server) => {
    await result(opened);
    server.waddell.connections[0].pause();
    const code = await opened.page.evaluate((peer) => {
      try {
        for (let i = 0; i < 1_000; i += 1) client.topic(1).send(peer, new Uint8Array(60_000));
      } catch (error) {
        return error.code;
      }
    }, PEER);
    assert.equal(code, "buffer-full");
  }));

test("random bytes and closes leave the page without an error", () =>
  withPage(CONNECTED, async (opened, server) => {
    await result(opened);
    let connections = 0;
    server.waddell.serve = (socket) => {
      connections += 1;
      socket.send(frame(PEER, 0));
      const numbers = Array.from({ length: 200 }, (_, i) => (i * 7919 * connections) >> 3);
      const noise = Buffer.from(numbers);
      socket.send(connections % 3 ? noise : noise.toString("latin1"));
      setImmediate(() => (connections % 2 ? socket.terminate() : socket.close(1011)));
    };
    server.waddell.connections[0].terminate();
    while (connections < 40) {
      await opened.page.evaluate(() => window.dispatchEvent(new Event("online")));
    }
    const state = await opened.page.evaluate(() => {
      client.close();
      return client.state;
    });
    assert.equal(state, "closed");
    assert.deepEqual(opened.errors.filter((text) => !text.includes("WebSocket connection")), []);
  }));
