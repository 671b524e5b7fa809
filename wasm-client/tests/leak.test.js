// Leaks: an open client is kept alive, and a closed one leaves nothing behind.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import init from "../pkg/inline/waddell.js";
import { connect, frame, PEER, read, text, withServer } from "./support.js";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");

/** Collects garbage until `done()`, at most 20 times. */
async function collectUntil(done) {
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
  for (let i = 0; i < 20 && !done(); i += 1) {
    await turn(); // objects from a WeakRef are kept until the end of that turn
    gc();
    await turn();
  }
}

const alive = (refs) => refs.filter((ref) => ref.deref()).length;

test("a client that only its listeners need stays alive until it is closed", () =>
  withServer(null, async (server) => {
    const seen = [];
    const ref = await (async () => {
      const client = await connect(server);
      client.topic(1).addEventListener("message", (event) => {
        seen.push(text(event.detail));
        if (seen.at(-1) === "bye") client.close();
      });
      return new WeakRef(client);
    })();
    const deliver = async (body) => {
      const { length } = seen;
      server.connections[0].send(frame(PEER, 1, body));
      while (seen.length === length) await new Promise(setImmediate);
    };
    await collectUntil(() => !ref.deref());
    await deliver("still there?");
    await deliver("bye");
    assert.deepEqual(seen, ["still there?", "bye"]);
    await collectUntil(() => !ref.deref());
    assert.equal(ref.deref(), undefined);
  }));

test("closed clients leave no object, timer or socket, and their memory is used again", () =>
  withServer(null, async (server) => {
    const { memory, __wbindgen_externrefs: table } = await init();
    const round = async () => {
      const refs = [];
      const clients = await Promise.all(
        Array.from({ length: 50 }, () => connect(server, { keepAliveMs: 60_000 })),
      );
      for (const client of clients) {
        const topic = client.topic(1);
        topic.addEventListener("message", () => client.state);
        refs.push(new WeakRef(client), new WeakRef(topic));
      }
      const reading = clients.map((client) => read(client.topic(1), 1));
      for (const client of clients) client.topic(1).send(client.id, Buffer.alloc(20_000));
      await Promise.all(reading);
      for (const client of clients) client.close();
      return refs;
    };
    const settle = async () => {
      const refs = await round();
      await collectUntil(() => alive(refs) === 0);
      assert.equal(alive(refs), 0);
      while (server.listener.clients.size > 0) await new Promise(setImmediate);
    };
    await settle();
    const before = { memory: memory.buffer.byteLength, table: table.length };
    for (let i = 0; i < 5; i += 1) await settle();
    assert.deepEqual({ memory: memory.buffer.byteLength, table: table.length }, before);
    assert.equal(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length, 0);
  }));

test("a client that could not connect leaves nothing behind", async () => {
  const refs = [];
  for (let i = 0; i < 20; i += 1) {
    const connecting = connect("ws://127.0.0.1:1/", { reconnectAttempts: 0 });
    const error = await connecting.catch((error) => error);
    assert.equal(error.code, "connect-failed");
    refs.push(new WeakRef(error));
  }
  await collectUntil(() => alive(refs) <= 1);
  assert.ok(alive(refs) <= 1); // the loop's own variable
  assert.equal(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length, 0);
});
