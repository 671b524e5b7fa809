// Topics: how messages wait for a loop, and how loops share them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, frame, PEER, read, text, throws, withServer } from "./support.js";

test("a topic has one handle", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    assert.equal(client.topic(7), client.topic(7));
    assert.notEqual(client.topic(7), client.topic(8));
    assert.equal(client.topic(7).number, 7);
    for (const number of [-1, 65_536, 1.5, NaN, "1", null, undefined, {}]) {
      throws(() => client.topic(number), "invalid-topic");
    }
    client.close();
  }));

test("a message is kept until its topic is opened", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    for (const number of [1, 2]) client.topic(3).send(client.id, `to ${number}`);
    // `client.topic` opens a topic, so the server sends the message for one that is not open.
    server.connections[0].send(Buffer.concat([frame(PEER, 40, "early"), frame(PEER, 3, "last")]));
    await read(client.topic(3), 3);
    assert.equal(text((await read(client.topic(40), 1))[0]), "early");
    client.close();
  }));

test("a topic that is not read drops and counts; other topics are not affected", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const full = client.topic(1);
    const body = Buffer.alloc(60_000);
    for (let i = 0; i < 30; i += 1) server.connections[0].send(frame(PEER, 1, body));
    server.connections[0].send(frame(PEER, 2, "after"));
    await read(client.topic(2), 1);
    assert.equal(full.lost, 30 - 17);
    assert.equal((await read(full, 17)).length, 17);
    client.close();
  }));

test("loops of one topic share its messages, in order", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const both = [topic[Symbol.asyncIterator](), topic[Symbol.asyncIterator]()];
    const first = both[0].next();
    const second = both[1].next();
    for (const body of ["1", "2", "3"]) topic.send(client.id, body);
    assert.equal(text((await first).value), "1");
    assert.equal(text((await second).value), "2");
    await both[0].return();
    assert.equal((await both[0].next()).done, true);
    assert.equal(text((await both[1].next()).value), "3");
    const pending = both[1].next();
    assert.deepEqual(await both[1].return("end"), { value: "end", done: true });
    assert.equal((await pending).done, true);
    client.close();
  }));

test("closing ends loops after the messages that arrived before", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const topic = client.topic(1);
    const frames = [frame(PEER, 1, "a"), frame(PEER, 1, "b"), frame(PEER, 2)];
    server.connections[0].send(Buffer.concat(frames));
    await read(client.topic(2), 1);
    const waiting = read(client.topic(2), 1);
    client.close();
    assert.deepEqual(await waiting, []);
    const rest = [];
    for await (const message of topic) rest.push(text(message));
    assert.deepEqual(rest, ["a", "b"]);
  }));
