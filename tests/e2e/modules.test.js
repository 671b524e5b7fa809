// Modules of the page that run without a browser.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { isPolite } from "../../www/peer.js";
import { Sha256 } from "../../www/sha256.js";
import { safeName, safeText } from "../../www/text.js";

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

test("names of files lose folders, hidden characters, and what systems do not allow", () => {
  const names = {
    "report.pdf": "report.pdf",
    "žluťoučký kůň 🐧.txt": "žluťoučký kůň 🐧.txt",
    "../../etc/passwd": "passwd",
    "C:\\Windows\\evil.dll": "evil.dll",
    "photo\u202egpj.exe": "photogpj.exe",
    "\u2066a\u2069\u200e\u061c.txt": "a.txt",
    "a\u0000b\u001b[2J\u009b\u007f\ud800.txt": "ab[2J.txt",
    "two\n lines\u2028.txt": "two lines.txt",
    "picture.jpg                    .exe": "picture.jpg.exe",
    "what?<is>:this|*\"": "what__is__this___",
    "con": "_con",
    "LPT1.tar.gz": "_LPT1.tar.gz",
    "aux .h": "_aux.h",
    "console.log": "console.log",
    ".bashrc": "bashrc",
    "dots... ": "dots",
    "..": "file",
    "": "file",
    "a/": "file",
  };
  for (const [name, expected] of Object.entries(names)) assert.equal(safeName(name), expected);
  for (const name of [undefined, null, 7, {}, ["a"]]) assert.equal(safeName(name), "file");
  assert.equal(safeName(`${"n".repeat(100_000)}.tar.gz`), `${"n".repeat(197)}.gz`);
  assert.equal(safeName("🐧".repeat(1_000)), "🐧".repeat(50));
});

test("chat keeps its lines and no hidden characters, and is cut between characters", () => {
  assert.equal(safeText("a\n\tb\u202ec\u2067\u0000\u0085\ufeff", 100), "a\n\tbc");
  assert.equal(safeText("👩‍👩‍👧 שלום", 100), "👩‍👩‍👧 שלום");
  assert.equal(safeText("aa🐧", 3), "aa");
});
