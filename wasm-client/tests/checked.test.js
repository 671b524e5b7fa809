// Verdicts: what became of messages, as a server that speaks the extension tells it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import {
  closing,
  collect,
  connectExtended,
  dropped,
  handled,
  PARTS,
  peers,
  REASONS,
  STATES,
  withExtended,
} from "./extended.js";
import { connect, next, PEER, RealServer, rejects, withServer } from "./support.js";

const OTHER = "10010203-0405-4607-8809-0a0b0c0d0e0f";

test("a client says HELLO first, and knows what the server grants", () =>
  withExtended(() => ({ granted: PARTS.verdicts }), async (server, connections) => {
    const client = await connect(server);
    assert.equal(client.extension, null);
    const { extension } = await next(client, "extension");
    assert.deepEqual(Object.keys(extension), Object.keys(PARTS));
    assert.equal(extension.verdicts, true);
    assert.equal(extension.auth, false);
    assert.equal(client.extension, extension);
    const [{ hello, frames }] = connections;
    assert.equal(hello.version, 2);
    assert.ok(hello.wants & PARTS.verdicts);
    assert.equal(frames[0].kind, "hello");
    client.close();
    assert.equal(client.extension, null);
  }));

test("without the extension a client sends only what the application sends", () =>
  withServer(null, async (server) => {
    const client = await connect(server, { extension: false });
    const received = once(server.connections[0], "message");
    client.topic(1).send(PEER, "first");
    assert.equal((await received)[0].toString("latin1", 20), "first");
    assert.equal(client.extension, null);
    client.close();
  }));

test("a checked message is forwarded, or rejected with the server's reason", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    const topic = client.topic(7);
    const told = collect(client, "undelivered");
    assert.equal(await topic.sendChecked(PEER, ["for", "warded"]), "forwarded");

    const codes = {
      [REASONS.unknown]: "unknown-recipient",
      [REASONS.away]: "recipient-away",
      [REASONS.full]: "recipient-full",
      [REASONS.memory]: "server-full",
      [REASONS.various]: "not-delivered",
      200: "not-delivered",
    };
    for (const [reason, code] of Object.entries(codes)) {
      connections[0].drop = () => Number(reason);
      await rejects(topic.sendChecked(OTHER, "x"), code);
      assert.deepEqual(told.pop(), { to: OTHER, topic: 7, reason: code, count: 1, exact: true });
    }
    assert.deepEqual(told, []);
    const message = await connections[0].next("message");
    assert.deepEqual([message.to, message.topic], [PEER, 7]);
    assert.equal(String(message.body), "forwarded");
    client.close();
  }));

test("many checked messages cost few frames", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    const topic = client.topic(1);
    const sending = Array.from({ length: 1_000 }, (_, i) => topic.sendChecked(PEER, `${i}`));
    assert.deepEqual(new Set(await Promise.all(sending)), new Set(["forwarded"]));
    const [{ frames }] = connections;
    const syncs = frames.filter(({ kind }) => kind === "sync").length;
    // One after the first message, and one after its answer.
    assert.ok(syncs <= 3, `${syncs}`);
    client.close();
  }));

test("a summary makes the messages that it spans uncertain", () =>
  withExtended(() => ({ answers: ["hello"] }), async (server, connections) => {
    const client = await connectExtended(server);
    const topic = client.topic(1);
    const told = next(client, "undelivered");
    const sending = ["1", "2", "3"].map((body) => topic.sendChecked(PEER, body));
    const settled = Promise.allSettled(sending);
    const { number } = await connections[0].next("sync");
    const last = connections[0].frames.at(-1).number;
    const summary = { first: 1, span: number, count: 1, reason: REASONS.various };
    connections[0].send(Buffer.concat([dropped(summary), handled(last + 2)]));
    const outcomes = (await settled).map(({ value, reason }) => value ?? reason.code);
    assert.deepEqual(outcomes, ["not-delivered", "forwarded", "forwarded"]);
    const expected = { to: null, topic: null, reason: "not-delivered", count: 1, exact: false };
    assert.deepEqual(await told, expected);
    client.close();
  }));

test("a message that the server accepted and could not pass on is recipient-lost", () =>
  withExtended(() => ({ answers: ["hello"] }), async (server, connections) => {
    const client = await connectExtended(server);
    const sending = rejects(client.topic(1).sendChecked(PEER, "x"), "recipient-lost");
    await connections[0].next("sync");
    connections[0].send(peers({ id: PEER, state: STATES.away, lost: 1 }));
    connections[0].send(handled(2));
    connections[0].answers.push("sync");
    await sending;
    client.close();
  }));

test("at the end of a connection a message was not handled, or nobody knows", () =>
  withExtended(() => ({ answers: ["hello"] }), async (server, connections) => {
    const client = await connectExtended(server);
    const topic = client.topic(1);
    const [first, second] = ["1", "2"].map((body) => topic.sendChecked(PEER, body));
    const failing = [rejects(first, "connection-lost"), rejects(second, "not-handled")];
    const lost = next(client, "error");
    await connections[0].next("sync");
    connections[0].send(closing(4001, 1, "timed out"));
    await Promise.all(failing);
    const { code, error } = await lost;
    assert.equal(code, "connection-lost");
    assert.deepEqual([error.closeCode, error.closeReason], [4001, "timed out"]);

    await next(client, "extension");
    const open = topic.sendChecked(PEER, "3");
    client.close();
    await rejects(open, "connection-lost");
  }));

test("a server without verdicts says that it has handled a message, and no more", () =>
  withServer(null, async (server) => {
    for (const options of [{}, { extension: false }]) {
      const client = await connect(server, options);
      assert.equal(await client.topic(1).sendChecked(PEER, "x"), "sent");
      assert.equal(client.extension, null);
      client.close();
    }
  }));

test("an aborted signal rejects, and wrong arguments send nothing", () =>
  withExtended(() => ({ answers: ["hello"] }), async (server, connections) => {
    const client = await connectExtended(server);
    const topic = client.topic(1);
    const controller = new AbortController();
    const { signal } = controller;
    const sending = topic.sendChecked(PEER, "sent", { signal });
    controller.abort(new Error("enough"));
    await assert.rejects(sending, ({ code, cause }) => {
      return code === "aborted" && cause.message === "enough";
    });
    await rejects(topic.sendChecked(PEER, "not sent", { signal }), "aborted");
    await rejects(topic.sendChecked("nobody", "not sent"), "invalid-peer-id");
    await rejects(topic.sendChecked(PEER, 1), "invalid-body");
    await rejects(topic.sendChecked(PEER, Buffer.alloc(65_518)), "body-too-long");
    for (const options of [null, 1, [], signal, { signal: 1 }, { timeout: 1 }]) {
      await rejects(topic.sendChecked(PEER, "not sent", options), "invalid-option");
    }
    // The outcome of an aborted message comes all the same.
    connections[0].send(handled(1));
    const last = topic.sendChecked(PEER, "last");
    assert.equal(String((await connections[0].next("message")).body), "sent");
    assert.equal(String((await connections[0].next("message")).body), "last");
    client.close();
    await rejects(last, "connection-lost");
    await rejects(topic.sendChecked(PEER, "not sent"), "closed");
  }));

test("a checked message may be sent from within the event that tells of another", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    const topic = client.topic(1);
    connections[0].drop = ({ to }) => (to === OTHER ? REASONS.unknown : undefined);
    const again = new Promise((resolve) => {
      client.addEventListener("undelivered", () => resolve(topic.sendChecked(PEER, "again")));
    });
    await rejects(topic.sendChecked(OTHER, "first"), "unknown-recipient");
    assert.equal(await again, "forwarded");
    client.close();
  }));

test("sending is as before: a dropped message is an event, and no promise", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    connections[0].drop = () => REASONS.unknown;
    const told = next(client, "undelivered");
    assert.equal(client.topic(1).send(PEER, "x"), undefined);
    const expected = { to: PEER, topic: 1, reason: "unknown-recipient", count: 1, exact: true };
    assert.deepEqual(await told, expected);
    client.close();
  }));

test("a real server tells what became of each message", async (t) => {
  const server = await RealServer.start();
  t.after(() => server.child.kill("SIGKILL"));
  const client = await connectExtended(server);
  const topic = client.topic(1);
  assert.equal(await topic.sendChecked(client.id, "to myself"), "forwarded");
  await rejects(topic.sendChecked(PEER, "to no peer"), "unknown-recipient");
  client.close();
});

test("a client that may come back closes with 3000, one that was closed with 1000", () =>
  withExtended(null, async (server) => {
    const client = await connectExtended(server);
    const [first] = server.connections;
    const hungUp = once(first, "close");
    // The client may be back before the server has seen that it hung up.
    const back = next(client, "id");
    first.send("text"); // no waddell server sends text, so the client hangs up
    assert.equal((await hungUp)[0], 3000);
    await back;
    const closed = once(server.connections[1], "close");
    client.close();
    assert.equal((await closed)[0], 1000);
  }));

test("a server that is silent for silenceTimeoutMs counts as lost", () =>
  withExtended(() => ({ answers: [] }), async (server, connections) => {
    const client = await connect(server, { silenceTimeoutMs: 40 });
    const { code } = await next(client, "error");
    assert.equal(code, "timed-out");
    const probe = await connections[0].next("message");
    assert.deepEqual([probe.to, probe.topic, probe.body.length], [connections[0].id, 0xfffe, 0]);
    client.close();
  }));
