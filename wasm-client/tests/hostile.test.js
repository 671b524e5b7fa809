// Hostile servers cause no exception, no panic and no leak in the client.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, frame, next, PEER, read, text, withServer } from "./support.js";

/** Pseudo-random numbers (mulberry32), so that a failure can be repeated. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const bytes = (length, rnd) => Buffer.from(Array.from({ length }, () => Math.floor(rnd() * 256)));

// A WebAssembly trap or a Rust panic is a RuntimeError, thrown in an event handler of the socket.
const uncaught = [];
process.on("uncaughtException", (error) => uncaught.push(error));
process.on("unhandledRejection", (error) => uncaught.push(error));

function assertQuiet() {
  assert.deepEqual(uncaught.splice(0), []);
}

test("a server of random bytes and closes at any moment", { timeout: 60_000 }, async () => {
  const rounds = 150;
  let spoken = 0;
  const rnd = random(0x5eed);
  await withServer(
    (socket) => {
      spoken += 1;
      const actions = [
        () => socket.send(bytes(Math.floor(rnd() * 300), rnd)),
        () => socket.send(bytes(Math.floor(rnd() * 300), rnd).toString("latin1")),
        () => socket.send(frame(PEER, Math.floor(rnd() * 4), bytes(Math.floor(rnd() * 100), rnd))),
        () => socket.send(frame(PEER, 1, "split").subarray(0, Math.floor(rnd() * 25))),
        () => socket.send(Buffer.alloc(0)),
        () => socket.ping(),
        () => socket.close(1000 + Math.floor(rnd() * 4)),
        () => socket.terminate(),
        () => socket._socket.write(bytes(20, rnd)), // no WebSocket frame at all
      ];
      if (rnd() < 0.7) socket.send(frame(PEER, 0));
      for (let i = 0; i < 6; i += 1) actions[Math.floor(rnd() * actions.length)]();
      socket.on("error", () => {});
      setImmediate(() => socket.terminate());
    },
    async (server) => {
      const client = await connect(server, { reconnectAttempts: Infinity });
      const topic = client.topic(1);
      topic.addEventListener("message", (event) => {
        try {
          topic.send(event.detail.from, event.detail.body);
        } catch (error) {
          assert.ok(["not-connected", "buffer-full"].includes(error.code), error);
        }
      });
      // Dial without waiting: more connections are more chances to break.
      const waking = setInterval(wake, 1);
      while (spoken < rounds) await next(client, "state");
      clearInterval(waking);
      client.close();
      assert.equal(client.state, "closed");
    },
  );
  assertQuiet();
});

/** Dispatches a page's event for the network being back, which Node does not have. */
function wake() {
  online.dispatchEvent(new Event("online"));
}
const online = new EventTarget();
globalThis.addEventListener = online.addEventListener.bind(online);
globalThis.removeEventListener = online.removeEventListener.bind(online);

for (const length of [0, 1, 2, 16, 17]) {
  test(`a frame of ${length} bytes makes the client hang up and dial again`, () =>
    withServer(
      (socket, number) => {
        socket.send(frame(PEER, 0));
        const short = Buffer.alloc(2 + length);
        short.writeUInt16LE(length);
        const then = Buffer.concat([short, frame(PEER, 1, "not to be read")]);
        if (number === 0) socket.once("message", () => socket.send(then));
        else socket.send(frame(PEER, 1, "read"));
      },
      async (server) => {
        const client = await connect(server);
        client.topic(1).send(PEER, "go");
        const { code } = await next(client, "error");
        assert.equal(code, "server-misbehaved");
        assert.equal(text((await read(client.topic(1), 1))[0]), "read");
        client.close();
        assertQuiet();
      },
    ));
}

test("text makes the client hang up and dial again", () =>
  withServer(
    (socket, number) => {
      socket.send(frame(PEER, 0));
      if (number === 0) socket.once("message", () => socket.send("hello?"));
    },
    async (server) => {
      const client = await connect(server);
      client.topic(1).send(PEER, "go");
      assert.equal((await next(client, "error")).code, "connection-lost");
      await next(client, "id");
      client.close();
      assertQuiet();
    },
  ));

test("any split of the stream over messages yields the same messages", () =>
  withServer(
    (socket) => {
      const rnd = random(7);
      let stream = Buffer.concat([
        frame(PEER, 0),
        ...Array.from({ length: 40 }, (_, i) => frame(PEER, 1, `${i}`.repeat(i))),
      ]);
      while (stream.length > 0) {
        const length = Math.floor(rnd() * rnd() * 60);
        socket.send(stream.subarray(0, length));
        stream = stream.subarray(length);
      }
    },
    async (server) => {
      const client = await connect(server);
      const messages = await read(client.topic(1), 40);
      assert.deepEqual(messages.map(text), Array.from({ length: 40 }, (_, i) => `${i}`.repeat(i)));
      client.close();
      assertQuiet();
    },
  ));

test("giant messages pass through without growing the module's memory", () =>
  withServer(
    (socket) => {
      const many = frame(PEER, 9, Buffer.alloc(65_000));
      const giant = Buffer.concat(Array(900).fill(many)); // 58 MB
      socket.send(frame(PEER, 0));
      socket.send(giant);
      socket.send(Buffer.concat([giant, frame(PEER, 1, "end")]));
    },
    async (server) => {
      const { default: init } = await import("../pkg/inline/waddell.js");
      const { memory } = await init();
      const client = await connect(server);
      assert.equal(text((await read(client.topic(1), 1))[0]), "end");
      // At most 1 MiB is kept for topics that are not open.
      assert.ok(memory.buffer.byteLength < 8 << 20, `${memory.buffer.byteLength} bytes`);
      client.close();
      assertQuiet();
    },
  ));

test("a greeting without end, and a server that never answers a close", () =>
  withServer(
    (socket) => {
      socket.send(frame(PEER, 0, Buffer.alloc(65_517)));
      socket.send(frame(PEER, 0));
      socket.pause(); // it reads no more, so it does not answer
    },
    async (server) => {
      const client = await connect(server);
      assert.equal(client.id, PEER);
      const closed = next(client, "close");
      client.close();
      assert.equal((await closed).code, "closed");
      assertQuiet();
    },
  ));

test("events of a socket that was hung up reach no client", async () => {
  const sockets = [];
  /** A WebSocket that keeps reporting after it was closed. */
  class Stale {
    bufferedAmount = 0;
    constructor() {
      sockets.push(this);
    }
    close() {}
    send() {}
    keep() {
      const { onopen, onmessage, onclose } = this;
      return () => {
        for (const call of [onopen, onclose]) call?.({});
        onmessage?.({ data: frame(PEER, 1, "stale").buffer.slice(0) });
      };
    }
  }
  const { Client } = await import("../pkg/inline/waddell.js");
  const controller = new AbortController();
  const connecting = Client.connect("ws://host/", {
    WebSocket: Stale,
    connectTimeoutMs: 5,
    reconnectAttempts: Infinity,
    signal: controller.signal,
  });
  while (sockets.length < 1) await new Promise(setImmediate);
  const report = sockets[0].keep();
  while (sockets.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  // The first was hung up: its callbacks are gone, and calling them reaches no client.
  assert.equal(sockets[0].onopen ?? null, null);
  assert.equal(sockets[0].onmessage ?? null, null);
  assert.equal(sockets[0].onclose ?? null, null);
  report();
  sockets[1].onopen({});
  sockets[1].onmessage({ data: new Uint8Array(frame(PEER, 0)).buffer });
  const client = await connecting;
  const seen = [];
  client.topic(1).addEventListener("message", (event) => seen.push(text(event.detail)));
  report();
  assert.equal(client.state, "open");
  assert.deepEqual(seen, []);
  controller.abort();
  assert.equal(client.state, "closed");
  assert.equal(sockets[1].onmessage ?? null, null);
  assertQuiet();
});

test("a socket that reports within its own calls is understood", async () => {
  /** Opens, answers and closes synchronously. */
  class Eager {
    bufferedAmount = 0;
    set onerror(_) {
      this.onopen?.({});
      this.onmessage?.({ data: new Uint8Array(frame(PEER, 0)).buffer });
    }
    send(data) {
      this.onmessage({ data: data.buffer });
    }
    close() {
      this.onclose?.({});
    }
  }
  const { Client } = await import("../pkg/inline/waddell.js");
  const client = await Client.connect("ws://host/", { WebSocket: Eager });
  assert.equal(client.id, PEER);
  client.topic(1).send(PEER, "back");
  assert.equal(text((await read(client.topic(1), 1))[0]), "back");
  const closed = next(client, "close");
  client.close();
  assert.equal((await closed).code, "closed");
  assertQuiet();
});
