// Errors of a connection say how and why it ended.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";

import {
  Client,
  connect,
  frame,
  next,
  PEER,
  RealServer,
  WebSocket,
  withServer,
} from "./support.js";

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
  const { error: down } = await stopping;
  assertClosedWith(down, "connection-lost", 1001, down.closeReason);
  assert.match(down.closeReason, /^the server /);
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
