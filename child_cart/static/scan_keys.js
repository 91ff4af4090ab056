// Decide whether keys come from a hand scanner, and what it sent. No page and no clock: each key comes with its time.

export const MAX_KEYS = 1000; // a longer scan is dropped as a whole
const MAX_GAP_MS = 200; // between two keys of one scan
const QUIET_MS = 300; // after a whole GTIN, a scanner that sends neither Enter nor Tab has ended
const LONG_QUIET_MS = 1000; // after anything else, which may be the first part of a code
const FAST_PACE_MS = 35, FAST_GAP_MS = 60, FAST_KEYS = 4; // no fingers type like this
const PART_KEYS = 3;

const PLACES = {
  Backquote: "`~", Minus: "-_", Equal: "=+", BracketLeft: "[{", BracketRight: "]}", Backslash: "\\|", Semicolon: ";:",
  Quote: "'\"", Comma: ",<", Period: ".>", Slash: "/?", Space: "  ", Digit1: "1!", Digit2: "2@", Digit3: "3#", Digit4: "4$",
  Digit5: "5%", Digit6: "6^", Digit7: "7&", Digit8: "8*", Digit9: "9(", Digit0: "0)",
};
const SEPARATOR = "\x1d"; // FNC1 within a GS1 code: scanners type Ctrl+] or F8
const LOST = "\ufffd";

/**
 * Return what a key stands for: `char` in the layout of this computer, `placed` on an American keyboard, which most
 * scanners are. Null if it is no part of a scan.
 */
export function keyOf(event) {
  const { key, code, shiftKey } = event;
  const altGraph = event.getModifierState("AltGraph");
  const command = (event.ctrlKey || event.altKey || event.metaKey) && !altGraph;
  if (key === "F8" || (event.ctrlKey && (key === "]" || code === "BracketRight") && !altGraph)) return { char: SEPARATOR, placed: SEPARATOR };
  if (command) return null;
  if (key === "Enter" || (key === "Tab" && !shiftKey)) return { char: "\n", placed: "\n" };
  if (key.length !== 1 && key !== "Dead") return null; // Shift and other control keys
  const char = key === "Dead" ? LOST : key;
  return { char, placed: altGraph ? char : placed(code, shiftKey) ?? char };
}

function placed(code, shifted) {
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  if (letter) return shifted ? letter : letter.toLowerCase();
  return PLACES[code]?.[shifted ? 1 : 0];
}

export const isSuffix = ({ char }) => char === "\n";

/** True for the digits of a GTIN with the right check digit: such a text is whole. */
export function isGtin(text) {
  const digits = text.replace(/^\][A-Za-z]\w/, "");
  if (!/^(\d{8}|\d{12,14})$/.test(digits)) return false;
  return [...digits].reverse().reduce((sum, digit, place) => sum + digit * (place % 2 ? 3 : 1), 0) % 10 === 0;
}

/** True for what people hardly type: many digits, or the beginning of a scanner's own notations. */
function isCodeLike(text) {
  const digits = text.replace(/\D/g, "").length;
  return !/\s/.test(text) && ((digits >= 6 && digits * 2 >= text.length) || /^(\][A-Za-z]\w|https?:\/\/|\(\d{2}\))/i.test(text));
}

const linesOf = (text) => text.split(/\n+/);
const isOwn = (text) => /^[A-Za-z0-9][\w.-]*$/.test(text);

/** True for a text that may be a code, however short: one of the shop's own with a digit, or a longer notation. */
export const mayBeCode = (text) => (isOwn(text) && /\d/.test(text)) || isCodeLike(text);

/** Return the reading that looks like a code; the computer's own if both do. */
export function likelier(text, byPosition) {
  return (isGtin(byPosition) && !isGtin(text)) || (isOwn(byPosition) && !isOwn(text)) ? byPosition : text;
}

/** Keys that follow each other at the pace of a scanner. */
export class Burst {
  /** `inField`: the keys go into a field, where people type too. */
  constructor(inField) {
    this.inField = inField;
    this.keys = [];
    this.count = 0;
    this.typed = 0; // all but Enter and Tab
    this.slowest = 0;
    this.ended = false; // by Enter or Tab
    this.broken = false; // it came in pieces
  }

  get #pace() { return this.typed > 1 ? (this.typedAt - this.started) / (this.typed - 1) : 0; }
  get #isFast() { return this.typed >= FAST_KEYS && this.#pace <= FAST_PACE_MS && this.slowest <= FAST_GAP_MS; }
  get #isLong() { return this.count > MAX_KEYS; }
  get #readings() { return ["char", "placed"].map((kind) => this.keys.map((key) => key[kind]).join("").trim()); }
  get isBlank() { return this.keys.every(({ char }) => /[\s\x1d]/.test(char)); }

  /** How long no key may come until this is all. Keys that go on after an Enter keep the pace of those before it. */
  get quietMs() {
    if (this.ended) return Math.min(MAX_GAP_MS, 2.5 * this.#pace + 30);
    return !this.broken && this.#readings.some(isGtin) ? QUIET_MS : LONG_QUIET_MS;
  }

  /** Take a key if it belongs to this burst; return whether it does. */
  take(key, at) {
    if (this.count && !this.#continues(key, at - this.last)) return false;
    this.ended = isSuffix(key);
    if (this.count === 0) this.started = at;
    if (!this.ended) {
      if (this.typed) this.slowest = Math.max(this.slowest, at - this.typedAt);
      this.typed += 1;
      this.typedAt = at;
    }
    this.last = at;
    this.count += 1;
    if (!this.#isLong) this.keys.push(key);
    return true;
  }

  #continues(key, gap) {
    if (gap < 0) return false;
    if (this.ended) return gap <= (isSuffix(key) ? MAX_GAP_MS : this.quietMs);
    if (gap <= MAX_GAP_MS) return true;
    if (gap > this.quietMs || !(this.broken || (this.inField ? this.#isFast : this.count >= PART_KEYS))) return false;
    if (!isSuffix(key)) this.broken = true; // a part of a code is never sold as a whole one
    return true;
  }

  /** True if a scanner has typed this, as far as it goes. `suffixed`: Enter or Tab follows. */
  isScan(suffixed) {
    if (this.isBlank) return false;
    if (this.broken || this.#isLong) return true;
    if (!this.inField) return suffixed || this.count > 1;
    return this.#isFast || this.#readings.some((text) => linesOf(text).every(suffixed ? isCodeLike : isGtin));
  }

  /** Why nothing of this may be looked up; empty if it may. */
  get fault() {
    if (this.#isLong) return `A scan of more than ${MAX_KEYS} characters was dropped: no code of an item is as long. Scan its barcode.`;
    if (this.broken) return `The scan of “${this.#readings[0].slice(0, 40)}” came in pieces and was dropped. Scan it again.`;
    return "";
  }

  /**
   * Return the scanned texts, each as `[text, byPosition]`. Codes that follow each other at once are several; any other
   * text of several lines is one, so that no line of it is sold.
   */
  get scans() {
    const readings = this.#readings, lines = readings.map(linesOf);
    const codes = lines.findIndex((each) => each.every(isGtin));
    return codes >= 0 ? lines[codes].map((code) => [code, code]) : [readings];
  }
}
