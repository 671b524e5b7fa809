// Other peers: the server tells whether they are connected.

import assert from "node:assert/strict";
import { test } from "node:test";

import { collect, connectExtended, PARTS, peers, STATES, withExtended } from "./extended.js";
import { connect, next, PEER, RealServer, rejects, throws, withServer } from "./support.js";

test("watching a peer tells its state, now and when it changes", () =>
  withExtended(() => ({ answers: ["hello", "sync"] }), async (server, connections) => {
    const client = await connectExtended(server);
    const seen = collect(client, "peer");
    const watching = [client.watch(PEER.toUpperCase()), client.watch(PEER)];
    const { ids } = await connections[0].next("watch");
    assert.deepEqual(ids, [PEER]);
    connections[0].send(peers({ id: PEER, state: STATES.here }));
    assert.deepEqual(await Promise.all(watching), ["here", "here"]);
    for (const state of ["away", "gone"]) {
      const changed = next(client, "peer");
      connections[0].send(peers({ id: PEER, state: STATES[state], lost: 2 }));
      assert.deepEqual(await changed, { id: PEER, state, lost: 2 });
    }
    assert.equal(seen.length, 3);
    client.close();
  }));

test("a peer that is watched is watched on the next connection, too", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    assert.equal(await client.watch(PEER), "here");
    const told = next(client, "peer");
    server.connections[0].terminate();
    assert.equal((await told).state, "here");
    assert.deepEqual((await connections[1].next("watch")).ids, [PEER]);
    client.unwatch(PEER);
    assert.deepEqual((await connections[1].next("unwatch")).ids, [PEER]);
    client.close();
  }));

test("a question about a peer waits for a connection, and ends with the client", () =>
  withExtended(() => ({ answers: ["hello"] }), async (server, connections) => {
    const client = await connectExtended(server);
    server.connections[0].terminate();
    await next(client, "error");
    const watching = client.watch(PEER);
    await next(client, "extension");
    await connections[1].next("watch");
    connections[1].send(peers({ id: PEER, state: STATES.gone }));
    assert.equal(await watching, "gone");

    const open = client.watch(PEER);
    client.unwatch(PEER);
    await rejects(open, "aborted");
    const last = client.watch(PEER);
    client.close();
    await rejects(last, "closed");
    await rejects(client.watch(PEER), "closed");
    await rejects(client.rotate(), "closed");
  }));

test("wrong ids, and more than 64, are refused with a code", () =>
  withExtended(null, async (server) => {
    const client = await connectExtended(server);
    for (const id of [undefined, 1, "", "nobody", {}]) {
      await rejects(client.watch(id), "invalid-peer-id");
      throws(() => client.unwatch(id), "invalid-peer-id");
    }
    const id = (number) => `${PEER.slice(0, -2)}${number.toString(16).padStart(2, "0")}`;
    for (let number = 0; number < 64; number += 1) await client.watch(id(number));
    await rejects(client.watch(id(64)), "too-many-watched");
    client.unwatch(id(0));
    assert.equal(await client.watch(id(64)), "here");
    client.close();
  }));

test("a server that does not tell the state of peers is not-supported", async () => {
  await withServer(null, async (server) => {
    for (const options of [{}, { extension: false }]) {
      const client = await connect(server, options);
      await rejects(client.watch(PEER), "not-supported");
      await rejects(client.watch(PEER), "not-supported");
      client.close();
    }
  });
  await withExtended(() => ({ granted: PARTS.verdicts }), async (server) => {
    const client = await connect(server);
    await rejects(client.watch(PEER), "not-supported");
    await rejects(client.watch(PEER), "not-supported");
    client.close();
  });
});

test("a real server tells the leaving of a peer that was watched or written to", async (t) => {
  const server = await RealServer.start();
  t.after(() => server.child.kill("SIGKILL"));
  const client = await connectExtended(server);
  const other = await connectExtended(server);
  const third = await connectExtended(server);
  assert.equal(await client.watch(other.id), "here");
  assert.equal(await client.watch(PEER), "gone");
  await client.topic(1).sendChecked(third.id, "x");
  for (const peer of [other, third]) {
    const { id } = peer;
    const left = next(client, "peer");
    peer.close();
    assert.deepEqual(await left, { id, state: "gone", lost: 0 });
  }
  client.close();
});
