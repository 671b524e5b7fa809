// Modules of the page that run without a browser.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { isPolite } from "../../www/peer.js";
import { Sha256 } from "../../www/sha256.js";

test("the page's SHA-256 equals that of Node, for any length and any split", () => {
  for (let length = 0; length < 300; length++) {
    const bytes = randomBytes(length);
    const hash = new Sha256();
    for (let at = 0; at < length; ) {
      const step = 1 + (randomBytes(1)[0] % 97);
      hash.update(bytes.subarray(at, at + step));
      at += step;
    }
    const expected = createHash("sha256").update(bytes).digest("hex");
    assert.equal(hash.digest(), expected, bytes.toString("hex"));
  }
});

test("exactly one of two peers is polite", () => {
  const ids = ["0f0e0d0c-0b0a-4908-8706-050403020100", "f0e0d0c0-b0a0-4080-8060-504030201000"];
  assert.notEqual(isPolite(ids[0], ids[1]), isPolite(ids[1], ids[0]));
});
