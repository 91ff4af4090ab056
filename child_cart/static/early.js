// What is clicked or chosen before the page's script is ready: kept, marked as busy, and done as soon as it is.
// Loaded before the page is shown, so it is no module. The page's script calls ready() of dom.js when it listens.

{
  const EVENTS = ["click", "change"];
  const kept = new Map(); // the element -> the event that it missed; the last one counts

  // A link, a form and a label work without a script; a button of type "button" does not, nor does a field that was changed.
  const waits = (type, target) => target.closest(type === "click" ? 'button[type="button"]' : "input, select");

  const keep = (event) => {
    const node = event.target instanceof Element ? waits(event.type, event.target) : null;
    if (node === null || !event.isTrusted) return;
    event.stopImmediatePropagation(); // a part of the page that listens already would do it twice
    kept.set(node, event.type);
    if (event.type === "click") node.setAttribute("aria-busy", "true");
  };

  for (const type of EVENTS) document.addEventListener(type, keep, true);
  document.addEventListener("page-ready", () => {
    for (const type of EVENTS) document.removeEventListener(type, keep, true);
    for (const [node, type] of kept) {
      node.removeAttribute("aria-busy");
      if (!node.isConnected) continue;
      if (type === "click") node.click();
      else node.dispatchEvent(new Event(type, { bubbles: true }));
    }
    kept.clear();
  }, { once: true });
}
