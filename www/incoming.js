// Files that the other side offers. None is taken before the user accepts it, and what a received
// file may hold is bounded by the room that was kept for it.

import { sendMessage } from "./message.js";
import { MAX_ROOM } from "./room.js";
import { Sha256 } from "./sha256.js";
import { safeName } from "./text.js";
import { MAX_OFFERS, Transfer } from "./transfer.js";

/** Received bytes after which they become a Blob, which the browser may keep on disk. */
const BLOB_EVERY = 8 << 20;

/**
 * Events: `transfer` (detail: the new Transfer), `bytes` (detail: their number), `refused` (detail:
 * the name of a file that was not offered to the user).
 */
export class Incoming extends EventTarget {
  #channel;
  #room;
  /** From the offer of a file to the end of its transfer, by the id that the sender chose. */
  #transfers = new Map();
  /** The file whose bytes arrive. */
  #current;

  /** `room` is the Room for the files of all calls. */
  constructor(channel, room) {
    super();
    this.#channel = channel;
    this.#room = room;
    channel.binaryType = "arraybuffer";
  }

  /** Asks the sender for an offered file. */
  accept(transfer) {
    if (transfer.state !== "offered") return;
    if (this.#room.keep(transfer)) {
      transfer.enter("accepted");
      this.#write({ kind: "accept", id: transfer.id });
    } else {
      this.#stop(transfer, "room", "declined", "No room. Remove received files, and ask again.");
    }
  }

  decline(transfer) {
    this.#stop(transfer, "declined", "declined", "Declined.");
  }

  cancel(transfer) {
    this.#stop(transfer, "cancelled", "cancelled", "Cancelled.");
  }

  handleOffer({ id, name, size }) {
    if (!Number.isSafeInteger(id) || !Number.isSafeInteger(size) || size < 0) return;
    if (this.#transfers.has(id)) return;
    const transfers = [...this.#transfers.values()];
    const offered = transfers.filter(({ state }) => state === "offered").length;
    const refusal = size > MAX_ROOM ? "size" : offered >= MAX_OFFERS ? "offers" : undefined;
    if (refusal) {
      this.#write({ kind: "stop", id, reason: refusal });
      this.#emit("refused", safeName(name));
      return;
    }
    const transfer = new Transfer({ id, outgoing: false, name: safeName(name), size });
    this.#transfers.set(id, transfer);
    this.#emit("transfer", transfer);
  }

  handleBegin({ id }) {
    const transfer = this.#transfers.get(id);
    if (transfer?.state !== "accepted") return;
    if (this.#current) {
      const reason = "The other side began another file before the end.";
      this.#stop(this.#current.transfer, "cancelled", "failed", reason);
    }
    // One buffer rather than a list of what arrives: messages of a byte would cost a hundred each.
    const buffer = new Uint8Array(Math.min(BLOB_EVERY, transfer.size));
    this.#current = { transfer, hash: new Sha256(), blobs: [], buffer, used: 0 };
    transfer.enter("active");
  }

  handleBytes(data) {
    const current = this.#current;
    // After a cancel, bytes that are still on their way belong to no transfer.
    if (!current || !data.byteLength) return;
    const { transfer, hash, blobs, buffer } = current;
    if (transfer.bytes + data.byteLength > transfer.size) {
      this.#stop(transfer, "differs", "failed", "The other side sent more bytes than announced.");
      return;
    }
    const bytes = new Uint8Array(data);
    hash.update(bytes);
    for (let at = 0; at < bytes.length; ) {
      if (current.used === buffer.length) {
        blobs.push(new Blob([buffer]));
        current.used = 0;
      }
      const part = bytes.subarray(at, at + buffer.length - current.used);
      buffer.set(part, current.used);
      at += part.length;
      current.used += part.length;
    }
    transfer.advance(bytes.length);
    this.#emit("bytes", bytes.length);
  }

  handleEnd({ id, sha256 }) {
    const current = this.#current;
    if (!current || current.transfer.id !== id) return;
    const { transfer, hash, blobs, buffer, used } = current;
    const digest = hash.digest();
    if (transfer.bytes !== transfer.size || digest !== sha256) {
      const reason = "The received file differs from the one that was sent.";
      this.#stop(transfer, "differs", "failed", reason);
      return;
    }
    transfer.sha256 = digest;
    // Of no type of the sender's choice: opened in a tab, a document would run on this page's
    // origin.
    const type = "application/octet-stream";
    transfer.blob = new Blob([...blobs, buffer.subarray(0, used)], { type });
    this.#end(transfer, "done");
    this.#write({ kind: "got", id, sha256: digest });
  }

  handleCancel({ id }) {
    const transfer = this.#transfers.get(id);
    if (transfer) this.#end(transfer, "cancelled", "Cancelled by the other side.");
  }

  handleClose() {
    for (const transfer of [...this.#transfers.values()]) {
      this.#end(transfer, "failed", "The connection ended first.");
    }
  }

  #stop(transfer, told, state, reason) {
    if (transfer.isOver) return;
    this.#write({ kind: "stop", id: transfer.id, reason: told });
    this.#end(transfer, state, reason);
  }

  #end(transfer, state, reason) {
    this.#transfers.delete(transfer.id);
    if (this.#current?.transfer === transfer) this.#current = undefined;
    if (state !== "done") this.#room.free(transfer);
    transfer.enter(state, reason);
  }

  #write(message) {
    sendMessage(this.#channel, message);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
