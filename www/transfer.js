// One file on its way, and the limits that both sides keep to.

/** Most files of one side that wait for the other user's answer. */
export const MAX_OFFERS = 8;
const PROGRESS_EVERY_MS = 100;

/**
 *   waiting --> offered --> accepted --> active --> checking --> done
 *                  |            |           |           |
 *                  +------------+-----------+-----------+------> declined, cancelled, failed
 *
 * Only a file that is sent waits before its offer, and only its sender waits for the checksum.
 *
 * Event: `change` (of state or progress).
 */
export class Transfer extends EventTarget {
  state;
  /** Why it was declined, cancelled or failed, as a sentence for the user. */
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

  constructor({ id, outgoing, name, size, file }) {
    super();
    Object.assign(this, { id, outgoing, name, size, file });
    this.state = outgoing ? "waiting" : "offered";
  }

  get isOver() {
    return ["done", "declined", "cancelled", "failed"].includes(this.state);
  }

  enter(state, reason = "") {
    if (this.isOver) return;
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
