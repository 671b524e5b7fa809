// ICE servers for WebRTC, which the server knows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connectExtended, ice, iceServers, PARTS, withExtended } from "./extended.js";
import { connect, rejects, withServer } from "./support.js";

const TAG_ICE = 5;
const STUN = [{ urls: "stun:stun.example.org" }];
const TURN = [{ urls: ["turn:turn.example.org"], username: "1:x", credential: "secret" }];

const giving = (seconds, servers) => () => ({
  welcome: { fields: { [TAG_ICE]: iceServers(seconds, JSON.stringify(servers)) } },
});

test("ICE servers come with the connection, and are kept for half of their time", () =>
  withExtended(giving(3_600, STUN), async (server, connections) => {
    // Before WELCOME, too.
    const client = await connect(server);
    assert.ok(connections[0].hello === undefined || connections[0].hello.wants & PARTS.ice);
    assert.deepEqual(await client.iceServers(), STUN);
    const again = await client.iceServers();
    assert.deepEqual(again, STUN);
    assert.notEqual(again, await client.iceServers(), "an application may change its own");
    assert.ok(!connections[0].frames.some(({ kind }) => kind === "ice"));
    client.close();
    await rejects(client.iceServers(), "closed");
  }));

test("ICE servers whose time is half over are asked for anew", () =>
  withExtended(giving(0, STUN), async (server, connections) => {
    const client = await connectExtended(server);
    const asking = [client.iceServers(), client.iceServers()];
    await connections[0].next("ice");
    connections[0].send(ice(3_600, JSON.stringify(TURN)));
    assert.deepEqual(await Promise.all(asking), [TURN, TURN]);
    assert.deepEqual(await client.iceServers(), TURN);

    const kinds = connections[0].frames.map(({ kind }) => kind);
    assert.equal(kinds.filter((kind) => kind === "ice").length, 1);
    client.close();
  }));

test("there are none without the option, and from servers that have none", async () => {
  await withServer(null, async (server) => {
    for (const options of [{}, { extension: false }, { ice: false }]) {
      const client = await connect(server, options);
      assert.deepEqual(await client.iceServers(), []);
      assert.deepEqual(await client.iceServers(), []);
      client.close();
    }
  });
  await withExtended(() => ({ granted: PARTS.verdicts }), async (server) => {
    const client = await connect(server);
    assert.deepEqual(await client.iceServers(), []);
    assert.deepEqual(await client.iceServers(), []);
    client.close();
  });
});
