// The end of the log, newest first.

import { get } from "./api.js";
import { byId, el, keyed } from "./dom.js";
import { clock } from "./format.js";

const EVERY_MS = 3000;
const LINES = 200;

export function startLog() {
  refresh();
  setInterval(refresh, EVERY_MS);
}

async function refresh() {
  if (document.hidden) return;
  try {
    const { lines } = await get(`/api/log?limit=${LINES}`);
    keyed(byId("log"), lines, (line) => line.number, make, () => {});
  } catch {
    // The page says already that the cart does not answer.
  }
}

function make({ at, level, logger, text }) {
  const kind = level === "ERROR" || level === "CRITICAL" ? "bad" : level === "WARNING" ? "warn" : "";
  return el("li", { className: kind }, el("time", { className: "number soft" }, clock(at)),
    el("span", {}, el("span", { className: "soft" }, `${level} ${logger} `), text));
}
