// Events: listeners of messages, beside loops and within other listeners.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, frame, next, PEER, read, text, throws, withServer } from "./support.js";

test("message listeners get messages, queued ones first", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const [peer] = server.connections;
    const topic = client.topic(1);
    peer.send(Buffer.concat([frame(PEER, 1, "a"), frame(PEER, 1, "b"), frame(PEER, 2)]));
    await read(client.topic(2), 1);

    // A listener that is removed leaves the rest for the next one.
    assert.equal(text(await next(topic, "message")), "a");
    assert.equal(text(await next(topic, "message")), "b");
    const seen = [];
    topic.addEventListener("message", (event) => {
      assert.equal(event.target, topic);
      seen.push(text(event.detail));
    });
    peer.send(Buffer.concat([frame(PEER, 1, "c"), frame(PEER, 1, "d"), frame(PEER, 2)]));
    await read(client.topic(2), 1);
    assert.deepEqual(seen, ["c", "d"]);
    client.close();
  }));

test("two messages in one WebSocket message are not lost between two listeners", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const first = next(topic, "message");
    server.connections[0].send(Buffer.concat([frame(PEER, 1, "a"), frame(PEER, 1, "b")]));
    assert.equal(text(await first), "a");
    assert.equal(text(await next(topic, "message")), "b");
    client.close();
  }));

test("listeners and a loop of the same topic both get its messages", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const seen = [];
    topic.addEventListener("message", (event) => seen.push(text(event.detail)));
    const loop = topic[Symbol.asyncIterator]();
    const first = loop.next();
    const frames = ["a", "b", "c"].map((body) => frame(PEER, 1, body));
    server.connections[0].send(Buffer.concat(frames));
    assert.equal(text((await first).value), "a");
    assert.equal(text((await loop.next()).value), "b");
    await loop.return();
    assert.deepEqual(seen, ["a", "b", "c"]);
    // A topic with listeners and without a loop queues nothing.
    topic.send(client.id, "d");
    assert.equal(text((await read(topic, 1))[0]), "d");
    client.close();
  }));

test("once, removal, signals, objects and repeated listeners work as in every EventTarget", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const seen = [];
    const log = (name) => (event) => seen.push(name + text(event.detail));
    const twice = log("twice ");
    const removed = log("removed ");
    const object = {
      handleEvent(event) {
        seen.push(`${this === object} ${text(event.detail)}`);
      },
    };
    const stop = new AbortController();
    topic.addEventListener("message", twice);
    topic.addEventListener("message", twice);
    topic.addEventListener("message", log("once "), { once: true });
    topic.addEventListener("message", removed);
    topic.removeEventListener("message", removed);
    topic.addEventListener("message", log("signal "), { signal: stop.signal });
    topic.addEventListener("message", object);
    topic.removeEventListener("message", null);
    const get = async (body) => {
      topic.send(client.id, body);
      client.topic(2).send(client.id, "");
      await read(client.topic(2), 1);
    };
    await get("1");
    stop.abort();
    await get("2");
    topic.removeEventListener("message", object);
    await get("3");
    const expected = ["twice 1", "once 1", "signal 1", "true 1", "twice 2", "true 2", "twice 3"];
    assert.deepEqual(seen, expected);
    client.close();
  }));

test("a listener that throws does not stop the others", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const thrown = [];
    const handlers = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => thrown.push(error.message));
    try {
      for (const target of [topic, client]) {
        for (const type of ["message", "state", "close"]) {
          target.addEventListener(type, () => { throw new Error(type); });
        }
      }
      const seen = [];
      topic.addEventListener("message", (event) => seen.push(text(event.detail)));
      client.addEventListener("close", () => seen.push("close"));
      const frames = [frame(PEER, 1, "a"), frame(PEER, 1, "b"), frame(PEER, 2)];
      server.connections[0].send(Buffer.concat(frames));
      await read(client.topic(2), 1);
      client.close();
      assert.deepEqual(seen, ["a", "b", "close"]);
      await new Promise(setImmediate);
      assert.deepEqual(thrown, ["message", "message", "state", "close"]);
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const handler of handlers) process.on("uncaughtException", handler);
    }
  }));

test("every call may be made from within a listener", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const seen = [];
    topic.addEventListener("message", (event) => {
      const body = text(event.detail);
      seen.push(`${body} ${client.state}`);
      if (body === "a") {
        client.topic(2).send(client.id, "from within");
        client.topic(3).addEventListener("message", () => seen.push("topic 3"));
      }
      if (body === "b") client.close();
    });
    topic.addEventListener("message", (event) => seen.push(`second ${text(event.detail)}`));
    client.addEventListener("close", () => {
      seen.push("close");
      client.close();
      throws(() => topic.send(PEER, "x"), "closed");
    });
    const closed = next(client, "close");
    const frames = ["a", "b", "c"].map((body) => frame(PEER, 1, body));
    server.connections[0].send(Buffer.concat(frames));
    await closed;
    // Each event reaches all listeners before the next event. Messages that arrived before the
    // close are still dispatched.
    assert.deepEqual(seen, [
      "a open",
      "second a",
      "b open",
      "second b",
      "c closed",
      "second c",
      "close",
    ]);
    assert.equal(client.state, "closed");
  }));
