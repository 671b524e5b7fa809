// Staying connected: lost connections, and servers that come back.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { connect, next, PEER, read, Server, text, throws, withServer } from "./support.js";

for (const type of ["error", "state", "id"]) {
  test(`a client can be closed from within its ${type} event, and sent to until then`, () =>
    withServer(null, async (server) => {
      const client = await connect(server);
      const story = [];
      client.addEventListener(type, () => {
        try {
          client.topic(1).send(PEER, "x");
          story.push("sent");
        } catch (error) {
          story.push(error.code);
        }
        client.close();
        assert.equal(client.state, "closed");
        throws(() => client.topic(1).send(PEER, "x"), "closed");
      }, { once: true });
      client.addEventListener("close", ({ detail }) => story.push(detail.code));
      const closed = next(client, "close");
      server.connections[0].terminate();
      await closed;
      assert.deepEqual(story, [type === "id" ? "sent" : "not-connected", "closed"]);
      // The client does not dial again: the next connection is another client's.
      const { length } = server.connections;
      (await connect(server)).close();
      assert.equal(server.connections.length, length + 1);
    }));
}

test("a lost connection is dialed again, with another id", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const id = client.id;
    const story = [];
    client.addEventListener("state", (event) => story.push(event.detail.state));
    client.addEventListener("error", (event) => {
      story.push(event.detail.code);
      assert.equal(event.detail.error.code, event.detail.code);
      assert.ok(event.detail.retryInMs >= 0);
      assert.equal(client.id, null);
      throws(() => client.topic(1).send(PEER, "x"), "not-connected");
    });
    const reading = read(client.topic(1), 1);
    const again = next(client, "id");
    server.connections[0].terminate();
    const { id: newId } = await again;
    assert.notEqual(newId, id);
    assert.equal(client.id, newId);
    assert.deepEqual(story, ["waiting", "connection-lost", "connecting", "open"]);
    client.topic(1).send(newId, "after");
    assert.equal(text((await reading)[0]), "after");
    client.close();
  }));

test("a server that comes back is found", async () => {
  const server = await Server.start();
  const client = await connect(server, { reconnectAttempts: Infinity });
  const lost = next(client, "error");
  await server.stop();
  await lost;
  await next(client, "error");
  const again = next(client, "id");
  const restarted = await Server.start(null, { port: server.port });
  await again;
  client.close();
  await restarted.stop();
});

test("waiting ends at once when the network is back", async (t) => {
  // Node has no such event; a page's window is an EventTarget.
  const window = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"]) {
    globalThis[name] = window[name].bind(window);
    t.after(() => delete globalThis[name]);
  }
  const server = await Server.start();
  const client = await connect(server, { reconnectAttempts: Infinity });
  await server.stop();
  await next(client, "error");
  assert.equal(client.state, "waiting");
  window.dispatchEvent(new Event("online"));
  // Before any timer can have fired.
  assert.equal(client.state, "connecting");
  const again = next(client, "id");
  const restarted = await Server.start(null, { port: server.port });
  await again;
  client.close();
  await restarted.stop();
});

test("keep-alives are sent at their interval", () =>
  withServer(null, async (server) => {
    const client = await connect(server, { keepAliveMs: 5, extension: false });
    const [socket] = server.connections;
    for (let i = 0; i < 3; i += 1) {
      const [data] = await once(socket, "message");
      assert.equal(data.toString("hex"), "01006b");
    }
    client.close();
  }));
