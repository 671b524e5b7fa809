// HELLO in the upgrade to WebSocket, as a subprotocol.

/** Returns the subprotocols to offer with that body of HELLO. */
export function upgradeProtocols(hello) {
  const base64 = btoa(String.fromCharCode(...hello));
  const base64url = base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return [SUBPROTOCOL, `waddell.2.hello.${base64url}`, "waddell"];
}

/** What the server chooses if it has read HELLO. */
export const SUBPROTOCOL = "waddell.2";
