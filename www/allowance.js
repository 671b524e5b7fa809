// An allowance: how often the other side may cause something.

export class Allowance {
  #most;
  #everyMs;
  #left;
  #countedAt = performance.now();

  /** Allows `most` at once, and another one each `everyMs` milliseconds. */
  constructor({ most, everyMs }) {
    this.#most = most;
    this.#everyMs = everyMs;
    this.#left = most;
  }

  /** Uses up one. Returns false if none is left. */
  take() {
    const now = performance.now();
    this.#left = Math.min(this.#left + (now - this.#countedAt) / this.#everyMs, this.#most);
    this.#countedAt = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
