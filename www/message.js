// Messages between the two pages: JSON objects with a `kind`, over a data channel. The other side
// may send anything, and may read nothing.

/** Unsent bytes in a channel beyond which nothing more is written: the other side does not read. */
const MAX_UNSENT = 4 << 20;

/** Sends a message. Returns its length in UTF-16 code units, or 0 if it cannot be sent. */
export function sendMessage(channel, message) {
  if (channel.readyState !== "open" || channel.bufferedAmount > MAX_UNSENT) return 0;
  const text = JSON.stringify(message);
  try {
    channel.send(text);
  } catch {
    return 0; // It is longer than the other side allows.
  }
  return text.length;
}

/** Returns the message that has arrived, or undefined if it is none. */
export function readMessage(data) {
  if (typeof data !== "string") return undefined;
  try {
    const message = JSON.parse(data);
    return typeof message?.kind === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
