// Who the cart is and what it does now: heading, tiles, training and events.

import { byId, el, keyed, mark, say } from "./dom.js";
import { bytes, clock, count, duration, many, percent, shortId, words } from "./format.js";

const STAGES = {
  PREPARING: "Getting the model ready.",
  JOINING: "Asking peers for their model.",
  STARTING: "Training on the starter data.",
  SERVING: "Selling, and giving the model to peers that ask.",
  TRAINING: "Training on the waiting rows.",
  CLUSTERING: "Asking the bridge for peers.",
  COLLECTING: "Receiving and judging the models of peers.",
  AVERAGING: "Averaging the accepted models with its own.",
};
const ROUND_STAGES = ["TRAINING", "CLUSTERING", "COLLECTING", "AVERAGING"];

export function showOverview(status) {
  showIdentity(status);
  showLink(status);
  showModel(status);
  showTraining(status);
  say(byId("stage"), `${status.role} · ${status.stage}`);
  say(byId("stage-about"), STAGES[status.stage] ?? "");
  say(byId("stage-since"), `for ${duration(status.now - status.stage_since)}`);
  say(byId("bytes-in"), `${bytes(status.bytes_in)} in`);
  say(byId("bytes-out"), `${bytes(status.bytes_out)} out`);
  const trains = status.trainer_process !== null;
  say(byId("trainer"), trains ? "running" : "not running");
  say(byId("trainer-about"), trains ? `process id ${status.trainer_process}` : "It starts when there is something to train.");
  showScanner(status.scanner);
  keyed(byId("events"), status.events, (event) => `${event.at} ${event.text}`,
    (event) => el("li", {}, el("time", { className: "number soft" }, clock(event.at)), el("span", {}, event.text)), () => {});
}

function showIdentity(status) {
  say(byId("name"), `Cart ${shortId(status.cart_id)}`);
  document.title = `Cart ${shortId(status.cart_id)} · Admin`;
  say(byId("fingerprint"), status.cart_id);
  const share = status.share === "1/1" ? "" : ` (share ${status.share})`;
  const up = `running for ${duration(status.now - status.started_at)}`;
  say(byId("about"), `Learns ${status.task}${share} · ${up} · program ${status.program_version}`);
}

function showLink({ link, now, fleet }) {
  const open = fleet === "open";
  say(byId("fleet"), open ? "Open fleet: no fleet key was given, so strangers' carts can join." : "Closed fleet");
  byId("fleet").className = open ? "warn" : "";
  say(byId("link-state"), link.state);
  byId("link-state").className = link.state === "ATTACHED" ? "good" : "warn";
  say(byId("link-url"), link.url);
  say(byId("link-since"), `since ${clock(link.since)} (${duration(now - link.since)})${link.reason ? `: ${link.reason}` : ""}`);
}

function showModel({ model, rows, sales }) {
  say(byId("model"), model ? `Version ${model.number} · ${model.origin}` : "none yet");
  const measured = model && model.origin !== "INITIAL";
  say(byId("model-accuracy"), measured ? `${percent(model.accuracy)} accurate` : "not measured yet");
  say(byId("model-about"), model ? `trained on ${many(model.samples, "row")} so far` : "");
  say(byId("rows"), `${count(rows.waiting)} of ${count(rows.dataset_size)}`);
  const bar = byId("rows-bar");
  bar.max = rows.dataset_size;
  bar.value = Math.min(rows.waiting, rows.dataset_size);
  say(byId("rows-about"), `${many(rows.total, "row")} kept in all, ${many(sales, "sale")}`);
}

function showScanner({ decoder, formats, sentence, camera }) {
  say(byId("decoder"), decoder ?? "none");
  byId("decoder").className = decoder ? "" : "warn";
  say(byId("decoder-about"), [formats.length ? `Reads ${formats.join(", ")}.` : "", sentence].join(" ").trim());
  byId("decoder-about").className = sentence ? "warn" : "";
  const place = camera.width ? `, ${camera.width} × ${camera.height} pixels` : "";
  const source = camera.source ? `Camera ${camera.source}: ${words(camera.state)}${place}. ` : "";
  say(byId("camera"), `${source}${camera.sentence}`);
  byId("camera").className = camera.state === "AWAY" ? "warn" : "";
}

function showTraining(status) {
  const { stage, epoch, round, rows } = status;
  keyed(byId("steps"), ROUND_STAGES, (step) => step, (step) => el("li", {}, el("span", {}, words(step)), el("small")),
    (node, step) => fillStep(node, step, status));
  byId("steps").hidden = round === null;
  byId("training").hidden = epoch === null;
  if (epoch !== null) {
    byId("training-bar").max = epoch.epochs;
    byId("training-bar").value = epoch.epoch;
    say(byId("training-text"), `Epoch ${epoch.epoch} of ${epoch.epochs}, loss ${epoch.loss === null ? "not finite" : epoch.loss.toFixed(3)}`);
  }
  const missing = Math.max(0, rows.dataset_size - rows.waiting);
  const idle = `No round is running. ${missing ? `${many(missing, "more row")} ${missing === 1 ? "starts" : "start"} the next one.` : ""}`;
  say(byId("now"), round ? STAGES[stage] : stage === "SERVING" ? idle : STAGES[stage]);
}

function fillStep(node, step, { stage, stage_since, now, round }) {
  const took = round?.phase_s[step.toLowerCase()];
  const current = stage === step;
  mark(node, "aria-current", current ? "step" : null);
  node.className = current ? "current" : took === undefined ? "" : "done";
  say(node.lastElementChild, current ? duration(now - stage_since) : took === undefined ? "" : duration(took));
}
