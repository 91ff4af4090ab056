// Rounds with every verdict: the one that runs, and the last ones that ended.

import { byId, el, keyed, mark, say } from "./dom.js";
import { bytes, clock, count, duration, many, measured, metricTitle, shortId, words } from "./format.js";

const PHASES = ["training", "clustering", "collecting", "averaging"];

export function showLiveRound(round, { now }) {
  showIn(byId("live"), round ? [round] : [], now);
}

export function showRounds(rounds) {
  const ended = rounds.filter((round) => round.outcome !== null);
  byId("no-rounds").hidden = ended.length > 0;
  showIn(byId("rounds"), ended, 0);
}

function showIn(parent, rounds, now) {
  keyed(parent, rounds, (round) => round.round_id, make, (node, round) => fill(node, round, now));
}

function make(round) {
  const head = (text, kind) => el("th", { scope: "col", className: kind ?? "" }, text);
  const columns = [head("Peer"), head("Verdict"), head(metricTitle(round.metric), "n"), head("Version", "n"), head("Size", "n"), head("Why", "why")];
  return el("article", { className: "round" },
    el("header", {}, el("h3", {}, `Round ${round.number}`), el("span", { className: "outcome" }),
      el("span", { className: "when number small soft" })),
    el("p", { className: "sentence" }),
    el("p", { className: "own small soft" }),
    el("div", { className: "scroll", role: "region", "aria-label": `Verdicts of round ${round.number}`, tabIndex: 0 },
      el("table", {}, el("thead", {}, el("tr", {}, ...columns)), el("tbody"))),
    el("dl", { className: "phases small" }));
}

function fill(node, round, now) {
  const outcome = node.querySelector(".outcome");
  say(outcome, round.outcome ? words(round.outcome) : "running");
  outcome.className = `outcome tag ${round.outcome === "AGGREGATED" ? "good" : round.outcome ? "warn" : ""}`;
  say(node.querySelector(".when"), `${clock(round.started_at)} · ${duration((round.ended_at ?? now) - round.started_at)}`);
  say(node.querySelector(".sentence"), round.sentence);
  say(node.querySelector(".own"), ownWords(round));
  node.querySelector(".scroll").hidden = round.verdicts.length === 0;
  const key = (verdict) => `${verdict.peer} ${verdict.reason}`;
  keyed(node.querySelector("tbody"), round.verdicts, key, (verdict) => makeVerdict(verdict, round.metric), () => {});
  keyed(node.querySelector("dl"), PHASES.filter((phase) => phase in round.phase_s), (phase) => phase,
    (phase) => el("div", {}, el("dt", { className: "soft" }, phase), el("dd", { className: "number" })),
    (entry, phase) => say(entry.lastElementChild, duration(round.phase_s[phase])));
  mark(node, "aria-label", `Round ${round.number}`);
}

function ownWords(round) {
  const parts = [];
  if (round.local_version !== null)
    parts.push(`Own model: version ${round.local_version}, ${measured(round.local_value, round.metric)}, from ${many(round.rows, "row")}`);
  if (round.ruined_value !== null && round.ruined_value !== undefined)
    parts.push(`training not kept, it ruined the model: ${measured(round.ruined_value, round.metric)}`);
  if (round.new_version === null && round.new_value !== null)
    parts.push(`average not kept: ${measured(round.new_value, round.metric)}`);
  if (round.new_version !== null)
    parts.push(`average: version ${round.new_version}${round.new_value === null ? "" : `, ${measured(round.new_value, round.metric)}`}`);
  if (round.cluster_id) parts.push(`cluster ${shortId(round.cluster_id)}`);
  return parts.join(" · ");
}

function makeVerdict(verdict, metric) {
  const accepted = verdict.reason === "ACCEPTED";
  const number = (text, label, kind = "") => el("td", { className: `n ${kind}`, "data-label": label }, text);
  return el("tr", {},
    el("th", { scope: "row" }, el("code", { title: verdict.peer }, shortId(verdict.peer))),
    el("td", {}, el("span", { className: `tag ${accepted ? "good" : "bad"}` }, accepted ? "accepted" : "dropped")),
    number(measured(verdict.value, metric), null),
    number(verdict.model_version === null ? "–" : count(verdict.model_version), "version"),
    number(bytes(verdict.payload_bytes), "size", "size"),
    el("td", { className: "why" }, accepted ? "" : `${verdict.reason}: `, verdict.sentence));
}
