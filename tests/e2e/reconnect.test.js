// Pages while the server is killed and started again.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { hears, idOf, inCall, linkOf, openPair, say, Server, suite } from "./harness.js";

/** Chromium's own errors while no server listens. */
const REFUSED = /WebSocket connection to .* failed|ERR_CONNECTION_REFUSED/;

let server;

beforeEach(async () => (server = await Server.start()));
// Before the suite's check of the pages: if that fails, the hooks after it are left out.
afterEach(() => server.kill());
const { browser } = await suite({ server: null });

test("a page reconnects with a new id after the server was killed and started again", async () => {
  const page = await browser.open(server.page, { expect: REFUSED });
  const id = await idOf(page);
  await server.kill();
  await page.getByRole("status").filter({ hasText: "Reconnecting" }).waitFor();
  const notice = page.getByRole("alert");
  await notice.filter({ hasText: "connection to the server is gone" }).waitFor();
  assert.ok(await page.locator("#copy-link").isDisabled(), "an invalid link cannot be copied");

  server = await Server.start({ listen: [server.ws.href] });
  const newId = await idOf(page);
  assert.notEqual(newId, id);
  assert.match(await linkOf(page), new RegExp(`#peer=${newId}$`));
  await page.waitForSelector('[data-notice="reconnecting"]', { state: "detached" });
});

test("a page keeps its id and its link over a restart of a server with a key", async () => {
  const key = join(mkdtempSync(join(tmpdir(), "waddell-key-")), "resume-key");
  writeFileSync(key, randomBytes(32).toString("hex"), { mode: 0o600 });
  const args = ["--resume-key", key, "--restart-spread", "0s"];
  await server.kill();
  server = await Server.start({ args });
  const page = await browser.open(server.page, { expect: REFUSED });
  const id = await idOf(page);
  const caller = await browser.open(await linkOf(page), { expect: REFUSED });
  await Promise.all([inCall(page, "connected"), inCall(caller, "connected")]);
  await server.stop();
  await page.locator("#event-list li", { hasText: "the server restarts" }).waitFor();
  await page.waitForSelector('body:not([data-server="open"])');

  server = await Server.start({ listen: [server.ws.href], args });
  assert.equal(await idOf(page), id);
  await page.locator("#event-list li", { hasText: "kept its id" }).waitFor();
  assert.match(caller.url(), new RegExp(`#peer=${id}$`));
  rmSync(dirname(key), { recursive: true });
});

test("a conversation continues without the server, and both sides learn the new ids", async () => {
  const pages = await openPair(browser, server, { expect: REFUSED });
  const [first, second] = pages;
  await server.kill();
  for (const page of pages) await page.waitForSelector('body:not([data-server="open"])');
  await say(first, "Still there?");
  await hears(second, "Still there?");
  await first.getByRole("alert").filter({ hasText: "Your conversation goes on" }).waitFor();

  server = await Server.start({ listen: [server.ws.href] });
  const ids = await Promise.all(pages.map(idOf));
  for (const [i, page] of pages.entries()) {
    await page.locator("#remote-id", { hasText: ids[1 - i] }).waitFor();
  }
  assert.match(second.url(), new RegExp(`#peer=${ids[0]}$`), "a reload would call the new id");
  await second.reload();
  await Promise.all(pages.map((page) => inCall(page, "connected")));
  await say(second, "Here I am");
  await hears(first, "Here I am");
});

for (const [who, type, loser] of [["caller", "offer", 1], ["callee", "answer", 0]]) {
  test(`a call connects although the ${who} loses the server before its ${type}`, async () => {
    let lost = false;
    const prepare = (page) =>
      page.routeWebSocket(/\/ws$/, (socket) => {
        const upstream = socket.connectToServer();
        let open = true;
        socket.onMessage((message) => {
          if (!open) return;
          open = lost || !message.toString("latin1").includes(`"type":"${type}"`);
          if (open) return upstream.send(message);
          lost = true;
          upstream.close();
          socket.close();
        });
      });
    const options = [{ expect: REFUSED }, { expect: REFUSED }];
    options[loser].prepare = prepare;
    const first = await browser.open(server.page, options[0]);
    const second = await browser.open(await linkOf(first), options[1]);
    await Promise.all([inCall(first, "connected"), inCall(second, "connected")]);
    assert.ok(lost);
    await say(second, "At last");
    await hears(first, "At last");
  });
}

test("a server that never answers leads to a notice with advice", async () => {
  const page = await browser.open(`${server.page}?server=ws://127.0.0.1:9/ws`, {
    expect: /WebSocket connection|ERR_/,
  });
  const notice = page.getByRole("alert").filter({ hasText: "The server does not answer" });
  await notice.waitFor();
  assert.match(await notice.innerText(), /waddell-server running/);
});

test("the address can name another server, and the link names it, too", async () => {
  const other = await Server.start();
  try {
    const address = `${other.ws.href.replace(/\/$/, "")}/ws`;
    const first = await browser.open(`${server.page}?server=${address}`);
    const second = await browser.open(await linkOf(first));
    await Promise.all([inCall(first, "connected"), inCall(second, "connected")]);
  } finally {
    await browser.closePages();
    await other.kill();
  }
});

test("an invalid address leads to a notice", async () => {
  const page = await browser.open(`${server.page}?server=ftp://example.org`);
  await page.getByRole("alert").filter({ hasText: "This server cannot be used" }).waitFor();
});
