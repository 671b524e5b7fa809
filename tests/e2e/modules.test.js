// Modules of the page that run without a browser.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { isPolite } from "../../www/peer.js";
import { readSignal } from "../../www/signal.js";
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

test("signals are those of a call for data, and of a bounded length", () => {
  const call = "0123456789abcdef".repeat(2);
  const read = (value) => readSignal(Buffer.from(JSON.stringify(value)));
  const print = "a=fingerprint:sha-256 00:11\r\n";
  const bare = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
  const sdp = bare + print;
  const offer = { call, kind: "description", opens: true, description: { type: "offer", sdp } };
  assert.deepEqual(read(offer), offer);
  assert.equal(read({ ...offer, opens: "yes" }).opens, false);
  for (const description of [
    { type: "offer", sdp: `${sdp}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n` },
    { type: "offer", sdp: `${sdp}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n` },
    { type: "offer", sdp: `v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n${print}` },
    { type: "offer", sdp: `v=0\r\n${print}` },
    { type: "offer", sdp: bare },
    { type: "offer", sdp: `${print}${sdp}` },
    { type: "offer", sdp: sdp + "a=x\r\n".repeat(7_000) },
    { type: "offer", sdp: 7 },
    { type: "rollback", sdp },
    { sdp },
    null,
    "offer",
  ]) {
    assert.equal(read({ ...offer, description }), undefined, JSON.stringify(description));
  }

  const candidate = { candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host", sdpMid: "0" };
  assert.deepEqual(read({ call, kind: "candidate", candidate }).candidate, candidate);
  for (const other of [{ candidate: "c".repeat(2_000) }, { candidate: 7 }, null, 7]) {
    assert.equal(read({ call, kind: "candidate", candidate: other }), undefined);
  }

  assert.deepEqual(read({ call, kind: "bye", extra: "x".repeat(9_000) }), { call, kind: "bye" });
  for (const other of ["x", call.toUpperCase(), `${call}0`, 7, null, undefined]) {
    assert.equal(read({ call: other, kind: "bye" }), undefined);
  }
  for (const kind of ["constructor", "", 7, null, undefined]) {
    assert.equal(read({ call, kind }), undefined);
  }
  for (const body of [[], [0xff], Buffer.from("{"), Buffer.from("null"), Buffer.from("[[]]")]) {
    assert.equal(readSignal(Uint8Array.from(body)), undefined);
  }
});
