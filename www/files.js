// Files over a data channel, in both directions at once. A user accepts each file before its bytes
// are sent.
//
//   sender                               receiver
//   {kind: "offer", id, name, size} -->  asks its user
//                                   <--  {kind: "accept", id}
//   {kind: "begin", id}             -->
//   bytes, bytes, bytes ...         -->  counts and hashes them
//   {kind: "end", id, sha256}       -->  compares the hash
//                                   <--  {kind: "got", id, sha256}
//   {kind: "cancel", id}            -->                               at any time, or
//                                   <--  {kind: "stop", id, reason}
//
// The sender chooses the ids. In each direction it sends one file at a time.

import { Incoming } from "./incoming.js";
import { readMessage } from "./message.js";
import { Outgoing } from "./outgoing.js";

/**
 * Events: `transfer` (detail: the new Transfer), `bytes` (detail: direction, bytes), `refused`
 * (detail: the name of a file that the user is not asked about).
 */
export class Files extends EventTarget {
  #outgoing;
  #incoming;

  /** `room` is the Room for the received files of all calls. */
  constructor(channel, maxMessageSize, room) {
    super();
    const outgoing = (this.#outgoing = new Outgoing(channel, maxMessageSize));
    const incoming = (this.#incoming = new Incoming(channel, room));
    for (const [direction, part] of [["out", outgoing], ["in", incoming]]) {
      part.addEventListener("transfer", ({ detail }) => this.#emit("transfer", detail));
      part.addEventListener("bytes", ({ detail }) =>
        this.#emit("bytes", { direction, bytes: detail }),
      );
    }
    incoming.addEventListener("refused", ({ detail }) => this.#emit("refused", detail));
    channel.onmessage = ({ data }) => {
      if (typeof data === "string") this.#handleMessage(readMessage(data));
      else incoming.handleBytes(data);
    };
    channel.onclose = () => this.close();
  }

  send(file) {
    this.#outgoing.send(file);
  }

  accept(transfer) {
    this.#incoming.accept(transfer);
  }

  decline(transfer) {
    this.#incoming.decline(transfer);
  }

  cancel(transfer) {
    if (transfer.outgoing) this.#outgoing.cancel(transfer);
    else this.#incoming.cancel(transfer);
  }

  /** Ends all transfers. */
  close() {
    this.#outgoing.handleClose();
    this.#incoming.handleClose();
  }

  #handleMessage(message) {
    switch (message?.kind) {
      case "offer":
        this.#incoming.handleOffer(message);
        break;
      case "begin":
        this.#incoming.handleBegin(message);
        break;
      case "end":
        this.#incoming.handleEnd(message);
        break;
      case "cancel":
        this.#incoming.handleCancel(message);
        break;
      case "accept":
        this.#outgoing.handleAccept(message);
        break;
      case "got":
        this.#outgoing.handleGot(message);
        break;
      case "stop":
        this.#outgoing.handleStop(message);
        break;
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
