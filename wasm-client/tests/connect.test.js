// Connecting: arguments, attempts, and how each can fail.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Topic } from "../pkg/inline/waddell.js";
import {
  Client,
  connect,
  next,
  rejects,
  Server,
  throws,
  WebSocket,
  withServer,
} from "./support.js";

// A page resolves addresses against its own, and "undefined" would be one of its files.
const NO_ADDRESSES = ["", " ", undefined, null, 1, true, {}, [], new String("/ws"), Symbol()];

test("a client that is connected has an id and is open", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const version4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    assert.match(client.id, version4);
    assert.equal(client.state, "open");
    assert.ok(client instanceof EventTarget);
    client.close();
    assert.equal(client.state, "closed");
    assert.equal(client.id, null);
  }));

test("wrong arguments are refused with a code", async () => {
  const url = "ws://127.0.0.1:1/";
  for (const address of ["gopher://host/", "not an address", ...NO_ADDRESSES]) {
    await rejects(Client.connect(address, { WebSocket }), "invalid-url");
  }
  const { signal: aSignal } = new AbortController();
  for (const options of [null, 3, "waddell", ["waddell"], [], aSignal, new Map(), () => {}]) {
    await rejects(Client.connect(url, options), "invalid-option");
  }
  for (const name of ["reconnect", "timeout", "headers", "onmessage"]) {
    await assert.rejects(
      Client.connect(url, { WebSocket, [name]: undefined }),
      (error) => error.code === "invalid-option" && error.message.includes(name),
    );
  }
  const bad = {
    reconnectAttempts: [-1, 1.5, NaN, "3", null, 1n],
    connectTimeoutMs: [0, -1, NaN, "3", null],
    keepAliveMs: [0, -1, NaN, "3", null],
    silenceTimeoutMs: [0, -1, NaN, "3", null],
    extension: [0, 1, "yes", null],
    maxBufferedAmount: [-1, NaN, "3", null],
    signal: [1, "stop", {}, null, new EventTarget(), new AbortController()],
    WebSocket: [1, {}, null],
    protocols: [1, null, {}, [1]],
  };
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      await rejects(Client.connect(url, { WebSocket, [name]: value }), "invalid-option");
    }
  }
});

test("in a page, too, only strings and URLs are addresses", async (t) => {
  globalThis.location = new URL("http://127.0.0.1:1/page");
  t.after(() => delete globalThis.location);
  for (const address of NO_ADDRESSES) {
    await rejects(Client.connect(address, { WebSocket }), "invalid-url");
  }
  for (const address of ["/ws", "ws", new URL("ws://127.0.0.1:1/ws")]) {
    await rejects(connect(address, { reconnectAttempts: 0 }), "connect-failed");
  }
});

test("without any WebSocket the error is no-websocket", async (t) => {
  const { WebSocket: native } = globalThis;
  t.after(() => Object.assign(globalThis, { WebSocket: native }));
  delete globalThis.WebSocket;
  await rejects(Client.connect("ws://127.0.0.1:1/"), "no-websocket");
});

test("the last failed attempt closes the client, and its error is the cause", async () => {
  const server = await Server.start();
  await server.stop();
  const started = performance.now();
  await assert.rejects(connect(server.url, { reconnectAttempts: 2 }), (error) => {
    assert.equal(error.code, "connect-failed");
    assert.equal(error.cause.code, "dial-failed");
    assert.ok(error.message.endsWith(error.cause.message), error.message);
    return true;
  });
  await assert.rejects(connect(server.url, { reconnectAttempts: 0 }), (error) => {
    return error.code === "connect-failed" && error.cause.code === "dial-failed";
  });
  // Waits of 100 ms and 200 ms lie between the three dials, each up to half as long again.
  assert.ok(performance.now() - started >= 290);
});

test("a server that does not greet counts as failed after connectTimeoutMs", () =>
  withServer(() => {}, async (server) => {
    await assert.rejects(
      connect(server, { reconnectAttempts: 0, connectTimeoutMs: 50 }),
      (error) => error.code === "connect-failed" && error.message.includes("did not greet"),
    );
  }));

test("an aborted signal stops connecting, or closes the client", () =>
  withServer(null, async (server) => {
    await rejects(connect(server, { signal: AbortSignal.abort() }), "aborted");
    const early = new AbortController();
    const connecting = connect("ws://127.0.0.1:1/", {
      signal: early.signal,
      reconnectAttempts: Infinity,
    });
    early.abort(new Error("enough"));
    await assert.rejects(
      connecting,
      (error) => error.code === "aborted" && error.cause.message === "enough",
    );

    const late = new AbortController();
    const client = await connect(server, { signal: late.signal });
    const closed = next(client, "close");
    late.abort();
    assert.equal(client.state, "closed");
    assert.equal((await closed).code, "aborted");
  }));

test("a constructor that throws closes the client at once", async () => {
  class Refusing {
    constructor() {
      throw new Error("insecure");
    }
  }
  await assert.rejects(
    Client.connect("ws://host/", { WebSocket: Refusing, reconnectAttempts: Infinity }),
    (error) => error.code === "websocket-refused" && error.cause.message === "insecure",
  );
});

test("subprotocols are offered if they are given", () =>
  withServer(null, async (server) => {
    (await connect(server)).close();
    (await connect(server, { protocols: "waddell" })).close();
    assert.deepEqual(server.connections.map((socket) => socket.protocol), ["", "waddell"]);
  }));

test("the classes cannot be constructed", () => {
  throws(() => new Client(), "illegal-constructor");
  throws(() => new Topic(), "illegal-constructor");
});
