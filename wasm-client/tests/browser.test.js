// The package in Chromium: a plain page under a strict policy, a worker, and browser events.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { closeBrowser, open, result, serveFiles } from "./browser.js";
import { frame, PEER, pkg, vectors } from "./support.js";

after(closeBrowser);

/** Runs `body` with a page whose module script is `script`. */
async function withPage(script, body, { policy, ...files } = {}) {
  const server = await serveFiles(pkg, {
    "/index.html": '<!doctype html><script type="module" src="/main.js"></script>',
    "/main.js": script,
    ...files,
  }, policy);
  try {
    const opened = await open(server.url);
    await body(opened, server);
    await opened.close();
  } finally {
    await server.stop();
  }
}

const ECHO = `
  const client = await Client.connect("/ws");
  const topic = client.topic(1);
  topic.send(client.id, ["grü", new TextEncoder().encode("ße")]);
  for await (const { from, body } of topic) {
    done(from === client.id && new TextDecoder().decode(body));
    break;
  }
  client.close();
`;

for (const folder of ["inline", "web"]) {
  const IMPORT = `import init, { Client } from "/${folder}/waddell.js";`;

  test(`a plain page sends and receives (${folder})`, () =>
    withPage(
      `${IMPORT} const done = (text) => (document.title = text); ${ECHO}`,
      async (opened) => {
        assert.equal(await result(opened), "grüße");
        assert.deepEqual(opened.errors, []);
      },
    ));

  test(`a worker sends and receives (${folder})`, () =>
    withPage(
      `const worker = new Worker("/worker.js", { type: "module" });
       worker.onmessage = ({ data }) => (document.title = data);`,
      async (opened) => {
        assert.equal(await result(opened), "grüße");
        assert.deepEqual(opened.errors, []);
      },
      { "/worker.js": `${IMPORT} const done = (text) => postMessage(text); ${ECHO}` },
    ));

  test(`init and connect start one module, in any order (${folder})`, () =>
    withPage(
      `${IMPORT}
       const [one, client, two] = await Promise.all([init(), Client.connect("/ws"), init()]);
       client.topic(1).send(client.id, "x");
       for await (const { body } of client.topic(1)) break;
       document.title = [one === two, two === (await init()), client.state];`,
      async (opened) => assert.equal(await result(opened), "true,true,open"),
    ));
}

test("the wasm file may be at another address", () =>
  withPage(
    `import init, { Client } from "/inline/waddell.js";
     const wrong = await init(7).catch((error) => error);
     const missing = await init({ module_or_path: "/missing" }).catch((error) => error);
     await init("/web/waddell_bg.wasm");
     const client = await Client.connect("/ws");
     document.title = [wrong.code, missing.code, client.state];`,
    async (opened) => assert.equal(await result(opened), "invalid-option,load-failed,open"),
  ));

test("a page whose policy forbids WebAssembly is told so, and the next attempt tries again", () =>
  withPage(
    `import { Client } from "/inline/waddell.js";
     const first = await Client.connect("/ws").catch((error) => error);
     const second = await Client.connect("/ws").catch((error) => error);
     document.title = [first.code, second !== first, first.message];`,
    async (opened) => {
      const title = await result(opened);
      assert.match(title, /^load-failed,true,.*Content Security Policy/);
    },
    { policy: "default-src 'none'; script-src 'self'; connect-src 'self'" },
  ));

test("an aborted signal ends connect, even while the wasm file is on its way", () =>
  withPage(
    `import { Client } from "/web/waddell.js";
     const controller = new AbortController();
     globalThis.fetch = () => {
       controller.abort();
       return new Promise(() => {});
     };
     const { signal } = controller;
     document.title = await Client.connect("/ws", { signal }).catch(({ code }) => code);`,
    async (opened) => assert.equal(await result(opened), "aborted"),
  ));

test("an address that the page's policy blocks fails at once, and the error says why", () =>
  withPage(
    `import { Client } from "/web/waddell.js";
     const options = { reconnectAttempts: 1, connectTimeoutMs: Infinity };
     const error = await Client.connect("ws://127.0.0.1:1/ws", options).catch((error) => error);
     document.title = [error.code, error.cause.code, error.cause.message];`,
    async (opened) => {
      const title = await result(opened);
      assert.match(title, /^connect-failed,dial-failed,.*content security policy.*connect-src/);
    },
  ));

test("a dial that fails in a page without such a policy does not blame it", () =>
  withPage(
    `import { Client } from "/web/waddell.js";
     const options = { reconnectAttempts: 0, connectTimeoutMs: Infinity };
     const error = await Client.connect("/nowhere", options).catch((error) => error);
     document.title = [error.cause.code, error.cause.message, error.closeCode];`,
    async (opened) => assert.equal(await result(opened), "dial-failed,could not connect,"),
  ));

const CONNECTED = `
  import { Client } from "/web/waddell.js";
  globalThis.client = await Client.connect("/ws", { reconnectAttempts: Infinity });
  document.title = "connected";
`;

test("errors bear the code and the reason with which the server closes", () =>
  withPage(CONNECTED, async (opened, server) => {
    await result(opened);
    await opened.page.evaluate(() => {
      globalThis.lost = new Promise((resolve) => {
        client.addEventListener("error", ({ detail: { error } }) =>
          resolve([error.closeCode, error.closeReason, error.message]),
        );
      });
    });
    server.waddell.connections[0].close(1009, "longer than the server accepts");
    const [code, reason, message] = await opened.page.evaluate(() => lost);
    assert.equal(code, 1009);
    assert.equal(reason, "longer than the server accepts");
    assert.ok(message.includes(reason), message);
  }));

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
