// The golden bytes of the core, sent and received by the core in WebAssembly.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { connect, controls, frame, next, PEER, read, vectors, withServer } from "./support.js";

const toServer = vectors.filter(({ to, message }) => to === "server" && message);
const toClient = vectors.filter(({ to }) => to === "client");

for (const { name, wire, message } of toServer) {
  test(`sends ${name} byte for byte`, () =>
    withServer(null, async (server) => {
      const client = await connect(server, { extension: false });
      const received = once(server.connections[0], "message");
      client.topic(message.topic).send(message.peer, message.parts);
      assert.ok(wire.equals((await received)[0]));
      client.close();
    }));
}

test("sends keep_alive byte for byte", () =>
  withServer(null, async (server) => {
    const { wire } = vectors.find(({ name }) => name === "keep_alive");
    const client = await connect(server, { keepAliveMs: 10, extension: false });
    assert.ok(wire.equals((await once(server.connections[0], "message"))[0]));
    client.close();
  }));

for (const { name, wire, outcome, message, self } of toClient) {
  test(`understands ${name}, in one message and in bytes`, async () => {
    for (const size of [wire.length, 1]) {
      if (size === 1 && wire.length > 100) continue; // 65,535 messages prove nothing more
      const send = (socket) => {
        for (let at = 0; at < wire.length; at += size) socket.send(wire.subarray(at, at + size));
      };
      await withServer(
        (socket, number) => {
          if (outcome === "greeting") send(socket);
          else socket.send(frame(self, 0));
          if (number === 0) socket.once("message", () => send(socket));
        },
        async (server) => {
          const client = await connect(server);
          assert.equal(client.id, self);
          if (outcome === "message") {
            client.topic(1).send(PEER, "go");
            const [received] = await read(client.topic(message.topic), 1);
            assert.equal(received.from, message.peer);
            assert.equal(received.topic, message.topic);
            assert.ok(Buffer.concat(message.parts).equals(received.body));
          } else if (outcome === "hangUp") {
            client.topic(1).send(PEER, "go");
            assert.equal((await next(client, "error")).code, "server-misbehaved");
          } else {
            assert.equal(outcome, "greeting");
            assert.equal(message.peer, self);
          }
          client.close();
        },
      );
    }
  });
}

test("HELLO in base64url, as an upgrade carries it, is its body", () => {
  const hellos = controls.filter(({ base64url }) => base64url);
  assert.ok(hellos.length >= 3);
  for (const { name, wire, base64url } of hellos) {
    const digits = btoa(String.fromCharCode(...wire.subarray(20)));
    const forUrls = digits.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    assert.equal(forUrls, base64url, name);
  }
});

test("the file has vectors of every kind", () => {
  assert.ok(toServer.length >= 5);
  assert.deepEqual(new Set(vectors.map(({ to }) => to)), new Set(["server", "client"]));
  const controlled = new Set(["server control", "client control"]);
  assert.deepEqual(new Set(controls.map(({ to }) => to)), controlled);
  const outcomes = new Set(toClient.map(({ outcome }) => outcome));
  assert.deepEqual(outcomes, new Set(["greeting", "message", "hangUp"]));
});
