// Tokens: what a server asks for before it serves a client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { closing, connectExtended, int, withExtended } from "./extended.js";
import { connect, next, rejects, withServer } from "./support.js";

const TAG_TOKEN = 3;
const TAG_EXPIRES = 4;

const sentTo = ({ hello }) => String(hello.fields.get(TAG_TOKEN));

test("a token is in HELLO, of each connection", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server, { token: "grün" });
    assert.equal(sentTo(connections[0]), "grün");
    const back = next(client, "extension");
    connections[0].socket.terminate();
    await back;
    assert.equal(sentTo(connections[1]), "grün");
    client.close();
  }));

test("a function is asked for a token before each dial, and when one expires", () =>
  withExtended(
    (number) => ({ welcome: number === 0 ? {} : { fields: { [TAG_EXPIRES]: int(1, 4) } } }),
    async (server, connections) => {
      let count = 0;
      const token = async () => `token ${(count += 1)}`;
      const client = await connectExtended(server, { token });
      assert.equal(sentTo(connections[0]), "token 1");
      const back = next(client, "extension");
      connections[0].socket.terminate();
      await back;
      assert.equal(sentTo(connections[1]), "token 2");
      // The second connection's token is good for one second.
      const { body } = await connections[1].next("auth");
      assert.equal(String(body.subarray(1)), "token 3");
      client.close();
    },
  ));

test("a function that has no token counts as a failed dial", async () => {
  await withServer(null, async (server) => {
    const failing = [
      () => {
        throw new Error("signed out");
      },
      async () => undefined,
      () => "",
      () => 1,
      () => "x".repeat(4_097),
    ];
    for (const token of failing) {
      await assert.rejects(connect(server, { token, reconnectAttempts: 1 }), (error) => {
        return error.code === "connect-failed" && error.cause.code === "token-failed";
      });
    }
    assert.equal(server.connections.length, 0);

    let isIn = false;
    const token = () => (isIn ? "in" : Promise.reject(new Error("signed out")));
    const connecting = connect(server, { token });
    isIn = true;
    (await connecting).close();
  });
});

test("a function that never answers is a dial that times out, and its answer is late", () =>
  withServer(null, async (server) => {
    let answer;
    const token = () => new Promise((resolve) => (answer = resolve));
    const options = { token, connectTimeoutMs: 20, reconnectAttempts: 0 };
    await rejects(connect(server, options), "connect-failed");
    answer("too late");
    await new Promise(setImmediate);
    assert.equal(server.connections.length, 0);
  }));

for (const [closeCode, code] of [
  [4500, "unauthorized"],
  [4002, "token-expired"],
]) {
  test(`a client with one token is closed for good if that is ${code}`, () =>
    withExtended(() => ({ refusal: closing(closeCode, 0, "no") }), async (server, connections) => {
      await assert.rejects(connect(server, { token: "wrong" }), (error) => {
        assert.deepEqual([error.code, error.closeCode], [code, closeCode]);
        return error.closeReason === "no";
      });
      assert.equal(connections.length, 1);
    }));
}

test("a function is asked once more if the server does not accept its token", () =>
  withExtended(() => ({ refusal: closing(4500, 0) }), async (server, connections) => {
    let count = 0;
    const token = () => `token ${(count += 1)}`;
    await rejects(connect(server, { token }), "unauthorized");
    assert.deepEqual(connections.map(sentTo), ["token 1", "token 2"]);
  }));

test("wrong tokens are refused with a code", async () => {
  const url = "ws://127.0.0.1:1/";
  for (const token of ["", 1, null, {}, [], "x".repeat(4_097)]) {
    await rejects(connect(url, { token }), "invalid-option");
  }
  await rejects(connect(url, { token: "x", extension: false }), "invalid-option");
});
