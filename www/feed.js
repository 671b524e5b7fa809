// A list of the newest entries, which is drawn once a frame: a flood of entries causes neither a
// layout for each of them nor a list without end.

/** Distance from the end of a list, in pixels, within which it follows new entries. */
const AT_END = 80;

export class Feed {
  #list;
  #limit;
  #newestFirst;
  /** Oldest first. The newest may not be in the document yet. */
  #entries = [];
  #isDue = false;

  /**
   * @param {Element} list
   * @param {object} options
   * @param {number} options.limit most entries; beyond it the oldest is removed
   * @param {boolean} [options.newestFirst] whether the newest entry is at the top
   */
  constructor(list, { limit, newestFirst = false }) {
    this.#list = list;
    this.#limit = limit;
    this.#newestFirst = newestFirst;
  }

  get isEmpty() {
    return !this.#entries.length;
  }

  /**
   * Adds an entry. `isKept` returns whether it stays although newer entries exceed the limit, and
   * `shows` whether the list scrolls to it in any case.
   */
  add(element, { isKept = () => false, shows = false } = {}) {
    this.#entries.push({ element, isKept, shows, isDrawn: false });
    if (this.#entries.length > this.#limit) {
      const oldest = this.#entries.find((entry) => !entry.isKept());
      if (oldest) this.remove(oldest.element);
    }
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => this.#draw());
  }

  remove(element) {
    this.#entries = this.#entries.filter((entry) => entry.element !== element);
    element.remove();
  }

  #draw() {
    this.#isDue = false;
    const list = this.#list;
    const added = this.#entries.filter((entry) => !entry.isDrawn);
    for (const entry of added) entry.isDrawn = true;
    const elements = added.map(({ element }) => element);
    if (this.#newestFirst) {
      list.prepend(...elements.reverse());
      return;
    }
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < AT_END;
    list.append(...elements);
    if (atEnd || added.some(({ shows }) => shows)) list.scrollTop = list.scrollHeight;
  }
}
