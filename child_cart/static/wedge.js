// Hand scanners that type: their keys are taken out of the page, wherever the focus is, and looked up.

import { Burst, isSuffix, keyOf } from "./scan_keys.js";

const LATE_SUFFIX_MS = 1000;
const DOUBTFUL_ENTER_MS = 200; // no scanner waits longer between two keys
const EDITABLE = "textarea, select, [contenteditable], input:not([type=radio], [type=checkbox], [type=button], [type=submit], [type=file])";
const PRESSABLE = "button, a, summary, input[type=radio], input[type=checkbox]";

/**
 * `scanned` is called with the text of each scan, as this computer reads its keys and as an American keyboard would;
 * `dropped` with a sentence about a scan that is not looked up. The keys of a scan do nothing else.
 *
 * Give `doubtful` where fields hold numbers that Enter would save. Digits are then no sign of a scanner, and an Enter
 * that comes as fast as a scanner's presses nothing: `doubtful` is called.
 */
export function watchWedge({ scanned, dropped, doubtful = null }) {
  let burst = null, field = null, before = "", timer = 0, scannedAt = -Infinity, lastAt = -Infinity;
  const isScan = (keys) => keys.isScan(keys.ended && doubtful === null);

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || !event.key) return; // filling in a form is an event without a key
    const key = keyOf(event);
    if (key === null) return;
    const gap = event.timeStamp - lastAt;
    const isDoubtful = doubtful !== null && event.key === "Enter" && gap >= 0 && gap <= DOUBTFUL_ENTER_MS;
    lastAt = event.timeStamp;
    if (event.repeat && !burst?.ended) {
      burst = null; // a finger holds the key
      return;
    }
    if (!burst?.take(key, event.timeStamp)) {
      finish();
      if (isSuffix(key)) {
        const late = event.timeStamp - scannedAt;
        if (late >= 0 && late <= LATE_SUFFIX_MS) swallow(event);
        else if (isDoubtful) doubt(event);
        return;
      }
      begin(event);
      burst.take(key, event.timeStamp);
    }
    if (isSuffix(key)) {
      if (!isScan(burst)) {
        burst = null; // a person has typed
        if (isDoubtful) doubt(event);
        return;
      }
      swallow(event);
    } else if (field === null && wouldActOnPage(key)) {
      event.preventDefault();
    }
    clearTimeout(timer);
    timer = setTimeout(finishIfQuiet, burst.quietMs, burst, burst.count);
  }, true);

  // Firefox presses a button when Space is released.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && burst !== null && !burst.isBlank && field === null) event.preventDefault();
  }, true);

  // After a tap no button keeps the focus: an Enter that is no one's presses nothing. Keyboards keep theirs.
  document.addEventListener("click", (event) => {
    const pressed = event.detail > 0 ? event.target.closest(PRESSABLE) : null;
    if (pressed !== null && pressed === document.activeElement) pressed.blur();
  });

  function begin(event) {
    field = event.target.closest(EDITABLE);
    before = field?.value ?? "";
    burst = new Burst(field !== null);
  }

  /** Space presses a button; Firefox searches the page at ' and /, the first of which may be a 4 of a French keyboard. */
  function wouldActOnPage({ char, placed }) {
    return " '/".includes(char) && (burst.isBlank ? false : burst.count > 1 || /\d/.test(placed));
  }

  function swallow(event) {
    event.preventDefault();
    event.stopPropagation();
  }

  function doubt(event) {
    swallow(event);
    doubtful();
  }

  /** Keys that wait behind a busy page come first. */
  function finishIfQuiet(waited, count) {
    setTimeout(() => burst === waited && burst.count === count && finish());
  }

  function finish() {
    const done = burst;
    burst = null;
    clearTimeout(timer);
    if (done === null || !isScan(done)) return;
    restore();
    scannedAt = done.last;
    if (done.fault) dropped(done.fault);
    else for (const [text, byPosition] of done.scans) scanned(text, byPosition);
  }

  /** Take the scanned keys out of the field that they were typed into. */
  function restore() {
    if (field === null || field.value === undefined || field.value === before) return;
    field.value = before;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
