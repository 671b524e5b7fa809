// Checked messages whose outcome is not known yet.

import { DRAIN } from "./commands.js";
import { sendError } from "./errors.js";
import { WaddellError } from "./wasm.js";

export class Checks {
  #driver;
  #waiting = new Map(); // ticket -> resolve and reject of the outcome's promise

  constructor(driver) {
    this.#driver = driver;
  }

  /** Sends a message, and returns a promise of its outcome. */
  send(id, topic, body) {
    const ticket = this.#driver.send(id, topic, body, true);
    if (ticket < 0) throw sendError(ticket);
    const outcome = new Promise((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject });
    });
    this.#driver.call(DRAIN);
    return outcome;
  }

  /** Called by the driver. `message` is an error's, or empty. */
  settle(outcome, message, ticket) {
    const { resolve, reject } = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    if (message) reject(new WaddellError(outcome, message));
    else resolve(outcome);
  }
}
