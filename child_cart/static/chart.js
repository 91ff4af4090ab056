// The chart of the metric over model versions, own, received and averaged, drawn as SVG at the size it is shown in, and
// the versions as a table.

import { byId, el, keyed, say, svg } from "./dom.js";
import { clock, many, measured, metricTitle, shortId, words } from "./format.js";

const HEIGHT = 300;
const PIXELS_EACH = 9; // versions that do not fit are in the table alone
const LEAST_SHOWN = 20;
const MARGIN = { top: 12, right: 14, bottom: 40, left: 52 };
const ORIGINS = {
  STARTER: "starter data", JOINED: "taken over from a peer", LOCAL: "trained on own rows", AGGREGATED: "averaged with peers",
};
// Each origin has a shape as well as a colour, for readers who cannot tell green from red.
const SHAPES = {
  STARTER: "M0-5.5 5.5 4.5-5.5 4.5z", JOINED: "M-4.5-4.5h9v9h-9z", LOCAL: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
  AGGREGATED: "M0-6 6 0 0 6-6 0z",
};

const RECEIVED = {
  taken: ["received and accepted", "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z"], dropped: ["received and dropped", "M-3.5-3.5 3.5 3.5M-3.5 3.5 3.5-3.5"],
};

let all = [], verdicts = [];
let metric = { name: "accuracy", unit: "fraction", direction: "higher" };
let shown = [];
let received = []; // models of peers, shown between the trained version and the averaged one
let shownWidth = 0;

/** Show the versions, newest first as the cart gives them, and what was received in the rounds. */
export function showVersions(versions, rounds) {
  metric = versions[0]?.metric ?? metric;
  showMetric();
  // Version 0, the weights before any training, has not been measured; nor has any version of another metric's task.
  all = versions.filter((version) => version.origin in ORIGINS && version.value !== null && isSame(version.metric)).reverse();
  verdicts = rounds.filter((round) => round.local_version !== null && isSame(round.metric))
    .flatMap((round) => round.verdicts.filter((verdict) => verdict.value !== null)
      .map((verdict) => ({ ...verdict, at: round.local_version + 0.5, kind: verdict.reason === "ACCEPTED" ? "taken" : "dropped" })));
  draw();
  showLegend();
  keyed(byId("versions"), versions, (version) => `${version.number} ${version.created_at}`, makeRow, () => {});
}

const isSame = (other) => other.name === metric.name && other.unit === metric.unit;

function showMetric() {
  const unit = metric.unit && metric.unit !== "fraction" ? ` in ${metric.unit}` : "";
  say(byId("metric-title"), `${metricTitle(metric)} over versions`);
  say(byId("metric-about"), `The ${metric.name}${unit} of each version: ${metric.direction} is better.`);
  say(byId("metric-head"), metricTitle(metric));
}

new ResizeObserver(([entry]) => {
  if (Math.round(entry.contentRect.width) !== shownWidth) draw();
}).observe(byId("chart"));

function draw() {
  const chart = byId("chart");
  shownWidth = Math.round(chart.clientWidth);
  shown = all.slice(-Math.max(LEAST_SHOWN, Math.floor(shownWidth / PIXELS_EACH)));
  received = verdicts.filter((verdict) => verdict.at > (shown[0]?.number ?? 0));
  if (shown.length === 0) {
    chart.replaceChildren(el("p", { className: "soft" }, "No trained version has been measured yet."));
    return;
  }
  const scale = scales(shown, received, shownWidth);
  const path = shown.map((version, place) => `${place ? "L" : "M"}${scale.x(version.number)} ${scale.y(version.value)}`).join("");
  const picture = svg("svg", { width: shownWidth, height: HEIGHT, role: "img", "aria-label": inWords(shown) },
    ...scale.ticksY.map((tick) => line(scale, tick)),
    ...scale.ticksX.map((tick) => text(scale.x(tick), HEIGHT - MARGIN.bottom + 18, "middle", String(tick))),
    text(scale.x((scale.first + scale.last) / 2), HEIGHT - 4, "middle", "model version"),
    ...received.map((verdict) => receivedMark(scale, verdict)),
    svg("path", { d: path, class: "curve" }),
    ...shown.map((version) => marker(scale, version)));
  chart.replaceChildren(picture);
}

function scales(versions, verdicts, width) {
  const first = versions[0].number, last = Math.max(versions.at(-1).number, ...verdicts.map((verdict) => verdict.at));
  const values = [...versions, ...verdicts].map((one) => one.value);
  const isFraction = metric.unit === "fraction", least = Math.min(...values), most = Math.max(...values);
  const step = stepFor(most - least, 5, isFraction ? [0.01, 0.02, 0.05, 0.1, 0.2] : roundSteps(most - least || Math.abs(most) || 1));
  const floor = Math.floor(least / step - 0.25) * step;
  const low = isFraction || least >= 0 ? Math.max(0, floor) : floor;
  const high = Math.min(isFraction ? 1 : Infinity, Math.max(Math.ceil(most / step + 0.25) * step, low + 2 * step));
  const across = width - MARGIN.left - MARGIN.right, down = HEIGHT - MARGIN.top - MARGIN.bottom;
  const stepX = stepFor(last - first, width / 70, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10_000]);
  return {
    first, last, width,
    x: (number) => MARGIN.left + (last === first ? across / 2 : 8 + ((number - first) / (last - first)) * (across - 16)),
    y: (value) => MARGIN.top + (1 - (value - low) / (high - low)) * down,
    ticksY: ticks(low, high, step),
    ticksX: ticks(Math.ceil(first / stepX) * stepX, last, stepX),
  };
}

/** Steps of 1, 2 and 5 times a power of ten, for values of this span. */
function roundSteps(span) {
  const power = 10 ** Math.floor(Math.log10(span) - 1);
  return [1, 2, 5, 10, 20].map((times) => times * power);
}

const stepFor = (span, most, steps) => steps.find((step) => span / step <= most) ?? steps.at(-1);

function ticks(low, high, step) {
  return Array.from({ length: Math.floor((high - low) / step + 1e-6) + 1 }, (_, place) => low + place * step);
}

function line(scale, tick) {
  const y = Math.round(scale.y(tick)) + 0.5;
  return svg("g", {},
    svg("line", { x1: MARGIN.left, x2: scale.width - MARGIN.right, y1: y, y2: y, class: "grid" }),
    text(MARGIN.left - 8, y + 4, "end", measured(tick, metric, 0)));
}

function text(x, y, anchor, words) {
  return svg("text", { x, y, "text-anchor": anchor }, words);
}

function marker(scale, version) {
  const title = `Version ${version.number}: ${measured(version.value, metric)}, ${ORIGINS[version.origin]} (${version.origin}), ${clock(version.created_at)}`;
  return svg("g", { transform: `translate(${scale.x(version.number)} ${scale.y(version.value)})`, class: `marker ${version.origin}` },
    svg("circle", { r: 11, class: "reach" }), svg("path", { d: SHAPES[version.origin] }), svg("title", {}, title));
}

function receivedMark(scale, { at, kind, value, peer, reason }) {
  return svg("g", { transform: `translate(${scale.x(at)} ${scale.y(value)})`, class: `received ${kind}` },
    svg("circle", { r: 8, class: "reach" }), svg("path", { d: RECEIVED[kind][1] }),
    svg("title", {}, `Model of cart ${shortId(peer)}: ${measured(value, metric)}, ${words(reason)}`));
}

function inWords(versions) {
  const first = versions[0], last = versions.at(-1);
  return `${metricTitle(metric)} of the last ${many(versions.length, "version")}, ${metric.direction} is better: ` +
    `version ${first.number} ${measured(first.value, metric)}, version ${last.number} ${measured(last.value, metric)}. ` +
    "The table below has them all.";
}

function showLegend() {
  const present = Object.keys(ORIGINS).filter((origin) => shown.some((version) => version.origin === origin));
  keyed(byId("legend"), present, (origin) => origin, (origin) => el("li", {},
    svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true", class: `marker ${origin}` }, svg("path", { d: SHAPES[origin] })),
    `${origin}: ${ORIGINS[origin]}`), () => {});
  const kinds = Object.keys(RECEIVED).filter((kind) => received.some((verdict) => verdict.kind === kind));
  keyed(byId("received-legend"), kinds, (kind) => kind, (kind) => el("li", {},
    svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true", class: `received ${kind}` }, svg("path", { d: RECEIVED[kind][1] })),
    RECEIVED[kind][0]), () => {});
}

function makeRow(version) {
  return el("tr", {}, el("th", { scope: "row" }, String(version.number)), el("td", {}, version.origin),
    el("td", { className: "n" }, measured(version.value, version.metric)),
    el("td", { className: "n" }, many(version.samples, "row")), el("td", { className: "number" }, clock(version.created_at)));
}
