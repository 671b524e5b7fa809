// Signals: what two pages say through the server, as JSON objects in UTF-8.
//
//   {call, kind: "description", opens, description}    an offer or an answer
//   {call, kind: "candidate", candidate}
//   {call, kind: "moved", proof}                       the sender has connected again
//   {call, kind: "busy"}  {call, kind: "bye"}
//
// `call` is the token of the call, and `opens` is true in the first signals of its caller. `proof`
// are the fingerprints of both pages' certificates, once the call is connected.

const TOKEN = /^[0-9a-f]{32}$/;
/** A description with a hundred candidates has half of this. */
const MAX_SDP_LENGTH = 32_768;
const MAX_CANDIDATE_LENGTH = 1_024;

/** Returns a new token of a call. */
export function randomToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns the signal in a message's body, or undefined: any peer may send anything. */
export function readSignal(body) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
  const { call, kind, opens, description, candidate } = value ?? {};
  if (typeof call !== "string" || !TOKEN.test(call)) return undefined;
  switch (kind) {
    case "description":
      if (!isDescription(description)) return undefined;
      return { call, kind, opens: opens === true, description };
    case "candidate":
      return isCandidate(candidate) ? { call, kind, candidate } : undefined;
    case "moved":
      return { call, kind, proof: value.proof };
    case "busy":
    case "bye":
      return { call, kind };
    default:
      return undefined;
  }
}

/**
 * Returns whether a value describes a connection for data alone, with one certificate. Each further
 * section of an SDP would make the browser set up a camera's or a microphone's receiver.
 */
function isDescription(value) {
  if (!["offer", "answer"].includes(value?.type) || typeof value.sdp !== "string") return false;
  if (value.sdp.length > MAX_SDP_LENGTH) return false;
  const sections = value.sdp.match(/^m=\w*/gm) ?? [];
  const isData = sections.length === 1 && sections[0] === "m=application";
  // With several, the one that is shown could be another than the one that the browser checks.
  return isData && value.sdp.match(/^a=fingerprint:/gm)?.length === 1;
}

function isCandidate(value) {
  return typeof value?.candidate === "string" && value.candidate.length <= MAX_CANDIDATE_LENGTH;
}
