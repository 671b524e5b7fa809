// The option --www: another folder in place of the page, and the client in a worker.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Server, suite } from "./harness.js";

const FILES = {
  "index.html": `<!doctype html><title>Another page</title><link rel="icon" href="data:,">
    <script type="module" src="page.js"></script>`,
  "page.js": `
    const worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data }) => (document.body.textContent = data);
    worker.onerror = ({ message }) => (document.body.textContent = "error: " + message);`,
  "worker.js": `
    import init, { Client } from "/pkg/waddell.js";
    await init();
    const client = await Client.connect("ws://" + location.host + "/ws");
    const topic = client.topic(7);
    topic.send(client.id, ["from a ", new TextEncoder().encode("worker")]);
    for await (const { from, topic: number, body } of topic) {
      const itself = from === client.id ? "itself" : from;
      postMessage(new TextDecoder().decode(body) + " to " + itself + " on " + number);
      break;
    }
    client.close();
    postMessage(client.state);`,
};

const folder = await mkdtemp(join(tmpdir(), "waddell-www-"));
for (const [name, text] of Object.entries(FILES)) await writeFile(join(folder, name), text);
const { browser, server } = await suite({ server: { args: ["--www", folder] } });
after(() => rm(folder, { recursive: true }));

test("--www DIR serves that folder, and the client runs in a dedicated worker", async () => {
  const prepare = (page) =>
    page.addInitScript(() => {
      const said = (window.said = []);
      addEventListener("DOMContentLoaded", () => {
        const observer = new MutationObserver(() => said.push(document.body.textContent));
        observer.observe(document.body, { childList: true });
      });
    });
  const page = await browser.open(server.page, { prepare });
  assert.equal(await page.title(), "Another page");
  await page.waitForFunction(() => window.said.length === 2);
  const said = await page.evaluate(() => window.said);
  assert.deepEqual(said, ["from a worker to itself on 7", "closed"]);
});

test("--www off serves the package without a page", async () => {
  const off = await Server.start({ args: ["--www", "off"] });
  try {
    assert.equal((await fetch(off.page)).status, 404);
    assert.equal((await fetch(`${off.page}pkg/waddell.js`)).status, 200);
  } finally {
    await off.stop();
  }
});
