// The room for received files, which stay in the browser's memory until they are removed.

/** Largest sum of their sizes, in bytes. It is also the size of the largest file. */
export const MAX_ROOM = 1 << 30;

export class Room {
  #files = new Set();

  /** Keeps room for the whole of a file. Returns false if there is not enough. */
  keep(file) {
    let used = file.size;
    for (const { size } of this.#files) used += size;
    if (used > MAX_ROOM) return false;
    this.#files.add(file);
    return true;
  }

  /** Makes a file's room free again. */
  free(file) {
    this.#files.delete(file);
  }
}
