// The conversation: chat messages and files, in one list.

import { MAX_CHAT_LENGTH } from "./call.js";
import { announce, find, formatBytes, make } from "./dom.js";
import { Transfers } from "./transfer.js";

/**
 * Events: `bytes` (detail: direction, bytes) for each piece of a file, `file` (detail: direction,
 * what, bytes) when a file begins or ends.
 */
export class Conversation extends EventTarget {
  #call;
  #transfers;
  #log = find("log");
  #text = find("text");

  constructor() {
    super();
    const composer = find("composer");
    const files = find("files");
    composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#sendText();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#sendText();
    });
    this.#text.addEventListener("input", () => this.#fitText());
    this.#text.addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.#sendFiles(event.clipboardData.files);
    });
    find("attach").addEventListener("click", () => files.click());
    files.addEventListener("change", () => {
      this.#sendFiles(files.files);
      files.value = "";
    });
    for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
      document.addEventListener(type, (event) => this.#handleDrag(event));
    }
    this.#enable(false);
  }

  /** Enables the composer for a call that has just connected. */
  open(call) {
    this.#call = call;
    this.#transfers = new Transfers(call.files, call.maxMessageSize);
    this.#transfers.addEventListener("transfer", ({ detail }) =>
      this.#addTransfer(this.#transfers, detail),
    );
    this.#transfers.addEventListener("bytes", ({ detail }) => this.#emit("bytes", detail));
    this.#enable(true);
  }

  /** Disables the composer. The messages stay. */
  close() {
    this.#call = undefined;
    this.#enable(false);
  }

  focus() {
    this.#text.focus();
  }

  note(text) {
    this.#append(make("p", "note", text));
  }

  receive(text) {
    this.#append(this.#bubble(text, "in", "They"));
  }

  get isEmpty() {
    return !this.#log.childElementCount;
  }

  #sendText() {
    const text = this.#text.value.trim().slice(0, MAX_CHAT_LENGTH);
    if (!text || !this.#call?.chat(text)) return;
    this.#append(this.#bubble(text, "out", "You"));
    this.#text.value = "";
    this.#fitText();
  }

  #sendFiles(files) {
    for (const file of files) this.#transfers?.send(file);
  }

  #bubble(text, direction, who) {
    return make("p", `bubble ${direction}`, make("span", "hidden", `${who}: `), text);
  }

  #addTransfer(transfers, transfer) {
    const name = make("span", "file-name", transfer.name);
    name.title = transfer.name;
    const size = make("span", "file-size");
    const bar = make("progress", "");
    bar.max = Math.max(transfer.size, 1);
    bar.setAttribute("aria-label", `Progress of ${transfer.name}`);
    const status = make("p", "file-status");
    const sum = make("p", "file-sum");
    sum.hidden = true;
    const cancel = make("button", "quiet", "Cancel");
    cancel.type = "button";
    cancel.setAttribute("aria-label", `Cancel ${transfer.name}`);
    cancel.addEventListener("click", () => transfers.cancel(transfer));
    const item = make(
      "div",
      `file ${transfer.outgoing ? "out" : "in"}`,
      make("div", "file-head", name, size),
      bar,
      make("div", "file-foot", status, cancel),
      sum,
    );
    item.setAttribute("role", "group");
    item.setAttribute("aria-label", transfer.name);
    // Screen readers announce the start and the end, not the progress.
    item.setAttribute("aria-live", "off");
    const report = (what, bytes) => {
      const direction = transfer.outgoing ? "out" : "in";
      this.#emit("file", { direction, what: `file ${transfer.name}${what}`, bytes });
    };
    announce(`${transfer.outgoing ? "Sending" : "Receiving"} ${transfer.name}`);
    report("", transfer.size);

    const update = () => {
      item.dataset.state = transfer.state;
      status.textContent = describe(transfer);
      size.textContent = [formatBytes(transfer.size), ...speed(transfer)].join(" · ");
      bar.value = transfer.size ? transfer.bytes : Number(transfer.isOver);
      bar.hidden = transfer.isOver;
      if (!transfer.isOver) return;
      announce(`${transfer.name}: ${describe(transfer)}`);
      report(`: ${transfer.state}`);
      if (transfer.state === "done") {
        const digest = make("code", "", transfer.sha256);
        digest.title = transfer.sha256;
        sum.append("SHA-256 ", digest);
        sum.hidden = false;
      }
      if (transfer.blob) cancel.replaceWith(saveLink(transfer));
      else cancel.remove();
    };
    transfer.addEventListener("change", update);
    update();
    this.#append(item);
  }

  #append(item) {
    const log = this.#log;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    log.append(item);
    if (atEnd || item.matches(".out")) log.scrollTop = log.scrollHeight;
  }

  #handleDrag(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const over = event.type === "dragover" || event.type === "dragenter";
    document.body.toggleAttribute("data-dragging", over && Boolean(this.#call));
    if (event.type === "drop") this.#sendFiles(event.dataTransfer.files);
  }

  #fitText() {
    // At most six lines; longer lines wrap up to the style sheet's max-height.
    this.#text.rows = Math.min(this.#text.value.split("\n").length, 6);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #enable(enabled) {
    for (const element of find("composer").elements) element.disabled = !enabled;
  }
}

function describe({ state, outgoing, bytes, size, reason }) {
  switch (state) {
    case "waiting":
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

function saveLink(transfer) {
  const link = make("a", "button primary", "Save");
  link.href = URL.createObjectURL(transfer.blob);
  link.download = transfer.name;
  link.setAttribute("aria-label", `Save ${transfer.name}`);
  return link;
}
