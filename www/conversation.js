// The conversation: chat messages and files, in one list.

import { MAX_CHAT_LENGTH } from "./call.js";
import { Card } from "./card.js";
import { find, make } from "./dom.js";
import { Feed } from "./feed.js";
import { Files } from "./files.js";
import { Room } from "./room.js";
import { safeText } from "./text.js";

/** Entries of the log. An older one is removed, unless the user can still do something with it. */
const MAX_ENTRIES = 300;

/**
 * Events: `bytes` (detail: direction, bytes) for each piece of a file, `file` (detail: direction,
 * name, event, bytes) when a file is offered, when it ends, and when it is refused.
 */
export class Conversation extends EventTarget {
  #call;
  #files;
  #room = new Room();
  #log = new Feed(find("log"), { limit: MAX_ENTRIES });
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
    const files = (this.#files = new Files(call.files, call.maxMessageSize, this.#room));
    files.addEventListener("transfer", ({ detail }) => this.#addTransfer(files, detail));
    files.addEventListener("bytes", ({ detail }) => this.#emit("bytes", detail));
    files.addEventListener("refused", ({ detail }) =>
      this.#emit("file", { direction: "in", name: detail, event: "refused" }),
    );
    this.#enable(true);
  }

  /** Disables the composer and ends all transfers. The messages and the received files stay. */
  close() {
    this.#call = undefined;
    this.#files?.close();
    this.#enable(false);
  }

  focus() {
    this.#text.focus();
  }

  note(text) {
    this.#log.add(make("p", "note", text));
  }

  receive(text) {
    this.#log.add(bubble(safeText(text, MAX_CHAT_LENGTH), "in", "They"));
  }

  get isEmpty() {
    return this.#log.isEmpty;
  }

  #sendText() {
    const text = this.#text.value.trim().slice(0, MAX_CHAT_LENGTH);
    if (!text || !this.#call?.chat(text)) return;
    this.#log.add(bubble(text, "out", "You"), { shows: true });
    this.#text.value = "";
    this.#fitText();
  }

  #sendFiles(files) {
    if (!this.#call) return;
    for (const file of files) this.#files.send(file);
  }

  #addTransfer(files, transfer) {
    const { name, size, outgoing } = transfer;
    const direction = outgoing ? "out" : "in";
    const card = new Card(transfer, {
      accept: () => files.accept(transfer),
      decline: () => files.decline(transfer),
      cancel: () => files.cancel(transfer),
      remove: () => {
        card.discard();
        this.#room.free(transfer);
        this.#log.remove(card.element);
        find("log").focus();
      },
    });
    this.#emit("file", { direction, name, event: "offered", bytes: size });
    transfer.addEventListener("change", () => {
      if (transfer.isOver) this.#emit("file", { direction, name, event: transfer.state });
    });
    this.#log.add(card.element, { isKept: () => card.isOpen, shows: outgoing });
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

function bubble(text, direction, who) {
  const speaker = make("span", "hidden", `${who}: `);
  return make("p", `bubble ${direction}`, speaker, make("bdi", "", text));
}
