// The client's own id: kept over a lost connection, or renewed. And restarts of the server.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import {
  closing,
  collect,
  connectExtended,
  handled,
  PARTS,
  renewed,
  restarting,
  token,
  withExtended,
} from "./extended.js";
import { connect, next, PEER, RealServer, rejects, Server, withServer } from "./support.js";

const OTHER = "10010203-0405-4607-8809-0a0b0c0d0e0f";
const RESUMED = 1;
const TAG_TOKEN = 1;
const TAG_WHY = 2;

const tokenOf = (number) => Buffer.from(`token ${number}`);

/** A server that gives tokens, and resumes the id of its first connection. */
const resuming = (number) => ({
  id: number === 0 ? PEER : undefined,
  welcome: {
    ...(number > 0 && { id: PEER, flags: RESUMED }),
    fields: { [TAG_TOKEN]: tokenOf(number) },
  },
});

test("with the option resume a client keeps its id over a lost connection", () =>
  withExtended(resuming, async (server, connections) => {
    const client = await connect(server, { resume: true });
    const ids = collect(client, "id");
    if (!client.extension) await next(client, "extension");
    assert.equal(client.id, PEER);
    assert.equal(client.resumed, false);
    connections[0].send(token(Buffer.from("newer")));
    // A round trip, so that the token has arrived.
    await client.topic(1).sendChecked(OTHER, "1");

    for (const number of [1, 2]) {
      const back = next(client, "id");
      connections[number - 1].socket.terminate();
      const expected = { id: PEER, resumed: true, previous: PEER, why: null };
      assert.deepEqual(await back, expected);
      assert.equal(client.resumed, true);
      const sent = connections[number].hello.fields.get(TAG_TOKEN);
      assert.equal(String(sent), number === 1 ? "newer" : "token 1");
    }
    assert.equal(ids.length, 2);
    client.close();
    assert.equal((await connections[2].next("bye")).kind, "bye");
  }));

test("an id that is not resumed is a new one, and the event says why", () =>
  withExtended(
    (number) => ({
      welcome: {
        fields: {
          [TAG_TOKEN]: tokenOf(number),
          ...(number === 1 && { [TAG_WHY]: Buffer.from([1]) }),
        },
      },
    }),
    async (server, connections) => {
      const client = await connectExtended(server, { resume: true });
      const previous = client.id;
      const back = next(client, "id");
      connections[0].socket.terminate();
      const { id, ...detail } = await back;
      assert.deepEqual(detail, { resumed: false, previous, why: "expired" });
      assert.equal(id, connections[1].id);
      assert.equal(client.id, id);
      assert.equal(client.resumed, false);
      client.close();
    },
  ));

test("without the option a new connection is a new id", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    assert.equal(connections[0].hello.wants & PARTS.resume, 0);
    const previous = client.id;
    const back = next(client, "id");
    connections[0].socket.terminate();
    const { id } = await back;
    assert.deepEqual(await back, { id, resumed: false, previous, why: null });
    assert.notEqual(id, previous);
    client.close();
    await rejects(connect(server, { resume: true, extension: false }), "invalid-option");
  }));

test("the outcome of a checked message is told after the reconnect", () =>
  withExtended(
    (number) => ({ ...resuming(number), answers: ["hello"] }),
    async (server, connections) => {
      const client = await connectExtended(server, { resume: true });
      const sending = [1, 2].map((body) => client.topic(1).sendChecked(OTHER, `${body}`));
      const settled = Promise.allSettled(sending);
      await connections[0].next("sync");
      const back = next(client, "id");
      connections[0].socket.terminate();
      await back;
      // Of the frames before, the server has handled the first only.
      connections[1].send(handled(1));
      const outcomes = (await settled).map(({ value, reason }) => value ?? reason.code);
      assert.deepEqual(outcomes, ["forwarded", "not-handled"]);
      client.close();
    },
  ));

test("rotate gets a new id on the same connection", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    const previous = client.id;
    const changed = next(client, "id");
    const rotating = client.rotate();
    await connections[0].next("renew");
    connections[0].send(renewed(OTHER));
    assert.equal(await rotating, OTHER);
    assert.equal(client.id, OTHER);
    assert.deepEqual(await changed, { id: OTHER, resumed: false, previous, why: null });

    const refused = rejects(client.rotate(), "too-soon");
    await connections[0].next("renew");
    connections[0].send(renewed(OTHER));
    await refused;
    assert.equal(client.id, OTHER);
    assert.equal(connections.length, 1);
    client.close();
  }));

test("rotate dials again where the server cannot give a new id", () =>
  withServer(null, async (server) => {
    const client = await connect(server);
    const previous = client.id;
    const lost = next(client, "error");
    const id = await client.rotate();
    assert.equal((await lost).code, "rotated");
    assert.equal(client.id, id);
    assert.notEqual(id, previous);
    assert.equal(server.connections.length, 2);
    client.close();
  }));

test("a client whose id was taken over is told, and goes on with another", () =>
  withExtended(
    (number) => ({ welcome: { fields: { [TAG_TOKEN]: tokenOf(number) } } }),
    async (server, connections) => {
      const client = await connectExtended(server, { resume: true });
      const lost = next(client, "error");
      const back = next(client, "extension");
      connections[0].send(closing(4010, 0, "another connection has the id"));
      const { code, error } = await lost;
      assert.deepEqual([code, error.closeCode], ["superseded", 4010]);
      await back;
      assert.equal(connections[1].hello.fields.has(TAG_TOKEN), false);
      client.close();
    },
  ));

test("a restart is an event, and the client dials again when the server says so", () =>
  withExtended(null, async (server, connections) => {
    const client = await connectExtended(server);
    const told = next(client, "restart");
    const lost = next(client, "error");
    connections[0].send(restarting(50, 100, 20));
    assert.deepEqual(await told, { inMs: 50, waitMs: 120 });
    connections[0].send(closing(4000, 0, "the server stops"));
    const { error, retryInMs } = await lost;
    // The code of a server that stops is the same with and without the extension.
    assert.deepEqual([error.closeCode, error.closeReason], [1001, "the server stops"]);
    assert.ok(retryInMs >= 100 && retryInMs <= 120, `${retryInMs}`);
    await next(client, "id");
    client.close();
  }));

test("a server that does not serve the client closes it for good", async () => {
  const answers = { answers: [] };
  await withExtended(() => answers, async (server, connections) => {
    const client = await connect(server, { reconnectAttempts: Infinity });
    const closed = next(client, "close");
    connections[0].send(closing(4502, 0, "ended by an operator"));
    const { code, error } = await closed;
    assert.deepEqual([code, error.closeCode], ["refused", 4502]);
    assert.match(error.message, /ended by an operator$/);
  });
  // Before a client says HELLO only the WebSocket's close can tell.
  await withServer(
    (socket) => socket.close(4501, "say HELLO"),
    async (server) => {
      await assert.rejects(connect(server), ({ code, closeCode }) => {
        return code === "refused" && closeCode === 4501;
      });
    },
  );
});

test("several addresses take turns", async () => {
  const gone = await Server.start();
  await gone.stop();
  await withServer(null, async (server) => {
    const client = await connect([gone.url, new URL(server.url)], { reconnectAttempts: 1 });
    assert.equal(client.state, "open");
    client.close();
    await rejects(connect([]), "invalid-url");
    await rejects(connect([server.url, "gopher://host/"]), "invalid-url");
  });
});

test("HELLO travels in the upgrade to a server that has said that it reads it there", () => {
  const READS_UPGRADE = 2;
  return withExtended(
    (number) => ({
      id: number === 0 ? PEER : undefined,
      welcome: {
        ...(number > 0 && { id: PEER }),
        flags: READS_UPGRADE | (number > 0 ? RESUMED : 0),
        fields: { [TAG_TOKEN]: tokenOf(number) },
      },
    }),
    async (server, connections) => {
      const client = await connectExtended(server, { resume: true });
      assert.equal(connections[0].socket.protocol, "");
      const back = next(client, "id");
      connections[0].socket.terminate();
      assert.deepEqual(await back, { id: PEER, resumed: true, previous: PEER, why: null });
      assert.equal(connections[1].socket.protocol, "waddell.2");
      assert.ok(connections[1].hello.fields.get(TAG_TOKEN).equals(tokenOf(0)));
      // Frames are numbered as after a HELLO on the connection.
      assert.equal(await client.topic(1).sendChecked(OTHER, "x"), "forwarded");
      const hellos = connections[1].frames.filter(({ kind }) => kind === "hello");
      assert.equal(hellos.length, 1);
      client.close();
    },
  );
});

test("a real server keeps the id of a client, and gives a new one", async (t) => {
  const server = await RealServer.start();
  t.after(() => server.child.kill("SIGKILL"));
  const sockets = [];
  const { WebSocket } = await import("ws");
  class Recorded extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = await connectExtended(server, { resume: true, WebSocket: Recorded });
  const other = await connectExtended(server);
  const { id } = client;
  assert.equal(client.extension.resume, true);
  for (let i = 1; i <= 3; i += 1) {
    const back = next(client, "id");
    sockets.at(-1).terminate();
    assert.deepEqual(await back, { id, resumed: true, previous: id, why: null });
    assert.equal(sockets.at(-1).protocol, "waddell.2");
    assert.equal(await other.topic(1).sendChecked(id, `${i}`), "forwarded");
  }
  const fresh = await client.rotate();
  assert.notEqual(fresh, id);
  await rejects(other.topic(1).sendChecked(id, "x"), "unknown-recipient");
  assert.equal(await other.topic(1).sendChecked(fresh, "x"), "forwarded");
  client.close();
  other.close();
});

test("the id survives a restart of a real server with a key", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "waddell-key-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const key = join(dir, "resume-key");
  writeFileSync(key, randomBytes(32).toString("hex"), { mode: 0o600 });
  const options = ["--resume-key", key, "--restart-spread", "0s"];
  const first = await RealServer.start(...options);
  const client = await connectExtended(first, { resume: true, reconnectAttempts: Infinity });
  const { id } = client;
  const told = next(client, "restart");
  const lost = next(client, "error");
  const back = next(client, "id");
  await first.stop();
  assert.deepEqual(Object.keys(await told), ["inMs", "waitMs"]);
  assert.equal((await lost).error.closeCode, 1001);
  const second = await RealServer.start(...options, "--listen", new URL(first.url).origin);
  t.after(() => second.child.kill("SIGKILL"));
  assert.deepEqual(await back, { id, resumed: true, previous: id, why: null });
  client.close();
});
