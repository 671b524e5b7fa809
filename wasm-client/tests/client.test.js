// The client in Node, tested against a server on a real socket.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";

import { Topic, WaddellError } from "../pkg/inline/waddell.js";
import {
  Client,
  connect,
  frame,
  next,
  PEER,
  read,
  RealServer,
  Server,
  text,
  WebSocket,
  withServer,
} from "./support.js";

const rejects = (promise, code) =>
  assert.rejects(promise, (error) => error instanceof WaddellError && error.code === code);
const throws = (call, code) =>
  assert.throws(call, (error) => error instanceof WaddellError && error.code === code);

// A page resolves addresses against its own, and "undefined" would be one of its files.
const NO_ADDRESSES = ["", " ", undefined, null, 1, true, {}, [], new String("/ws"), Symbol()];

describe("connecting", () => {
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
});

describe("errors of a connection", () => {
  /** Asserts that an error says how the server closed the connection. */
  function assertClosedWith(error, code, closeCode, closeReason) {
    assert.equal(error.code, code);
    assert.equal(error.closeCode, closeCode);
    assert.equal(error.closeReason, closeReason);
    assert.ok(error.message.includes(`code ${closeCode}`), error.message);
    assert.ok(error.message.endsWith(closeReason), error.message);
  }

  test("they bear the code and the reason for which a real server closes", async (t) => {
    const server = await RealServer.start("--max-frame", "1000");
    t.after(() => server.child.kill("SIGKILL"));
    const client = await connect(server, { reconnectAttempts: 0 });
    const tooLong = next(client, "error");
    client.topic(1).send(client.id, Buffer.alloc(2_000));
    const why = "a message or a frame is longer than this server accepts";
    assertClosedWith((await tooLong).error, "connection-lost", 1009, why);

    await next(client, "id");
    const stopping = next(client, "error");
    const closed = next(client, "close");
    await server.stop();
    const down = "the server is shutting down";
    assertClosedWith((await stopping).error, "connection-lost", 1001, down);
    // The last error is that of the dial after it: no server, no code.
    const { error } = await closed;
    assert.equal(error.code, "connect-failed");
    for (const one of [error, error.cause]) {
      assert.ok(!("closeCode" in one) && !("closeReason" in one));
    }
  });

  test("the rejection of connect and the close event's error bear the last ones", async () => {
    let open = false;
    await withServer(
      (socket) => (open ? socket.send(frame(PEER, 0)) : socket.close(1013, "come back later")),
      async (server) => {
        await assert.rejects(connect(server, { reconnectAttempts: 0 }), (error) => {
          assertClosedWith(error, "connect-failed", 1013, "come back later");
          assertClosedWith(error.cause, "connection-lost", 1013, "come back later");
          return true;
        });
        open = true;
        const client = await connect(server, { reconnectAttempts: 0 });
        open = false;
        const closed = next(client, "close");
        server.connections.at(-1).close(1008);
        const { code, error } = await closed;
        assert.equal(code, "connect-failed");
        assertClosedWith(error, "connect-failed", 1013, "come back later");
        assertClosedWith(error.cause, "connection-lost", 1013, "come back later");
      },
    );
  });

  test("without a code from the server they have none", () =>
    withServer(null, async (server) => {
      const client = await connect(server);
      for (const end of [(socket) => socket.terminate(), (socket) => socket.close()]) {
        const lost = next(client, "error");
        end(server.connections.at(-1));
        const { error } = await lost;
        assert.equal(error.message, "the connection was lost");
        assert.ok(!("closeCode" in error) && !("closeReason" in error));
        await next(client, "id");
      }
      client.close();
    }));

  /** Connects with a WebSocket that reports `events` after `readyState` has changed. */
  async function failWith(readyState, ...events) {
    class Failing {
      readyState = readyState;
      close() {}
      constructor() {
        setTimeout(async () => {
          for (const event of events) event.later ? await event.later : this[event.call](event);
        });
      }
    }
    const options = { WebSocket: Failing, reconnectAttempts: 0, connectTimeoutMs: Infinity };
    return assert.rejects(Client.connect("ws://host/", options), (error) => {
      failWith.error = error;
      return true;
    });
  }

  test("an error event counts, even if no close event follows", async () => {
    const [connecting, closing, closed] = [0, 2, 3];
    const error = { call: "onerror" };
    const close = { call: "onclose", code: 1011, reason: "why" };
    // In a browser: the page's policy does not allow the address.
    await failWith(closed, error);
    assert.equal(failWith.error.cause.code, "dial-failed");
    assert.match(failWith.error.message, /content security policy/);
    // Node 22: any dial that fails.
    await failWith(connecting, error);
    assert.equal(failWith.error.cause.code, "dial-failed");
    assert.equal(failWith.error.cause.message, "could not connect");
    // Everywhere else the close event's code counts, be it in the same task or in a later one.
    await failWith(closed, error, close);
    assertClosedWith(failWith.error, "connect-failed", 1011, "why");
    const later = { later: new Promise((resolve) => setTimeout(resolve, 20)) };
    await failWith(closing, error, later, close);
    assertClosedWith(failWith.error, "connect-failed", 1011, "why");
  });

  test("Node's own WebSocket reports a failed dial at once", async () => {
    const script = `
      import { Client } from "../pkg/inline/waddell.js";
      const options = { reconnectAttempts: 0, connectTimeoutMs: Infinity };
      await Client.connect("ws://127.0.0.1:1/", options).catch(({ cause, message }) => {
        console.log(cause.code, message);
      });`;
    const args = ["--experimental-websocket", "--input-type=module", "--eval", script];
    const cwd = import.meta.dirname;
    const output = await new Promise((resolve, reject) => {
      execFile(process.execPath, args, { cwd }, (error, stdout) =>
        error ? reject(error) : resolve(stdout),
      );
    });
    assert.equal(output, "dial-failed no reconnect attempt is left: could not connect\n");
  });
});

describe("topics", () => {
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
});

describe("events", () => {
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
});

describe("staying connected", () => {
  for (const type of ["error", "state", "id"]) {
    test(`a client can be closed from within its ${type} event, and sent to until then`, () =>
      withServer(null, async (server) => {
        const client = await connect(server);
        const story = [];
        client.addEventListener(type, () => {
          try {
            client.topic(1).send(PEER, "x");
            story.push("sent");
          } catch (error) {
            story.push(error.code);
          }
          client.close();
          assert.equal(client.state, "closed");
          throws(() => client.topic(1).send(PEER, "x"), "closed");
        }, { once: true });
        client.addEventListener("close", ({ detail }) => story.push(detail.code));
        const closed = next(client, "close");
        server.connections[0].terminate();
        await closed;
        assert.deepEqual(story, [type === "id" ? "sent" : "not-connected", "closed"]);
        // The client does not dial again: the next connection is another client's.
        const { length } = server.connections;
        (await connect(server)).close();
        assert.equal(server.connections.length, length + 1);
      }));
  }

  test("a lost connection is dialed again, with another id", () =>
    withServer(null, async (server) => {
      const client = await connect(server);
      const id = client.id;
      const story = [];
      client.addEventListener("state", (event) => story.push(event.detail.state));
      client.addEventListener("error", (event) => {
        story.push(event.detail.code);
        assert.equal(event.detail.error.code, event.detail.code);
        assert.ok(event.detail.retryInMs >= 0);
        assert.equal(client.id, null);
        throws(() => client.topic(1).send(PEER, "x"), "not-connected");
      });
      const reading = read(client.topic(1), 1);
      const again = next(client, "id");
      server.connections[0].terminate();
      const { id: newId } = await again;
      assert.notEqual(newId, id);
      assert.equal(client.id, newId);
      assert.deepEqual(story, ["waiting", "connection-lost", "connecting", "open"]);
      client.topic(1).send(newId, "after");
      assert.equal(text((await reading)[0]), "after");
      client.close();
    }));

  test("a server that comes back is found", async () => {
    const server = await Server.start();
    const client = await connect(server, { reconnectAttempts: Infinity });
    const lost = next(client, "error");
    await server.stop();
    await lost;
    await next(client, "error");
    const again = next(client, "id");
    const restarted = await Server.start(null, { port: server.port });
    await again;
    client.close();
    await restarted.stop();
  });

  test("waiting ends at once when the network is back", async (t) => {
    // Node has no such event; a page's window is an EventTarget.
    const window = new EventTarget();
    for (const name of ["addEventListener", "removeEventListener"]) {
      globalThis[name] = window[name].bind(window);
      t.after(() => delete globalThis[name]);
    }
    const server = await Server.start();
    const client = await connect(server, { reconnectAttempts: Infinity });
    await server.stop();
    // Wait until the delay is long enough to measure.
    let delay = 0;
    while (delay < 500) delay = (await next(client, "error")).retryInMs;
    const restarted = await Server.start(null, { port: server.port });
    const started = performance.now();
    const again = next(client, "id");
    window.dispatchEvent(new Event("online"));
    await again;
    assert.ok(performance.now() - started < delay / 2);
    client.close();
    await restarted.stop();
  });

  test("keep-alives are sent at their interval", () =>
    withServer(null, async (server) => {
      const client = await connect(server, { keepAliveMs: 5 });
      const [socket] = server.connections;
      for (let i = 0; i < 3; i += 1) {
        const [data] = await once(socket, "message");
        assert.equal(data.toString("hex"), "01006b");
      }
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
      const client = await connect(server);
      const received = once(server.connections[0], "message");
      client.topic(1).send(PEER, "bye");
      client.close();
      assert.equal((await received)[0].toString("latin1", 20), "bye");
      const [code] = await once(server.connections[0], "close");
      assert.equal(code, 1000);
    }));
});
