// A data channel that can only come up through TURN: the server hands out credentials, and a real
// coturn accepts them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Server, suite } from "./harness.js";

const secret = randomBytes(24).toString("hex");
const folder = mkdtempSync(join(tmpdir(), "waddell-turn-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
const secretFile = join(folder, "secret");
writeFileSync(secretFile, secret, { mode: 0o600 });

// Chromium uses no loopback address for WebRTC if there is another one.
const address =
  Object.values(networkInterfaces())
    .flat()
    .find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";

const { browser } = await suite({ server: null });
const port = await startCoturn();
const server = await Server.start({
  args: ["--ice-turn", `turn:${address}:${port}?transport=udp`, "--ice-turn-secret", secretFile],
});
after(async () => assert.equal(await server.stop(), 0));

test("two pages talk through TURN with the server's credentials", { timeout: 60_000 }, async () => {
  const page = await browser.open(server.page);
  const result = await page.evaluate(async () => {
    const { Client } = await import("/pkg/waddell.js");
    const ends = await Promise.all([Client.connect("/ws"), Client.connect("/ws")]);
    const connections = [];
    for (const client of ends) {
      const iceServers = await client.iceServers();
      // No other candidates than those of TURN are used.
      connections.push(new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" }));
    }
    ends.forEach((client, index) => {
      const connection = connections[index];
      const other = ends[1 - index];
      const topic = client.topic(1);
      connection.onicecandidate = ({ candidate }) => {
        if (candidate) topic.send(other.id, JSON.stringify({ candidate }));
      };
      (async () => {
        for await (const { body } of topic) {
          const { description, candidate } = JSON.parse(new TextDecoder().decode(body));
          if (candidate) await connection.addIceCandidate(candidate);
          if (!description) continue;
          await connection.setRemoteDescription(description);
          if (description.type === "offer") {
            await connection.setLocalDescription();
            topic.send(other.id, JSON.stringify({ description: connection.localDescription }));
          }
        }
      })();
    });
    const [caller, callee] = connections;
    const heard = new Promise((resolve) => {
      callee.ondatachannel = ({ channel }) => (channel.onmessage = ({ data }) => resolve(data));
    });
    const channel = caller.createDataChannel("test");
    channel.onopen = () => channel.send("through TURN");
    await caller.setLocalDescription();
    const description = caller.localDescription;
    ends[0].topic(1).send(ends[1].id, JSON.stringify({ description }));
    const text = await heard;

    const stats = [...(await caller.getStats()).values()];
    const { selectedCandidatePairId } = stats.find(({ type }) => type === "transport");
    const pair = stats.find(({ id }) => id === selectedCandidatePairId);
    const local = stats.find(({ id }) => id === pair.localCandidateId);
    for (const end of [...connections, ...ends]) end.close();
    return { text, kind: local.candidateType };
  });
  assert.deepEqual(result, { text: "through TURN", kind: "relay" });
});

/** Starts coturn on a free port of this machine. Resolves to the port. */
async function startCoturn() {
  const free = createSocket("udp4").bind(0, address);
  await once(free, "listening");
  const { port } = free.address();
  free.close();
  await once(free, "close");
  const coturn = spawn(
    "turnserver",
    [
      "-n",
      "--use-auth-secret",
      `--static-auth-secret=${secret}`,
      "--realm=test",
      `--listening-port=${port}`,
      `--listening-ip=${address}`,
      `--relay-ip=${address}`,
      ...(address === "127.0.0.1" ? ["--allow-loopback-peers"] : []),
      "--no-tls",
      "--no-dtls",
      "--no-cli",
      "--log-file=stdout",
      `--pidfile=${join(folder, "pid")}`,
      `--userdb=${join(folder, "db")}`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  after(() => coturn.kill());
  let output = "";
  coturn.stdout.on("data", (data) => (output += data));
  const ended = new Promise((_, reject) => {
    coturn.once("error", reject);
    coturn.once("exit", (code) => reject(new Error(`turnserver ended with ${code}\n${output}`)));
  });
  await Promise.race([answers(port), ended]);
  return port;
}

/** Resolves once a STUN server on that port answers a binding request (RFC 8489). */
async function answers(port) {
  const socket = createSocket("udp4");
  const request = Buffer.concat([Buffer.from("000100002112a442", "hex"), randomBytes(12)]);
  const ask = setInterval(() => socket.send(request, port, address), 50);
  await once(socket, "message");
  clearInterval(ask);
  socket.close();
}
