// Look and accessibility of the page in its main states: on a desk and on a phone, light and dark.
//
// Each state is checked by axe, must fit the screen's width, and is kept as a screenshot in
// artifacts/.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import axe from "axe-core";
import {
  accept,
  artifacts,
  hears,
  idOf,
  inCall,
  makeFile,
  openPair,
  say,
  Server,
  suite,
} from "./harness.js";
import { openStranger } from "./stranger.js";

const WIDTHS = {
  wide: { viewport: { width: 1280, height: 860 } },
  narrow: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

const { browser, server } = await suite();

for (const [width, size] of Object.entries(WIDTHS)) {
  for (const colorScheme of ["light", "dark"]) {
    const options = { ...size, colorScheme };
    const look = (page, state) => inspect(page, `page-${state}-${width}-${colorScheme}`);

    test(`alone, ${width}, ${colorScheme}`, async () => {
      const page = await browser.open(server.page, options);
      await idOf(page);
      await page.waitForFunction(() =>
        document.querySelector("#signal-rtt").textContent.endsWith(" ms"),
      );
      await look(page, "alone");
    });

    test(`calling and in error, ${width}, ${colorScheme}`, async () => {
      const prepare = (page) => page.clock.install();
      const stranger = await openStranger(browser, server);
      const id = await stranger.evaluate(() => window.stranger.id);
      const page = await browser.open(`${server.page}#peer=${id}`, { ...options, prepare });
      await inCall(page, "calling");
      await look(page, "calling");
      await page.clock.fastForward(10_000);
      await page.getByRole("alert").filter({ hasText: "Nobody answered" }).waitFor();
      await look(page, "error");
    });

    test(`connected, transferring and left, ${width}, ${colorScheme}`, async () => {
      const [first, second] = await openPair(browser, server, options);
      await say(second, "Hi! Did the link work on the first try?");
      await hears(first, "Hi!");
      await say(first, "It did. And look: nothing of this passes the server any more.");
      await hears(second, "It did.");
      await second.setInputFiles("#files", makeFile("emperor-penguins.jpg", 3_400_000).path);
      await first.locator(".file", { hasText: "emperor-penguins.jpg" }).waitFor();
      await look(first, "offered");
      await accept(first, "emperor-penguins.jpg");
      await first.waitForSelector('.file.in[data-state="done"]');
      await first.waitForFunction(() =>
        document.querySelector("#direct-path").textContent.includes("host"),
      );
      await look(first, "connected");
      await second.setInputFiles("#files", makeFile("march-of-the-waddle.mp4", 48_000_000).path);
      await accept(first, "march-of-the-waddle.mp4");
      await first.waitForFunction(() => {
        const progress = document.querySelector(".file:not([data-state=done]) progress");
        return progress?.value > 8e6;
      });
      await look(first, "transferring");
      await second.click("#hang-up");
      await first.waitForSelector('[data-notice="left"]');
      await look(first, "left");
    });

    test(`without the server, ${width}, ${colorScheme}`, async () => {
      const lost = await Server.start();
      const expect = /WebSocket connection to .* failed|ERR_CONNECTION_REFUSED/;
      const page = await browser.open(lost.page, { ...options, expect });
      await idOf(page);
      await lost.kill();
      const notice = page.getByRole("alert");
      await notice.filter({ hasText: "connection to the server is gone" }).waitFor();
      await look(page, "reconnecting");
    });
  }
}

test("the page fits the narrowest phones", async () => {
  const options = { viewport: { width: 320, height: 568 } };
  const [first, second] = await openPair(browser, server, options);
  await assertFits(first);
  await second.setInputFiles("#files", makeFile(`${"W".repeat(190)}.jpg`, 1_234_567).path);
  await first.locator('.file[data-state="offered"]').waitFor();
  await assertFits(first);
  await say(first, "M".repeat(400));
  await assertFits(first);
  const alone = await browser.open(server.page, options);
  await idOf(alone);
  await assertFits(alone);
});

test("nothing moves if reduced motion is preferred", async () => {
  const [first, second] = await openPair(browser, server, { reducedMotion: "reduce" });
  await say(second, "Hold still");
  await hears(first, "Hold still");
  assert.equal(await first.evaluate(() => document.getAnimations().length), 0);
});

async function inspect(page, name) {
  const path = join(artifacts, `${name}.png`);
  await page.screenshot({ path, fullPage: name.includes("narrow") });
  await assertFits(page);
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => {
    const elements = nodes.map(({ html }) => html).join(", ");
    return `${id}: ${elements}`;
  });
  assert.deepEqual(found, [], name);
}

async function assertFits(page) {
  const { scrollWidth, clientWidth } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return { scrollWidth, clientWidth };
  });
  assert.equal(scrollWidth, clientWidth, "the page is wider than the screen");
}
