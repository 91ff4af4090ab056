// Verdicts by reason and times by phase, as bars.

import { byId, el, keyed, mark, say, svg } from "./dom.js";
import { count, duration, many, words } from "./format.js";

export function showFigures({ rounds, verdicts, mean_phase_s }) {
  say(byId("figures-about"), rounds ? `Over the last ${many(rounds, "round")}.` : "No round has been run yet.");
  const total = Object.values(verdicts).reduce((sum, number) => sum + number, 0);
  bars(byId("verdicts"), Object.entries(verdicts), total, (number) => `${count(number)} of ${many(total, "model")}`);
  const longest = Math.max(...Object.values(mean_phase_s), 0);
  bars(byId("phases"), Object.entries(mean_phase_s), longest, duration);
}

function bars(parent, entries, most, inWords) {
  byId(`${parent.id}-title`).hidden = entries.length === 0;
  keyed(parent, entries, ([name]) => name, make, (node, [name, value]) => {
    node.className = `bar ${name === "ACCEPTED" ? "taken" : name === name.toUpperCase() ? "dropped" : ""}`;
    say(node.children[0], words(name));
    mark(node.querySelector("rect.part"), "width", `${most ? (100 * value) / most : 0}%`);
    say(node.children[2], inWords(value));
  });
}

function make() {
  return el("div", {}, el("span"),
    svg("svg", { width: "100%", height: 10, "aria-hidden": "true" },
      svg("rect", { width: "100%", height: 10, rx: 4, class: "whole" }), svg("rect", { width: 0, height: 10, rx: 4, class: "part" })),
    el("span", { className: "number small" }));
}
