// The README's example for authors of pages.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Browser, Server } from "./harness.js";

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const [, example] = /^```js\n(.*?)^```/ms.exec(readme);

let browser, server, www;

before(async () => {
  www = await mkdtemp(join(tmpdir(), "waddell-readme-"));
  const page = `<!doctype html><title>README</title><link rel="icon" href="data:,">
    <body><script type="module" src="example.js"></script>`;
  await writeFile(join(www, "index.html"), page);
  server = await Server.start({ args: ["--www", www] });
  // This page has no bundler or import map that would resolve the package's name.
  const here = example
    .replace('"waddell"', '"/pkg/waddell.js"')
    .replace("127.0.0.1:62480", server.ws.host);
  await writeFile(join(www, "example.js"), here);
  browser = await Browser.launch();
});

after(async () => {
  await browser?.closePages();
  await browser?.close();
  await server?.stop();
  await rm(www, { recursive: true });
});

test("the README's 25 lines open a data channel between two pages", async () => {
  assert.equal(example.trimEnd().split("\n").length, 25);
  const first = await browser.open(server.page);
  await first.waitForFunction(() => /I am \S+\./.test(document.body.innerText));
  const [, id] = /I am (\S+)\./.exec(await first.innerText("body"));
  const second = await browser.open(`${server.page}#${id}`);
  await second.waitForFunction(
    (other) => document.body.innerText.includes(`hello from ${other}`),
    id,
  );
  await first.waitForFunction(() => /hello from \S+/.test(document.body.innerText));
});
