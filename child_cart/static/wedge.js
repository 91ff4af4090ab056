// Hand scanners that type: a burst of keys faster than fingers, then Enter, wherever the focus is.

const MAX_GAP_MS = 60;
const MEAN_GAP_MS = 35;
const MIN_KEYS = 4;
const MAX_KEYS = 100;

/** `scanned` is called with the text of each scan; its keys do nothing else. */
export function watchWedge(scanned) {
  let keys = [], started = 0, last = 0, field = null, before = "";

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const { key, timeStamp } = event;
    if (key === "Enter") {
      const text = keys.join(""), took = last - started, waited = timeStamp - last;
      const scan = keys.length >= MIN_KEYS && waited <= MAX_GAP_MS && took / (keys.length - 1) <= MEAN_GAP_MS;
      keys = [];
      if (!scan) return;
      event.preventDefault();
      event.stopPropagation();
      restore();
      scanned(text);
      return;
    }
    if (key.length !== 1) return; // Shift and other control keys
    if (keys.length === 0 || timeStamp - last > MAX_GAP_MS || keys.length >= MAX_KEYS) {
      keys = [];
      started = timeStamp;
      field = event.target.matches("input, textarea") ? event.target : null;
      before = field?.value ?? "";
    }
    last = timeStamp;
    keys.push(key);
    // From the second fast key on, a key comes from a scanner and must not press a button.
    if (key === " " && keys.length > 1 && field === null) event.preventDefault();
  }, true);

  /** Take the scanned keys out of the field that they were typed into. */
  function restore() {
    if (field === null || field.value === before) return;
    field.value = before;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
