// Questions that the server has to answer.

export class Questions {
  #waiting = new Map(); // what is asked for -> resolve and reject of each promise of the answer

  has(key) {
    return this.#waiting.has(key);
  }

  /** Returns a promise of the answer. */
  ask(key) {
    return new Promise((resolve, reject) => {
      const others = this.#waiting.get(key) ?? [];
      this.#waiting.set(key, [...others, { resolve, reject }]);
    });
  }

  answer(key, value) {
    for (const { resolve } of this.#take(key)) resolve(value);
  }

  fail(key, error) {
    for (const { reject } of this.#take(key)) reject(error);
  }

  failAll(error) {
    for (const key of [...this.#waiting.keys()]) this.fail(key, error);
  }

  #take(key) {
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    return waiting;
  }
}
