// Abort signals of applications.

import { WaddellError } from "./wasm.js";

export function abortedBy(signal) {
  return new WaddellError("aborted", "the signal was aborted", { cause: signal.reason });
}

/** Calls `start`. Rejects if the signal is aborted before its promise is settled. */
export async function unlessAborted(signal, start) {
  if (!signal) return start();
  if (signal.aborted) throw abortedBy(signal);
  let abort;
  const aborted = new Promise((_, reject) => (abort = () => reject(abortedBy(signal))));
  signal.addEventListener("abort", abort);
  try {
    const result = await Promise.race([start(), aborted]);
    if (signal.aborted) throw abortedBy(signal);
    return result;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
