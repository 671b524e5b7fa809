// Helpers for the document, and for numbers in text.

/** Returns the element with an id of index.html. */
export function find(id) {
  return document.getElementById(id);
}

/** Makes an element with a class and children. */
export function make(name, className, ...children) {
  const element = document.createElement(name);
  element.className = className;
  element.append(...children);
  return element;
}

/** Announces a text to screen readers. */
export function announce(text) {
  find("announcer").textContent = text;
}

/** Formats a size: 999 -> "999 B", 1234567 -> "1.23 MB". */
export function formatBytes(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  const value = bytes / 1000 ** power;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[power - 1]}`;
}

export function formatMilliseconds(ms) {
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

/** Returns the first group of an id, which is enough to distinguish two. */
export function shortId(id) {
  return `${id.slice(0, 8)}…`;
}
