// This page's id, its link, and the link as a QR code.

import { generate } from "./vendor/lean-qr.js";
import { announce, find } from "./dom.js";

export class Share {
  #id = find("id");
  #link = find("link");
  #qr = find("qr");
  #buttons = ["copy-link", "copy-id", "share-link"].map(find);

  constructor() {
    const [copyLink, copyId, share] = this.#buttons;
    copyLink.addEventListener("click", () => copy(copyLink, this.#link.href, "Link copied"));
    copyId.addEventListener("click", () => copy(copyId, this.#id.textContent, "Id copied"));
    share.addEventListener("click", () =>
      navigator.share({ url: this.#link.href }).catch(() => {}),
    );
    share.hidden = !navigator.share;
  }

  /** Shows an id, or marks the last one as invalid. */
  show(id) {
    for (const button of this.#buttons) button.disabled = !id;
    if (!id) {
      if (this.#id.dataset.state === "valid") this.#id.dataset.state = "gone";
      return;
    }
    this.#id.dataset.state = "valid";
    const link = linkTo(id);
    const groups = id.split(/(?<=-)/);
    this.#id.replaceChildren(
      ...groups.flatMap((group) => [group, document.createElement("wbr")]),
    );
    this.#link.href = link;
    this.#link.textContent = link.replace(/^https?:\/\//, "");
    this.#qr.href = link;
    this.#qr.replaceChildren(drawQr(link));
  }
}

/** Returns this page's address with a peer to call. */
export function linkTo(id) {
  const url = new URL(location.href);
  url.hash = `peer=${id}`;
  return url.href;
}

async function copy(button, text, done) {
  const ok = await writeClipboard(text);
  const label = button.textContent;
  announce(ok ? done : "Could not copy");
  if (button.dataset.busy) return;
  button.dataset.busy = "true";
  button.textContent = ok ? "Copied" : "Could not copy";
  setTimeout(() => {
    button.textContent = label;
    delete button.dataset.busy;
  }, 1500);
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages from http:// addresses other than localhost have no clipboard; this old way works.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden";
    document.body.append(field);
    const focused = document.activeElement;
    field.select();
    const ok = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return ok;
  }
}

function drawQr(text) {
  const code = generate(text);
  const margin = 2;
  let path = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) {
      if (code.get(x, y)) path += `M${x + margin} ${y + margin}h1v1h-1z`;
    }
  }
  const size = code.size + 2 * margin;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("shape-rendering", "crispEdges");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}
