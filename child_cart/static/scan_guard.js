// Pages where nothing is scanned: a hand scanner's keys press and save nothing, and the page says what was scanned.

import { byId, say } from "./dom.js";
import { likelier } from "./scan_keys.js";
import { watchWedge } from "./wedge.js";

const SHOWN_CHARS = 40;
const SAID_MS = 8000;
let fading = 0;

watchWedge({
  scanned: (text, byPosition) => tell(`“${likelier(text, byPosition).slice(0, SHOWN_CHARS)}” was scanned. Nothing is scanned on this page: open the shop or the catalogue.`),
  dropped: tell,
  doubtful: () => tell("Nothing was done: this Enter came as fast as a scanner's. Press Enter again if you have typed this."),
});

/** Say it where it is seen: an open dialog covers the page. */
function tell(sentence) {
  const node = byId("scanned");
  (document.querySelector("dialog[open] form") ?? byId("content")).prepend(node);
  node.hidden = false;
  say(node, sentence);
  clearTimeout(fading);
  fading = setTimeout(() => (node.hidden = true), SAID_MS);
}
