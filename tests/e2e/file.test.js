// Files over the data channel: progress, checksums and cancelling.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { accept, makeFile, openPair, suite } from "./harness.js";

const { browser, server } = await suite();

test("a large file arrives whole in each direction, and both sides show its checksum", async () => {
  const [first, second] = await openPair(browser, server);
  for (const [sender, receiver] of [[first, second], [second, first]]) {
    const file = makeFile("penguins.bin", 8_000_001);
    await sender.setInputFiles("#files", file.path);
    await accept(receiver, "penguins.bin");
    const sent = sender.locator('.file.out[data-state="done"]');
    const received = receiver.locator('.file.in[data-state="done"]');
    await Promise.all([sent.waitFor(), received.waitFor()]);
    assert.equal(await sent.locator("code").innerText(), file.sha256);
    assert.equal(await received.locator("code").innerText(), file.sha256);
    const [download] = await Promise.all([
      receiver.waitForEvent("download"),
      received.getByRole("link", { name: "Save penguins.bin" }).click(),
    ]);
    assert.equal(download.suggestedFilename(), "penguins.bin");
    assert.equal(sha256(await readFile(await download.path())), file.sha256);
  }
});

test("files go both ways at once, several in a row, and an empty one", async () => {
  const [first, second] = await openPair(browser, server);
  const files = [3_000_000, 0, 65_536, 1].map((size, i) => makeFile(`file-${i}`, size));
  const paths = files.map((file) => file.path);
  await Promise.all([first, second].map((page) => page.setInputFiles("#files", paths)));
  for (const page of [first, second]) {
    for (const i of files.keys()) await accept(page, `file-${i}`);
  }
  for (const page of [first, second]) {
    for (const direction of ["in", "out"]) {
      const done = page.locator(`.file.${direction}[data-state="done"]`);
      await done.nth(files.length - 1).waitFor();
      const digests = await done.locator("code").allInnerTexts();
      assert.deepEqual(digests, files.map((file) => file.sha256));
    }
  }
});

test("a declined file is declined on both sides, and the next ones are offered", async () => {
  const [first, second] = await openPair(browser, server);
  const files = Array.from({ length: 10 }, (_, i) => makeFile(`file-${i}`, 1_000));
  await first.setInputFiles("#files", files.map(({ path }) => path));
  await second.locator('.file[data-state="offered"]').nth(7).waitFor();
  await first.locator('.file[data-state="waiting"]').nth(1).waitFor();
  for (const i of files.keys()) {
    await second.getByRole("button", { name: `Decline file-${i}`, exact: true }).click();
  }
  for (const [page, reason] of [[first, "Declined by the other side."], [second, "Declined."]]) {
    const statuses = page.locator('.file[data-state="declined"] .file-status');
    await statuses.nth(files.length - 1).waitFor();
    assert.deepEqual(await statuses.allInnerTexts(), files.map(() => reason));
  }
});

for (const [who, canceller] of [["sender", 0], ["receiver", 1]]) {
  test(`the ${who} can cancel a file, and the next one arrives`, async () => {
    const pages = await openPair(browser, server);
    await pages[0].setInputFiles("#files", makeFile("long.bin", 48_000_000).path);
    await accept(pages[1], "long.bin");
    await pages[1].waitForFunction(() => document.querySelector("progress")?.value > 0);
    await pages[canceller].getByRole("button", { name: "Cancel long.bin" }).click();
    await pages[canceller].locator(".file-status", { hasText: /^Cancelled\.$/ }).waitFor();
    await pages[1 - canceller]
      .locator(".file-status", { hasText: "Cancelled by the other side." })
      .waitFor();

    const next = makeFile("next.bin", 100_000);
    await pages[0].setInputFiles("#files", next.path);
    await accept(pages[1], "next.bin");
    const received = pages[1].locator('.file[data-state="done"]');
    await received.waitFor();
    assert.equal(await received.locator("code").innerText(), next.sha256);
  });
}

test("a file is shown as failed if the other side leaves before its end", async () => {
  const [first, second] = await openPair(browser, server);
  await first.setInputFiles("#files", makeFile("long.bin", 48_000_000).path);
  await accept(second, "long.bin");
  await second.waitForFunction(() => document.querySelector("progress")?.value > 0);
  await second.click("#hang-up");
  await first
    .locator('.file[data-state="failed"]', { hasText: "The connection ended first." })
    .waitFor();
});

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
