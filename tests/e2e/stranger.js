// A hostile other side: a browser with the real client and a real connection, whose signals and
// messages are those that a test makes.

import { idOf } from "./harness.js";

/** Opens a stranger. In its page, `stranger` has the functions below. */
export async function openStranger(browser, server) {
  // A document of the server without scripts, and without an icon of its own.
  const page = await browser.open(`${server.page}icon.svg`, { expect: /404/ });
  await page.evaluate(makeStranger);
  return page;
}

/** Opens a page and a stranger that has called it, and waits until they are connected. */
export async function openVictim(browser, server, options) {
  const page = await browser.open(server.page, options);
  const stranger = await openStranger(browser, server);
  await stranger.evaluate((id) => window.stranger.call(id), await idOf(page));
  return [page, stranger];
}

/** Resolves to the message that a stranger has got over its channel for files. */
export async function told(stranger, message) {
  await stranger.evaluate((message) => window.stranger.told(message), message);
}

/** Runs in the stranger's page. */
async function makeStranger() {
  const { default: init, Client } = await import("/pkg/waddell.js");
  await init();
  const client = await Client.connect("/ws");
  const topic = client.topic(1);
  const decoder = new TextDecoder();
  const stranger = (window.stranger = {
    Client,
    id: client.id,
    token: crypto.randomUUID().replaceAll("-", ""),
    /** Everything that has arrived: through the server, and over each channel. */
    signals: [],
    talk: [],
    files: [],
    onSignal: () => {},
    /** Calls a peer. Resolves to its channels when they are open. */
    async call(id, token = stranger.token) {
      const connection = new RTCPeerConnection();
      stranger.onSignal = async ({ call, description, candidate }) => {
        if (call !== token) return;
        if (description) await connection.setRemoteDescription(description);
        if (candidate) await connection.addIceCandidate(candidate);
      };
      connection.onicecandidate = ({ candidate }) =>
        candidate && stranger.signal(id, { call: token, kind: "candidate", candidate });
      const opened = ["talk", "files"].map((name, id) => {
        const channel = connection.createDataChannel(name, { negotiated: true, id });
        channel.onmessage = ({ data }) => stranger[name].push(JSON.parse(data));
        stranger[`${name}Channel`] = channel;
        return new Promise((done) => (channel.onopen = done));
      });
      await connection.setLocalDescription();
      const description = connection.localDescription;
      stranger.signal(id, { call: token, kind: "description", opens: true, description });
      await Promise.all(opened);
    },
    close: () => client.close(),
    signal: (id, signal) => topic.send(id, JSON.stringify(signal)),
    say: (message) => stranger.talkChannel.send(JSON.stringify(message)),
    tell: (message) => stranger.filesChannel.send(JSON.stringify(message)),
    /** Sends bytes, and waits while the channel has many unsent ones. */
    async sendBytes(bytes) {
      const channel = stranger.filesChannel;
      while (channel.bufferedAmount > 1 << 20) await new Promise((done) => setTimeout(done));
      channel.send(bytes);
    },
    /** Resolves when a message with these values has arrived over the channel for files. */
    async told(values) {
      const fits = (message) => Object.entries(values).every(([key, of]) => message[key] === of);
      while (!stranger.files.some(fits)) await new Promise((done) => setTimeout(done));
    },
  });
  topic.addEventListener("message", ({ detail: { from, body } }) => {
    const signal = JSON.parse(decoder.decode(body));
    stranger.signals.push({ from, ...signal });
    stranger.onSignal(signal);
  });
}
