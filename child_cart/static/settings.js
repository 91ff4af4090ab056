// The settings: live ones are changed in place, and the error for a wrong value is shown beside its field.

import { get, put } from "./api.js";
import { byId, el, keyed, mark, say } from "./dom.js";
import { bytes } from "./format.js";

const EVERY_MS = 15_000;
const shownValues = new Map(); // name -> the last value from the cart

export function startSettings() {
  refreshSettings();
  setInterval(() => document.hidden || refreshSettings(), EVERY_MS);
}

export async function refreshSettings() {
  try {
    show((await get("/api/settings")).settings);
  } catch {
    // The page says already that the cart does not answer; the next try is near.
  }
}

function show(settings) {
  const live = settings.filter((setting) => setting.live), fixed = settings.filter((setting) => !setting.live);
  keyed(byId("settings"), live, (setting) => setting.name, makeLive, fillLive);
  keyed(byId("fixed"), fixed, (setting) => setting.name, makeFixed, fillFixed);
  say(byId("fixed-title"), `Set at start (${fixed.length})`);
}

function unit(name, value) {
  const found = unitOf(name);
  return Number(value) === 1 && found.length > 2 && !found.includes("/") ? found.replace(/s$/, "") : found;
}

function unitOf(name) {
  if (name.endsWith("_bytes_per_s")) return "bytes/s";
  if (name.endsWith("_s")) return "s";
  if (name.endsWith("_bytes")) return "bytes";
  return { accept_backward: "points", accept_forward: "points", dataset_size: "rows", max_round_rows: "rows",
    cluster_size: "peers", min_peers: "peers", keep_versions: "files", keep_rounds: "rounds", starter_rows: "rows", train_threads: "threads" }[name] ?? "";
}

const readable = ({ name, value }) => (unitOf(name) === "bytes" && value >= 1000 ? ` (${bytes(value)})` : "");

// A live setting.

function makeLive(setting) {
  const { name, choices } = setting;
  const field = choices.length
    ? el("select", {}, ...choices.map((choice) => el("option", { value: choice }, choice)))
    : el("input", { type: "text", inputMode: setting.type === "str" ? "text" : "decimal", autocomplete: "off", spellcheck: false });
  field.id = `setting-${name}`;
  field.setAttribute("aria-describedby", `help-${name} error-${name}`);
  const save = el("button", { type: "submit", className: "main save", hidden: true, "aria-label": `Save ${name}` }, "Save");
  const back = el("button", { type: "button", className: "back quiet", "aria-label": `Take the change of ${name} back` }, "Take back");
  const form = el("form", { className: "setting", noValidate: true },
    el("label", { htmlFor: field.id }, el("code", {}, name), el("span", { className: "tag changed" }, "changed")),
    el("span", { className: "field" }, field, el("span", { className: "unit soft small" })),
    el("p", { className: "help soft small", id: `help-${name}` }),
    el("p", { className: "error small", id: `error-${name}`, role: "alert", hidden: true }), save,
    el("p", { className: "start small soft" }, el("span", {}), back));
  const offer = () => (save.hidden = field.value === shownValues.get(name));
  field.addEventListener("input", offer);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      field.value = shownValues.get(name);
      offer();
      sayError(form, "");
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!save.hidden) change(form, name, field.value.trim());
  });
  back.addEventListener("click", () => change(form, name, null));
  return form;
}

function fillLive(form, setting) {
  const field = form.querySelector("input, select");
  const value = String(setting.value);
  // Leave an edited field alone until it is saved.
  if (field.value === (shownValues.get(setting.name) ?? "") || !shownValues.has(setting.name)) field.value = value;
  shownValues.set(setting.name, value);
  say(form.querySelector(".unit"), unit(setting.name, value));
  form.querySelector(".save").hidden = field.value === value;
  say(form.querySelector(".help"), `${sentence(setting.help)}${rule(setting)}`);
  form.querySelector(".changed").hidden = !setting.changed;
  form.querySelector(".start").hidden = !setting.changed;
  say(form.querySelector(".start span"), `At start it was ${setting.start_value} ${unit(setting.name, setting.start_value)}.`.replace(" .", "."));
}

function rule({ type, minimum, maximum, choices, name, value }) {
  if (choices.length || minimum === null || type === "str") return "";
  const size = unitOf(name) === "bytes" ? `; ${bytes(value)} now` : "";
  return ` ${minimum.toLocaleString("en")} to ${maximum.toLocaleString("en")}${size}.`;
}

const sentence = (help) => `${help[0].toUpperCase()}${help.slice(1)}.`;

async function change(form, name, value) {
  sayError(form, "");
  try {
    const { settings } = await put(`/api/settings/${encodeURIComponent(name)}`, { value });
    // Saved or taken back: the field follows the cart from now on.
    shownValues.delete(name);
    show(settings);
  } catch (error) {
    sayError(form, error.message);
  }
}

function sayError(form, text) {
  const error = form.querySelector(".error");
  error.hidden = text === "";
  say(error, text);
  mark(form.querySelector("input, select"), "aria-invalid", text ? "true" : null);
}

// A setting that is fixed at the start.

function makeFixed(setting) {
  return el("div", { className: "setting" }, el("span", { className: "label" }, el("code", {}, setting.name)),
    el("span", { className: "value number" }), el("p", { className: "help soft small" }, `${sentence(setting.help)} `,
      el("span", { className: "restart" }, "Needs a restart with ", el("code", {}, setting.flag), " or ", el("code", {}, setting.variable), ".")));
}

function fillFixed(node, setting) {
  const value = setting.value === "" ? "not set" : `${setting.value} ${unit(setting.name, setting.value)}`.trim();
  say(node.querySelector(".value"), value + readable(setting));
}
