// Text of the other side, made safe to show.

/** Longest name of a file, in bytes of UTF-8. Most file systems allow 255. */
const MAX_NAME_BYTES = 200;
/** Characters that hide or reorder the text around them, and halves of characters. */
const UNSAFE = /(?![\n\t])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\ufeff]/gu;
/** Characters that separate folders, or that Windows does not allow in names. */
const NOT_IN_NAMES = /[<>:"/\\|?*]/g;
/** Names of devices on Windows, with any extension. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)/i;

/** Returns at most `maxLength` UTF-16 code units of a text, without unsafe characters. */
export function safeText(text, maxLength) {
  return text.slice(0, maxLength).replace(UNSAFE, "");
}

/** Returns a name under which a file can be shown and saved on any system. */
export function safeName(name) {
  const path = typeof name === "string" ? name.slice(-4096) : "";
  const last = path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
  const clean = last.replace(UNSAFE, "").replace(/\s+/g, " ").replace(NOT_IN_NAMES, "_");
  // Windows does not keep dots and spaces at the end, and a dot at the start hides a file.
  const bare = shorten(clean.replace(/^[. ]+|[. ]+$/g, "")) || "file";
  return DEVICE.test(bare) ? `_${bare}` : bare;
}

/** Cuts a name to its longest length, and keeps its extension. */
function shorten(name) {
  const [, stem, extension = ""] = /^(.+?)(\.[^. ]{1,16})?$/u.exec(name) ?? ["", "", ""];
  const room = new Uint8Array(MAX_NAME_BYTES - new TextEncoder().encode(extension).length);
  const { read } = new TextEncoder().encodeInto(stem, room);
  return stem.slice(0, read).trimEnd() + extension;
}
