// A program that `tsc --strict` must accept, and mistakes that it must refuse.

import init, { Client, Topic, WaddellError } from "waddell";
import type { Body, Bytes, ClientState, ConnectOptions, ErrorCode, Message } from "waddell";
import type { Delivery, Extension, NotResumed, PeerState, UndeliveredCode } from "waddell";
import { Client as BundledClient } from "waddell/bundler";
import { WebSocket } from "ws";

await init();
await init({ module_or_path: new URL("https://host/waddell_bg.wasm") });

const options: ConnectOptions = {
  reconnectAttempts: Infinity,
  keepAliveMs: 25_000,
  connectTimeoutMs: 10_000,
  silenceTimeoutMs: Infinity,
  extension: true,
  resume: true,
  ice: true,
  token: async () => "token",
  maxBufferedAmount: 1 << 16,
  protocols: ["waddell"],
  signal: AbortSignal.timeout(1_000),
  WebSocket,
};

try {
  const client: Client = await Client.connect("wss://host/ws", options);
  await Client.connect(new URL("wss://host/ws"), { WebSocket: globalThis.WebSocket });
  await Client.connect(["wss://one/ws", new URL("wss://two/ws")]);
  const id: string | null = client.id;
  const fresh: string = await client.rotate();
  const peer: PeerState = await client.watch(fresh);
  client.unwatch(fresh);
  new RTCPeerConnection({ iceServers: await client.iceServers() }).close();
  client.addEventListener("peer", ({ detail }) => detail.state === peer && detail.lost > 0);
  client.addEventListener("restart", ({ detail }) => detail.inMs + detail.waitMs);
  client.addEventListener("id", ({ detail }) => {
    const why: NotResumed | null = detail.why;
    const resumed: boolean = detail.resumed || client.resumed;
    void [why, resumed, detail.previous?.length];
  });
  const state: ClientState = client.state;
  client.addEventListener("id", (event) => event.detail.id.length);
  client.addEventListener("state", ({ detail }) => detail.state === "waiting");
  client.addEventListener("error", ({ detail }) => detail.retryInMs + detail.error.message.length);
  client.addEventListener("close", ({ detail }) => detail.error?.cause, { once: true });
  client.addEventListener("error", ({ detail: { error } }) => {
    const closeCode: number | undefined = error.closeCode;
    const closeReason: string | undefined = error.closeReason;
    void [closeCode, closeReason];
  });
  const target: EventTarget = client;
  const extension: Extension | null = client.extension;
  client.addEventListener("extension", ({ detail }) => detail.extension.verdicts);
  client.addEventListener("undelivered", ({ detail }) => {
    const reason: UndeliveredCode = detail.reason;
    void [detail.to?.length, detail.topic?.toFixed(), reason, detail.count, detail.exact];
  });

  const topic: Topic = client.topic(1);
  const parts = ["text", new DataView(new ArrayBuffer(1))];
  const bodies: Body[] = ["text", new Uint8Array(1), new ArrayBuffer(1), parts];
  for (const body of bodies) if (id) topic.send(id, body);
  const delivery: Delivery = await topic.sendChecked("id", "text");
  await topic.sendChecked("id", bodies[0]!, { signal: AbortSignal.timeout(1_000) });
  topic.addEventListener("message", (event) => event.detail.body.byteLength);
  for await (const { from, topic: number, body } of topic) {
    const message: Message = { from, topic: number, body };
    const bytes: Bytes = body;
    // Parameters of functions that take no view of a SharedArrayBuffer.
    const digest = await crypto.subtle.digest("SHA-256", body);
    void [message, bytes, new Blob([body]), digest];
  }
  topic.lost.toFixed();
  client.close();
  client[Symbol.dispose]();
  void [state, target, extension, delivery];

  // @ts-expect-error a topic is a number
  client.topic("1");
  // @ts-expect-error a peer id is a string
  topic.send(1, "text");
  // @ts-expect-error a body is not an object
  topic.send("id", { text: "text" });
  // @ts-expect-error the extension's parts are known
  client.extension?.holding;
  // @ts-expect-error a token is a string
  await Client.connect("wss://host/ws", { token: () => 1 });
  // @ts-expect-error there is no such option of a message
  await topic.sendChecked("id", "text", { timeout: 1 });
  // @ts-expect-error a number is not an event
  client.addEventListener("id", (event: number) => event);
  // @ts-expect-error there is no such option
  await Client.connect("wss://host/ws", { reconnect: true });
  // @ts-expect-error the source of the module is a property
  await init("waddell_bg.wasm");
  // @ts-expect-error the id is read-only
  client.id = "mine";
  // @ts-expect-error only connect makes clients
  new Client();
} catch (error) {
  if (error instanceof WaddellError) {
    const code: ErrorCode = error.code;
    // @ts-expect-error there is no such code
    if (code === "no-such-code") throw error;
  }
}

void BundledClient.connect;
