// Arguments of applications, checked.

import { WaddellError } from "./wasm.js";

export function parseOptions(url, options) {
  checkObject(options);
  const {
    reconnectAttempts = 10,
    connectTimeoutMs = 10_000,
    keepAliveMs = Infinity,
    silenceTimeoutMs = 60_000,
    extension = true,
    resume = false,
    ice = extension,
    token,
    maxBufferedAmount = 1 << 20,
    protocols = [],
    WebSocket = globalThis.WebSocket,
    signal,
    ...unknown
  } = options;
  refuseOthers(unknown);
  const isCount = Number.isInteger(reconnectAttempts) || reconnectAttempts === Infinity;
  if (!isCount || reconnectAttempts < 0) {
    throw invalidOption("reconnectAttempts", "a whole number of at least 0, or Infinity");
  }
  for (const [name, ms] of Object.entries({ connectTimeoutMs, keepAliveMs, silenceTimeoutMs })) {
    if (typeof ms !== "number" || !(ms >= 1)) {
      throw invalidOption(name, "at least 1 millisecond, or Infinity for never");
    }
  }
  if (typeof maxBufferedAmount !== "number" || !(maxBufferedAmount >= 0)) {
    throw invalidOption("maxBufferedAmount", "a number of bytes, or Infinity");
  }
  for (const [name, value] of Object.entries({ extension, resume, ice })) {
    if (typeof value !== "boolean") throw invalidOption(name, "true or false");
  }
  for (const [name, isSet] of Object.entries({ resume, ice, token: token !== undefined })) {
    if (isSet && !extension) throw invalidOption(name, "absent if extension is false");
  }
  if (token !== undefined && typeof token !== "function") checkToken(token);
  checkSignal(signal);
  const isProtocol = (value) => typeof value === "string";
  if (!isProtocol(protocols) && !(Array.isArray(protocols) && protocols.every(isProtocol))) {
    throw invalidOption("protocols", "a string or an array of strings");
  }
  if (WebSocket === undefined) {
    throw new WaddellError(
      "no-websocket",
      "this environment has no WebSocket: pass a constructor as the option WebSocket " +
        '(Node before 22: `import { WebSocket } from "ws"`)',
    );
  }
  if (typeof WebSocket !== "function") throw invalidOption("WebSocket", "a constructor");
  return {
    urls: parseUrls(url),
    reconnectAttempts,
    connectTimeoutMs,
    keepAliveMs,
    silenceTimeoutMs,
    extension,
    resume,
    ice,
    token: typeof token === "function" ? () => requestToken(token) : token,
    maxBufferedAmount,
    protocols,
    WebSocket,
    signal,
  };
}

export function parseSendOptions(options = {}) {
  checkObject(options);
  const { signal, ...unknown } = options;
  refuseOthers(unknown);
  checkSignal(signal);
  return { signal };
}

/** Calls an application's function for a token. */
async function requestToken(getToken) {
  try {
    const token = await getToken();
    checkToken(token);
    return token;
  } catch (cause) {
    throw new WaddellError("token-failed", `there is no token: ${cause?.message ?? cause}`, {
      cause,
    });
  }
}

function checkToken(token) {
  const isToken = typeof token === "string" && token !== "" && toUtf8(token).length <= 4_096;
  if (!isToken) throw invalidOption("token", "a string of 1 to 4,096 bytes, or a function for one");
}

function checkObject(options) {
  // Other kinds of objects, such as arrays and signals, have no property that is an option.
  if (kindOf(options) !== "Object") throw invalidOption("the options argument", "an object");
}

function refuseOthers(unknown) {
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw new WaddellError("invalid-option", `there is no option ${stranger}`);
  }
}

function checkSignal(signal) {
  const isSignal = typeof signal?.addEventListener === "function" && "aborted" in signal;
  if (signal !== undefined && !isSignal) throw invalidOption("signal", "an AbortSignal");
}

function invalidOption(name, expected) {
  return new WaddellError("invalid-option", `${name} must be ${expected}`);
}

function parseUrls(url) {
  return Array.isArray(url) && url.length > 0 ? url.map(parseUrl) : [parseUrl(url)];
}

/** Accepts ws: and wss:, or http: and https: in their place; in a page relative URLs, too. */
function parseUrl(url) {
  const invalid = (cause) =>
    new WaddellError("invalid-url", "the URL must be like wss://host/ws", { cause });
  // Other values would become strings, and relative addresses: "/undefined", say.
  const isAddress = typeof url === "string" ? url.trim() !== "" : kindOf(url) === "URL";
  if (!isAddress) throw invalid();
  let parsed;
  try {
    parsed = new URL(url, globalThis.location?.href);
  } catch (cause) {
    throw invalid(cause);
  }
  parsed.hash = "";
  const address = parsed.href.replace(/^http/, "ws");
  if (!/^wss?:/.test(address)) throw invalid();
  return address;
}

const encoder = new TextEncoder();

export function toUtf8(text) {
  return encoder.encode(text);
}

/** Returns the name of a value's class, because another frame's classes are other objects. */
export function kindOf(value) {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}
