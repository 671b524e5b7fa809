// Checked messages whose outcome is not known yet.

import { WaddellError } from "./wasm.js";

export class Checks {
  #driver;
  #waiting = new Map(); // ticket -> resolve and reject of the outcome's promise

  constructor(driver) {
    this.#driver = driver;
  }

  /** Sends a message, and returns a promise of its outcome. */
  send(peerId, topic, parts) {
    const ticket = this.#driver.acceptChecked(peerId, topic, parts);
    const outcome = new Promise((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject });
    });
    this.#driver.drain();
    return outcome;
  }

  /** Called by the driver. `message` is an error's. */
  settle(ticket, outcome, message) {
    const { resolve, reject } = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    if (message === undefined) resolve(outcome);
    else reject(new WaddellError(outcome, message));
  }
}
