// Files that this side sends: offered in order, and sent one at a time in the order of acceptance.

import { sendMessage } from "./message.js";
import { MAX_ROOM } from "./room.js";
import { Sha256 } from "./sha256.js";
import { safeName } from "./text.js";
import { MAX_OFFERS, Transfer } from "./transfer.js";

const MAX_CHUNK = 64 * 1024;
/** Smaller messages would cost more memory around the bytes than for them. */
const MIN_CHUNK = 1024;
const READ_AHEAD = 1 << 20;
/** Unsent bytes that keep the path busy, but do not delay chat and cancel much. */
const BUFFER_HIGH = 1 << 20;
const BUFFER_LOW = 256 * 1024;

/** Why the other side does not take a file, by the reason in its message. */
const STOPPED = new Map([
  ["declined", ["declined", "Declined by the other side."]],
  ["size", ["declined", "Refused: the other page takes files of at most 1 GiB."]],
  ["room", ["declined", "Refused: the other page has no room until files there are removed."]],
  ["offers", ["declined", "Refused: too many files wait for an answer there."]],
  ["differs", ["failed", "The received file differs from the one that was sent."]],
]);
const CANCELLED = ["cancelled", "Cancelled by the other side."];

/** Events: `transfer` (detail: the new Transfer), `bytes` (detail: their number). */
export class Outgoing extends EventTarget {
  #channel;
  #chunk;
  #nextId = 1;
  /** From the choice of the file to the end of its transfer, by id. */
  #transfers = new Map();
  #accepted = [];
  #isSending = false;

  constructor(channel, maxMessageSize) {
    super();
    this.#channel = channel;
    this.#chunk = Math.max(MIN_CHUNK, Math.min(MAX_CHUNK, maxMessageSize));
    channel.bufferedAmountLowThreshold = BUFFER_LOW;
  }

  send(file) {
    const { size } = file;
    const name = safeName(file.name);
    const transfer = new Transfer({ id: this.#nextId++, outgoing: true, name, size, file });
    this.#transfers.set(transfer.id, transfer);
    this.#emit("transfer", transfer);
    if (size > MAX_ROOM) this.#end(transfer, "failed", "Larger than 1 GiB, the most to send.");
    else this.#offer();
  }

  cancel(transfer) {
    if (transfer.isOver) return;
    if (transfer.state !== "waiting") this.#write({ kind: "cancel", id: transfer.id });
    this.#end(transfer, "cancelled", "Cancelled.");
  }

  handleAccept({ id }) {
    const transfer = this.#transfers.get(id);
    if (transfer?.state !== "offered") return;
    transfer.enter("accepted");
    this.#accepted.push(transfer);
    this.#offer();
    this.#sendAccepted();
  }

  handleGot({ id, sha256 }) {
    const transfer = this.#transfers.get(id);
    if (transfer?.state !== "checking") return;
    if (sha256 === transfer.sha256) this.#end(transfer, "done");
    else this.#end(transfer, ...STOPPED.get("differs"));
  }

  handleStop({ id, reason }) {
    const transfer = this.#transfers.get(id);
    if (transfer) this.#end(transfer, ...(STOPPED.get(reason) ?? CANCELLED));
  }

  handleClose() {
    const all = [...this.#transfers.values()];
    this.#transfers.clear();
    for (const transfer of all) transfer.enter("failed", "The connection ended first.");
  }

  /** Offers the next files, as many as may wait for an answer. */
  #offer() {
    const transfers = [...this.#transfers.values()];
    const offered = transfers.filter(({ state }) => state === "offered").length;
    const waiting = transfers.filter(({ state }) => state === "waiting");
    for (const transfer of waiting.slice(0, MAX_OFFERS - offered)) {
      if (transfer.state !== "waiting") continue; // offered after another one failed
      transfer.enter("offered");
      const { id, name, size } = transfer;
      const isSent = this.#write({ kind: "offer", id, name, size });
      if (!isSent) this.#end(transfer, "failed", "The other page takes no messages.");
    }
  }

  async #sendAccepted() {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let transfer; (transfer = this.#accepted.shift()); ) {
      if (transfer.isOver) continue;
      try {
        await this.#sendFile(transfer);
      } catch {
        // The file was removed from the disk, or the channel was closed.
        if (!transfer.isOver) this.#write({ kind: "cancel", id: transfer.id });
        this.#end(transfer, "failed", "The file could not be read.");
      }
    }
    this.#isSending = false;
  }

  async #sendFile(transfer) {
    const { id, file, size } = transfer;
    const hash = new Sha256();
    transfer.enter("active");
    this.#write({ kind: "begin", id });
    for (let start = 0; start < size; start += READ_AHEAD) {
      const bytes = new Uint8Array(await file.slice(start, start + READ_AHEAD).arrayBuffer());
      hash.update(bytes);
      for (let at = 0; at < bytes.length; at += this.#chunk) {
        await this.#drain();
        if (transfer.isOver) return;
        const chunk = bytes.subarray(at, at + this.#chunk);
        this.#channel.send(chunk);
        transfer.advance(chunk.length);
        this.#emit("bytes", chunk.length);
      }
    }
    if (transfer.isOver) return;
    transfer.sha256 = hash.digest();
    transfer.enter("checking");
    this.#write({ kind: "end", id, sha256: transfer.sha256 });
  }

  /** Waits until the channel has few unsent bytes. */
  async #drain() {
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

  #end(transfer, state, reason) {
    this.#transfers.delete(transfer.id);
    transfer.enter(state, reason);
    this.#offer();
  }

  /** Returns whether the message could be sent. */
  #write(message) {
    return sendMessage(this.#channel, message) > 0;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
