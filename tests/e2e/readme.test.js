// The README's example for the browser, exactly as it stands there.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runClient, suite } from "./harness.js";

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const [, example] = /^```js\n(.*?)^```/ms.exec(readme);

const PAGE = `<!doctype html>
<title>README</title>
<link rel="icon" href="data:,">
<body><script type="module" src="example.js"></script>`;

const www = await mkdtemp(join(tmpdir(), "waddell-readme-"));
await writeFile(join(www, "index.html"), PAGE);
const { browser, server } = await suite({ server: { args: ["--www", www] } });
after(() => rm(www, { recursive: true }));

// This page has no bundler or import map that would resolve the package's name.
const here = example
  .replace('"waddell"', '"/pkg/waddell.js"')
  .replace("127.0.0.1:62480", server.ws.host);
await writeFile(join(www, "example.js"), here);

test("the README's example opens a data channel between two pages", async () => {
  const prepare = (page) => page.addInitScript(listConnections);
  const expect = /SyntaxError|OperationError|TypeError/;
  const first = await browser.open(server.page, { prepare, expect });
  await first.waitForFunction(() => /I am \S+\./.test(document.body.innerText));
  const [, id] = /I am (\S+)\./.exec(await first.innerText("body"));
  // The first page warns of bytes that are not JSON, and goes on.
  const rubbish = runClient("send", server.tcp.href, id, "--topic", "1", "not JSON");
  assert.equal(await rubbish.exit, 0);
  // No connection is left of offers that are none. There are as many as it has connections for.
  const description = { type: "offer", sdp: "none" };
  for (const signal of [...Array(20).fill({ description }), null, { candidate: {} }]) {
    const sent = runClient("send", server.tcp.href, id, "--topic", "1", JSON.stringify(signal));
    assert.equal(await sent.exit, 0);
  }
  await first.waitForFunction(() => window.connections.length === 20);
  await first.waitForFunction(() =>
    window.connections.every(({ signalingState }) => signalingState === "closed"),
  );
  const second = await browser.open(`${server.page}#${id}`);
  const greeted = (other) => document.body.innerText.includes(`hello from ${other}`);
  await second.waitForFunction(greeted, id);
  await first.waitForFunction(() => /hello from \S+/.test(document.body.innerText));
});

/** Runs in the page: lists the connections that it makes. */
function listConnections() {
  const connections = (window.connections = []);
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor() {
      super();
      connections.push(this);
    }
  };
}
