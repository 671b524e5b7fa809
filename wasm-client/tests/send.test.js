// Sending: bodies, recipients, and the limit of what may wait.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { connect, PEER, read, text, throws, withServer } from "./support.js";

test("strings, bytes of every kind and arrays of them arrive as bytes", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(65_535);
    const bytes = new Uint8Array([0, 1, 2, 3, 4]);
    const bodies = [
      "grüße",
      new Uint8Array(),
      bytes,
      bytes.subarray(1, 3),
      bytes.buffer,
      new DataView(bytes.buffer, 2, 2),
      Buffer.from("node"),
      new Uint8Array(new SharedArrayBuffer(2)),
      [],
      ["a", bytes.subarray(4), "", "z"],
      Buffer.alloc(65_517, "x"),
    ];
    for (const body of bodies) topic.send(client.id, body);
    const received = await read(topic, bodies.length);
    const expected = [
      "grüße",
      "",
      bytes,
      "\x01\x02",
      bytes,
      "\x02\x03",
      "node",
      "\0\0",
      "",
      "a\x04z",
      "x".repeat(65_517),
    ];
    assert.deepEqual(
      received.map(({ body }) => Buffer.from(body)),
      expected.map((body) => Buffer.from(body)),
    );
    assert.ok(received.every(({ from, topic, body }) =>
      from === client.id && topic === 65_535 && body.constructor === Uint8Array));
    client.close();
  }));

test("a message that cannot be sent is refused with a code, and nothing is sent", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    for (const id of [undefined, null, 1, "", "nobody", PEER + " ", "x".repeat(1e6), {}]) {
      throws(() => topic.send(id, "x"), "invalid-peer-id");
    }
    const detached = new ArrayBuffer(8);
    structuredClone(detached, { transfer: [detached] });
    const bodies = [undefined, null, 1, {}, [1, 2], [null], [["nested"]], Symbol(), () => {}];
    bodies.push(new Uint8Array(new Proxy({}, {})) && new Proxy(new Uint8Array(1), {}));
    for (const body of bodies) throws(() => topic.send(client.id, body), "invalid-body");
    throws(() => topic.send(client.id, Buffer.alloc(65_518)), "body-too-long");
    throws(() => topic.send(client.id, ["x", Buffer.alloc(65_517)]), "body-too-long");
    const huge = Array(3).fill(Buffer.alloc(2 ** 31 - 1));
    throws(() => topic.send(client.id, huge), "body-too-long");
    topic.send(client.id, "still works");
    assert.equal(text((await read(topic, 1))[0]), "still works");
    client.close();
  }));

test("sending beyond maxBufferedAmount is refused until the socket has drained", () =>
  withServer(null, async (server) => {
    const client = await connect(server, { maxBufferedAmount: 300_000 });
    const topic = client.topic(1);
    const [socket] = server.connections;
    socket.pause();
    const body = Buffer.alloc(60_000);
    let sent = 0;
    // First the system's own buffers take some megabytes.
    assert.throws(
      () => {
        for (; sent < 1_000; sent += 1) topic.send(PEER, body);
      },
      (error) => error.code === "buffer-full",
    );
    const drained = new Promise((resolve) => {
      let received = 0;
      socket.on("message", () => (received += 1) === sent && resolve());
    });
    socket.resume();
    await drained;
    topic.send(PEER, body);
    client.close();
  }));

test("sending beyond maxBufferedAmount is refused within a listener, too", () =>
  withServer(null, async (server) => {
    const client = await connect(server, { maxBufferedAmount: 300_000 });
    const refused = new Promise((resolve) => {
      client.topic(1).addEventListener("message", () => {
        try {
          for (let i = 0; i < 1_000; i += 1) client.topic(2).send(PEER, Buffer.alloc(60_000));
        } catch (error) {
          resolve(error.code);
        }
      });
    });
    client.topic(1).send(client.id, "go");
    assert.equal(await refused, "buffer-full");
    client.close();
  }));

test("messages that were sent before the close still go out", () =>
  withServer(null, async (server) => {
    const client = await connect(server, { extension: false });
    const received = once(server.connections[0], "message");
    client.topic(1).send(PEER, "bye");
    client.close();
    assert.equal((await received)[0].toString("latin1", 20), "bye");
    const [code] = await once(server.connections[0], "close");
    assert.equal(code, 1000);
  }));
