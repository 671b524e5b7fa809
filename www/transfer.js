// Files over a data channel, in both directions at once.
//
//   sender                                    receiver
//   {kind: "file", id, name, size, type} -->
//   bytes, bytes, bytes ...              -->   counts and hashes them
//   {kind: "end", id, sha256}            -->   compares the hash
//                                        <--  {kind: "got", id, sha256}
//   {kind: "cancel", id}                 -->                              at any time, or
//                                        <--  {kind: "stop", id, reason}
//
// The sender chooses the ids. In each direction it sends one file at a time, in order.

import { Sha256 } from "./sha256.js";

/** Largest file in bytes: a received file is kept in the browser's memory. */
export const MAX_FILE_SIZE = 1 << 30;
const CHUNK = 64 * 1024;
const READ_AHEAD = 1 << 20;
/** Unsent bytes that keep the path busy, but do not delay chat and cancel much. */
const BUFFER_HIGH = 1 << 20;
const BUFFER_LOW = 256 * 1024;
/** Received bytes after which they become a Blob, which the browser may keep on disk. */
const BLOB_EVERY = 8 << 20;
const PROGRESS_EVERY_MS = 100;

/** Events: `change` (state or progress). */
class Transfer extends EventTarget {
  /** "waiting", "active", "checking", "done", "cancelled" or "failed". */
  state = "waiting";
  /** Why it failed or was cancelled, as a sentence for the user. */
  reason = "";
  /** Bytes sent or received. */
  bytes = 0;
  /** In hexadecimal, when done. */
  sha256;
  /** The received file, when done. */
  blob;
  startedAt;
  endedAt;

  #announcedAt = 0;

  constructor({ id, outgoing, name, size, type, file }) {
    super();
    Object.assign(this, { id, outgoing, name, size, type, file });
  }

  get isOver() {
    return ["done", "cancelled", "failed"].includes(this.state);
  }

  enter(state, reason = "") {
    this.state = state;
    this.reason = reason;
    if (state === "active") this.startedAt = performance.now();
    if (this.isOver) this.endedAt = performance.now();
    this.#announce(performance.now());
  }

  advance(count) {
    this.bytes += count;
    const now = performance.now();
    if (now - this.#announcedAt >= PROGRESS_EVERY_MS) this.#announce(now);
  }

  #announce(now) {
    this.#announcedAt = now;
    this.dispatchEvent(new Event("change"));
  }
}

/** Events: `transfer` (detail: the new Transfer), `bytes` (detail: direction, bytes). */
export class Transfers extends EventTarget {
  #channel;
  #chunk;
  #nextId = 1;
  #outgoing = new Map();
  #queue = [];
  #sending = false;
  #incoming;

  constructor(channel, maxMessageSize) {
    super();
    this.#channel = channel;
    this.#chunk = Math.min(CHUNK, maxMessageSize);
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = BUFFER_LOW;
    channel.onmessage = ({ data }) => {
      if (typeof data === "string") this.#handleText(data);
      else this.#handleBytes(data);
    };
    channel.onclose = () => this.#handleClose();
  }

  send(file) {
    const { name, size, type } = file;
    const transfer = new Transfer({ id: this.#nextId++, outgoing: true, name, size, type, file });
    this.#emit("transfer", transfer);
    if (size > MAX_FILE_SIZE) {
      transfer.enter("failed", "Larger than 1 GiB, the most that a page can keep.");
      return;
    }
    this.#outgoing.set(transfer.id, transfer);
    this.#queue.push(transfer);
    this.#sendQueue();
  }

  cancel(transfer) {
    if (transfer.isOver) return;
    const begun = transfer.state !== "waiting";
    transfer.enter("cancelled", "Cancelled.");
    if (!transfer.outgoing) {
      this.#incoming = undefined;
      this.#write({ kind: "stop", id: transfer.id });
    } else if (begun) {
      this.#write({ kind: "cancel", id: transfer.id });
    }
  }

  async #sendQueue() {
    if (this.#sending) return;
    this.#sending = true;
    for (let transfer; (transfer = this.#queue.shift()); ) {
      if (transfer.isOver) continue;
      try {
        await this.#sendFile(transfer);
      } catch {
        // The file was removed from the disk, or the channel was closed.
        if (!transfer.isOver) transfer.enter("failed", "The file could not be read.");
        this.#write({ kind: "cancel", id: transfer.id });
      }
    }
    this.#sending = false;
  }

  async #sendFile(transfer) {
    const { id, file, name, size, type } = transfer;
    const hash = new Sha256();
    transfer.enter("active");
    this.#write({ kind: "file", id, name, size, type });
    for (let start = 0; start < size; start += READ_AHEAD) {
      const bytes = new Uint8Array(await file.slice(start, start + READ_AHEAD).arrayBuffer());
      hash.update(bytes);
      for (let at = 0; at < bytes.length; at += this.#chunk) {
        await this.#room();
        if (transfer.isOver) return;
        const chunk = bytes.subarray(at, at + this.#chunk);
        this.#channel.send(chunk);
        transfer.advance(chunk.length);
        this.#emit("bytes", { direction: "out", bytes: chunk.length });
      }
    }
    if (transfer.isOver) return;
    transfer.sha256 = hash.digest();
    transfer.enter("checking");
    this.#write({ kind: "end", id, sha256: transfer.sha256 });
  }

  /** Waits until the channel has few unsent bytes. */
  async #room() {
    if (this.#channel.bufferedAmount < BUFFER_HIGH) return;
    await new Promise((resolve) => {
      const done = () => {
        this.#channel.removeEventListener("bufferedamountlow", done);
        this.#channel.removeEventListener("close", done);
        resolve();
      };
      this.#channel.addEventListener("bufferedamountlow", done);
      this.#channel.addEventListener("close", done);
    });
  }

  #handleText(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // Not a message of this page: the other side may send anything.
    }
    switch (message?.kind) {
      case "file":
        this.#handleFile(message);
        break;
      case "end":
        this.#handleEnd(message);
        break;
      case "cancel":
        if (this.#incoming?.transfer.id !== message.id) return;
        this.#incoming.transfer.enter("cancelled", "Cancelled by the other side.");
        this.#incoming = undefined;
        break;
      case "got":
        this.#handleGot(message);
        break;
      case "stop":
        this.#handleStop(message);
        break;
    }
  }

  #handleStop({ id, reason }) {
    const text =
      reason === "size" ? "Too large for the other side." : "Cancelled by the other side.";
    this.#finish(id, "cancelled", text);
  }

  #handleFile({ id, name, size, type }) {
    if (!Number.isSafeInteger(id) || !Number.isSafeInteger(size) || size < 0) return;
    this.#incoming?.transfer.enter("failed", "The other side started another file before the end.");
    this.#incoming = undefined;
    const transfer = new Transfer({
      id,
      outgoing: false,
      name: String(name).slice(0, 255) || "file",
      size,
      type: String(type).slice(0, 255),
    });
    this.#emit("transfer", transfer);
    if (size > MAX_FILE_SIZE) {
      transfer.enter("failed", "Larger than 1 GiB, the most that a page can keep.");
      this.#write({ kind: "stop", id, reason: "size" });
      return;
    }
    transfer.enter("active");
    this.#incoming = { transfer, hash: new Sha256(), parts: [], loose: [], looseBytes: 0 };
  }

  #handleBytes(data) {
    // After a cancel, bytes that are still on their way belong to no transfer.
    const incoming = this.#incoming;
    if (!incoming) return;
    const { transfer } = incoming;
    if (transfer.bytes + data.byteLength > transfer.size) {
      this.#reject("The other side sent more bytes than announced.");
      return;
    }
    incoming.hash.update(new Uint8Array(data));
    incoming.loose.push(data);
    incoming.looseBytes += data.byteLength;
    if (incoming.looseBytes >= BLOB_EVERY) {
      incoming.parts.push(new Blob(incoming.loose));
      incoming.loose = [];
      incoming.looseBytes = 0;
    }
    transfer.advance(data.byteLength);
    this.#emit("bytes", { direction: "in", bytes: data.byteLength });
  }

  #handleEnd({ id, sha256 }) {
    const incoming = this.#incoming;
    if (incoming?.transfer.id !== id) return;
    const { transfer, hash, parts, loose } = incoming;
    const digest = hash.digest();
    if (transfer.bytes !== transfer.size || digest !== sha256) {
      this.#reject("The received file differs from the one that was sent.");
      return;
    }
    this.#incoming = undefined;
    transfer.sha256 = digest;
    transfer.blob = new Blob([...parts, ...loose], { type: transfer.type });
    transfer.enter("done");
    this.#write({ kind: "got", id, sha256: digest });
  }

  #reject(reason) {
    const { transfer } = this.#incoming;
    this.#incoming = undefined;
    transfer.enter("failed", reason);
    this.#write({ kind: "stop", id: transfer.id });
  }

  #handleGot({ id, sha256 }) {
    const transfer = this.#outgoing.get(id);
    if (transfer?.state !== "checking") return;
    if (sha256 === transfer.sha256) this.#finish(id, "done");
    else this.#finish(id, "failed", "The received file differs from the one that was sent.");
  }

  #finish(id, state, reason) {
    const transfer = this.#outgoing.get(id);
    this.#outgoing.delete(id);
    if (transfer && !transfer.isOver) transfer.enter(state, reason);
  }

  #handleClose() {
    const all = [...this.#outgoing.values(), this.#incoming?.transfer];
    this.#incoming = undefined;
    this.#outgoing.clear();
    for (const transfer of all) {
      if (transfer && !transfer.isOver) transfer.enter("failed", "The connection ended first.");
    }
  }

  #write(message) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(message));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
