// The card of a file in the conversation: its name, its progress, and what the user can do.

import { announce, formatBytes, make } from "./dom.js";

export class Card {
  element;

  #transfer;
  #do;
  #size = make("span", "file-size");
  #bar = make("progress", "");
  #status = make("p", "file-status");
  #actions = make("div", "file-actions");
  #sum = make("p", "file-sum");
  #shown;

  /**
   * @param {Transfer} transfer
   * @param {Record<"accept" | "decline" | "cancel" | "remove", () => void>} actions
   */
  constructor(transfer, actions) {
    this.#transfer = transfer;
    this.#do = actions;
    const { name, size, outgoing } = transfer;
    this.#bar.max = Math.max(size, 1);
    this.#bar.setAttribute("aria-label", `Progress of ${name}`);
    this.#sum.hidden = true;
    this.element = make(
      "div",
      `file ${outgoing ? "out" : "in"}`,
      make("div", "file-head", make("bdi", "file-name", name), this.#size),
      this.#bar,
      make("div", "file-foot", this.#status, this.#actions),
      this.#sum,
    );
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", name);
    // Screen readers announce the start and the end, not the progress.
    this.element.setAttribute("aria-live", "off");
    announce(outgoing ? `Sending ${name}` : `${name}, ${formatBytes(size)}: accept or decline?`);
    transfer.addEventListener("change", () => this.#update());
    this.#update();
  }

  /** Whether the user can still do something with the file. */
  get isOpen() {
    return !this.#transfer.isOver || Boolean(this.#transfer.blob);
  }

  #update() {
    const transfer = this.#transfer;
    const { state, size, bytes, isOver } = transfer;
    this.element.dataset.state = state;
    this.#status.textContent = describe(transfer);
    this.#size.textContent = [formatBytes(size), ...speed(transfer)].join(" · ");
    this.#bar.value = size ? bytes : Number(isOver);
    this.#bar.hidden = isOver || state === "offered";
    if (state === this.#shown) return;
    this.#shown = state;
    this.#showActions();
    if (!isOver) return;
    announce(`${transfer.name}: ${describe(transfer)}`);
    if (state === "done") {
      const digest = make("code", "", transfer.sha256);
      digest.title = transfer.sha256;
      this.#sum.append("SHA-256 ", digest);
      this.#sum.hidden = false;
    }
  }

  #showActions() {
    const { state, outgoing, isOver, blob } = this.#transfer;
    const hadFocus = this.#actions.contains(document.activeElement);
    const actions = [];
    if (state === "offered" && !outgoing) {
      actions.push(this.#button("Decline", "decline", "quiet"));
      actions.push(this.#button("Accept", "accept", "primary"));
    } else if (!isOver) {
      actions.push(this.#button("Cancel", "cancel", "quiet"));
    } else if (blob) {
      actions.push(this.#button("Remove", "remove", "quiet"), this.#saveLink());
    }
    this.#actions.replaceChildren(...actions);
    if (hadFocus) this.#actions.lastElementChild?.focus();
  }

  #button(label, action, className) {
    const button = make("button", className, label);
    button.type = "button";
    button.setAttribute("aria-label", `${label} ${this.#transfer.name}`);
    button.addEventListener("click", () => this.#do[action]());
    return button;
  }

  #saveLink() {
    const { name, blob } = this.#transfer;
    const link = make("a", "button primary", "Save");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.setAttribute("aria-label", `Save ${name}`);
    return link;
  }

  /** Gives back the memory of a received file, which cannot be saved from then on. */
  discard() {
    const link = this.#actions.querySelector("a");
    if (link) URL.revokeObjectURL(link.href);
    this.#transfer.blob = undefined;
  }
}

function describe({ state, outgoing, bytes, size, reason }) {
  switch (state) {
    case "waiting":
      return "Waiting for answers to other files";
    case "offered":
      return outgoing ? "Waiting for the other side's answer" : "They want to send you this file";
    case "accepted":
      return "Waiting for its turn";
    case "active":
      return `${outgoing ? "Sending" : "Receiving"} · ${percent({ bytes, size })} %`;
    case "checking":
      return "Waiting for the other side's checksum";
    case "done":
      return outgoing ? "Delivered, checksums match" : "Received, checksums match";
    default:
      return reason;
  }
}

function percent({ bytes, size }) {
  return size ? Math.floor((100 * bytes) / size) : 100;
}

/** Returns the average speed of a transfer, or nothing within its first 0.2 s. */
function speed({ bytes, startedAt, endedAt }) {
  const seconds = ((endedAt ?? performance.now()) - startedAt) / 1000;
  return seconds > 0.2 ? [`${formatBytes(Math.round(bytes / seconds))}/s`] : [];
}
