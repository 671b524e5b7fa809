// A WebRTC connection to one other peer, by the "perfect negotiation" pattern of the WebRTC
// specification: either side may offer at any time, and when two offers cross, the polite side
// takes back its own. Any transport can carry the signals: they leave through `send` and arrive
// through `handleSignal`, in order.

/** Returns whether the local peer is the polite one. The remote peer gets the opposite answer. */
export function isPolite(localId, remoteId) {
  return localId < remoteId;
}

/**
 * Events: `state` (detail: the RTCPeerConnection's `connectionState`), `ice` (detail: which part
 * and its value), `error` (detail: an Error; the connection continues).
 */
export class Peer extends EventTarget {
  /** The data channels by name. Both sides make the same ones. */
  channels = {};

  #connection;
  #polite;
  #send;
  #makingOffer = false;
  #ignoringOffer = false;
  /** Settles once all earlier signals are handled. */
  #handled = Promise.resolve();
  /** Number of signals that are not handled yet. */
  #waiting = 0;
  /** Number of the other side's candidates since its last description. */
  #candidates = 0;
  #gatheringBegun;

  /**
   * @param {object} options
   * @param {boolean} options.polite from `isPolite`
   * @param {(signal: {description?: object, candidate?: object}) => void} options.send
   * @param {Record<string, number>} options.channels names and stream numbers of data channels
   * @param {RTCConfiguration} [options.config]
   */
  constructor({ polite, send, channels, config }) {
    super();
    this.#polite = polite;
    this.#send = send;
    const connection = (this.#connection = new RTCPeerConnection(config));
    connection.onnegotiationneeded = () => this.#offer();
    let gatheringBegins;
    this.#gatheringBegun = new Promise((resolve) => (gatheringBegins = resolve));
    connection.onicecandidate = ({ candidate }) => {
      gatheringBegins();
      if (candidate) send({ candidate: candidate.toJSON() });
    };
    connection.onconnectionstatechange = () => this.#emit("state", connection.connectionState);
    connection.oniceconnectionstatechange = () =>
      this.#emit("ice", { part: "connection", value: connection.iceConnectionState });
    connection.onicegatheringstatechange = () =>
      this.#emit("ice", { part: "gathering", value: connection.iceGatheringState });
    connection.onsignalingstatechange = () =>
      this.#emit("ice", { part: "signaling", value: connection.signalingState });
    for (const [name, id] of Object.entries(channels)) {
      this.channels[name] = connection.createDataChannel(name, { negotiated: true, id });
    }
  }

  /**
   * Handles a signal from the other side's `send`. Never throws. Drops signals beyond what a
   * connection needs.
   */
  handleSignal(signal) {
    if (this.#waiting === MAX_WAITING) return this.#handled;
    this.#waiting++;
    // In order: a candidate has to wait until its description is applied.
    this.#handled = this.#handled.then(() => this.#handle(signal));
    return this.#handled;
  }

  async #handle({ description, candidate }) {
    try {
      if (description) await this.#handleDescription(description);
      else if (candidate) await this.#handleCandidate(candidate);
    } catch (error) {
      this.#emit("error", error);
    } finally {
      this.#waiting--;
    }
  }

  /** Looks for a new path, for example after a change of network. Sends signals. */
  restartIce() {
    this.#connection.restartIce();
  }

  close() {
    this.#connection.close();
  }

  get state() {
    return this.#connection.connectionState;
  }

  /** Longest message on a data channel, in bytes. */
  get maxMessageSize() {
    return this.#connection.sctp?.maxMessageSize || 16_384;
  }

  /** Both sides' certificate fingerprints, or undefined while one is unknown. */
  get fingerprints() {
    const of = (description) => /^a=fingerprint:(.+)$/m.exec(description?.sdp ?? "")?.[1].trim();
    const local = of(this.#connection.currentLocalDescription);
    const remote = of(this.#connection.currentRemoteDescription);
    return local && remote ? [local, remote] : undefined;
  }

  /** The pair of candidates in use: their types and the transport, or undefined. */
  async path() {
    const report = await this.#connection.getStats();
    const stats = [...report.values()];
    const transport = stats.find(
      (entry) => entry.type === "transport" && entry.selectedCandidatePairId,
    );
    const pair = transport
      ? report.get(transport.selectedCandidatePairId)
      : stats.find(
          ({ type, nominated, state }) =>
            type === "candidate-pair" && nominated && state === "succeeded",
        );
    const local = pair && report.get(pair.localCandidateId);
    const remote = pair && report.get(pair.remoteCandidateId);
    return local && remote
      ? { local: local.candidateType, remote: remote.candidateType, protocol: local.protocol }
      : undefined;
  }

  async #offer() {
    try {
      this.#makingOffer = true;
      await this.#describe();
    } catch (error) {
      this.#emit("error", error);
    } finally {
      this.#makingOffer = false;
    }
  }

  async #describe() {
    await this.#connection.setLocalDescription();
    this.#send({ description: this.#connection.localDescription.toJSON() });
  }

  async #handleDescription(description) {
    const connection = this.#connection;
    const ready = !this.#makingOffer && connection.signalingState === "stable";
    const collision = description.type === "offer" && !ready;
    this.#ignoringOffer = !this.#polite && collision;
    if (this.#ignoringOffer) return;
    // Chromium never gathers again if an offer is taken back in the moment in which gathering for
    // it begins. So wait until it has begun.
    if (collision) await Promise.race([this.#gatheringBegun, sleep(GATHERING_LIMIT)]);

    this.#candidates = 0;
    await connection.setRemoteDescription(description);
    if (description.type === "offer") await this.#describe();
  }

  async #handleCandidate(candidate) {
    if (this.#candidates === MAX_CANDIDATES) return;
    this.#candidates++;
    try {
      await this.#connection.addIceCandidate(candidate);
    } catch (error) {
      // Candidates of an offer that this side ignored cannot be added.
      if (!this.#ignoringOffer) throw error;
    }
  }

  #emit(type, detail) {
    if (this.#connection.signalingState === "closed" && type === "error") return;
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Most signals that wait until earlier ones are handled. */
const MAX_WAITING = 256;
/** Most candidates of one description. The browser checks each of them against each of its own. */
const MAX_CANDIDATES = 100;
/** Longest wait for an offer's first candidate before the offer is taken back, in milliseconds. */
const GATHERING_LIMIT = 1000;

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
