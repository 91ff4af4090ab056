// Who the cart is and what it does now: heading, tiles, training and events.

import { byId, el, keyed, mark, say } from "./dom.js";
import { bytes, clock, count, duration, many, measured, percent, rate, shortId, words } from "./format.js";

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
let last = null; // bytes moved by the last status, for the speed
const ROW_CHARS = 200;
const ROUND_STAGES = ["TRAINING", "CLUSTERING", "COLLECTING", "AVERAGING"];

export function showOverview(status) {
  showIdentity(status);
  showLink(status);
  showModel(status);
  showTraining(status);
  say(byId("stage"), `${status.role} · ${status.stage}`);
  say(byId("stage-about"), STAGES[status.stage] ?? "");
  say(byId("stage-since"), `${status.role} for ${duration(status.now - status.role_since)}, ${status.stage} for ${duration(status.now - status.stage_since)}`);
  showSharing(status);
  showTraffic(status);
  showDisk(status);
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

function showLink({ link, bridges, now, fleet }) {
  const open = fleet === "open";
  say(byId("fleet"), open ? "open fleet" : "closed fleet");
  byId("fleet").className = open ? "warn" : "";
  say(byId("link-state"), link.state);
  byId("link-state").className = link.state === "ATTACHED" ? "good" : "warn";
  showUrl(byId("link-url"), link.url);
  const others = bridges.filter((bridge) => bridge.url !== link.url);
  byId("no-bridges").hidden = others.length > 0;
  byId("bridges").hidden = others.length === 0;
  say(byId("bridges-count"), `${many(others.length, "other bridge")} known`);
  keyed(byId("bridge-list"), others, (bridge) => bridge.url, () => el("li"), (node, bridge) => say(node, bridgeLine(bridge)));
  say(byId("link-since"), `since ${clock(link.since)} (${duration(now - link.since)})${link.reason ? `: ${link.reason}` : ""}`);
}

/** Show an address that may break after its scheme, and nowhere else. */
function showUrl(node, url) {
  const start = url.indexOf("//") + 2;
  if (node.textContent !== url) node.replaceChildren(url.slice(0, start), el("wbr"), url.slice(start));
}

function bridgeLine({ url, load, round_trip_s, seen_at }) {
  const distance = round_trip_s === null ? "not measured" : `${duration(round_trip_s)} away`;
  return `${url}: ${percent(load, 0)} full, ${distance}${seen_at ? `, named at ${clock(seen_at)}` : ""}`;
}

export function showCautions({ cautions }) {
  keyed(byId("cautions"), cautions, (caution) => caution.sentence.replace(/\d+/g, ""), () => el("li", {}, el("strong"), el("span")), (node, { weight, sentence }) => {
    node.className = weight;
    say(node.firstElementChild, words(weight));
    say(node.lastElementChild, sentence);
  });
}

function showSharing({ sharing, stage, role }) {
  say(byId("sharing-state"), sharing ? "on" : "paused");
  byId("sharing-state").className = sharing ? "good" : "warn";
  const still = role === "KERNEL" || stage === "COLLECTING" ? " Transfers under way still finish." : "";
  say(byId("sharing-about"), sharing ? "Peers get this cart's model when they ask, and it asks for theirs." : `Peers get a refusal; rounds end after the training.${still}`);
  say(byId("sharing"), sharing ? "Pause sharing" : "Share again");
  byId("sharing").dataset.next = sharing ? "off" : "on";
}

function showTraffic({ bytes_in, bytes_out, transfers, now }) {
  const moved = bytes_in + bytes_out + transfers.filter((one) => one.ended_at === null).reduce((sum, one) => sum + one.moved_bytes, 0);
  const speed = last && now > last.now ? Math.max(0, moved - last.moved) / (now - last.now) : 0;
  last = { moved, now };
  say(byId("bytes-in"), `${bytes(bytes_in)} received`);
  say(byId("bytes-out"), `${bytes(bytes_out)} sent`);
  say(byId("speed"), `${rate(speed)} now`);
}

function showDisk({ disk, store }) {
  const own = disk.database_bytes + disk.models_bytes + disk.backup_bytes + disk.other_bytes;
  say(byId("disk"), `${bytes(own)} used`);
  byId("store-about").className = store.answers ? "" : "bad";
  const used = 1 - disk.free_bytes / disk.total_bytes;
  const bar = byId("disk-bar");
  bar.max = disk.total_bytes;
  bar.value = disk.total_bytes - disk.free_bytes;
  say(byId("disk-about"), `disk ${percent(used, 0)} full, ${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)} free`);
  say(byId("store-about"), `${store.name === "embedded" ? `database ${bytes(disk.database_bytes)}` : `sales and rows in ${store.name}`}${store.answers ? "" : `, not seen since ${clock(store.seen_at)}`}, ${many(disk.model_files, "model file")} ${bytes(disk.models_bytes)}, backups ${bytes(disk.backup_bytes)}`);
}

function showModel({ model, rows, sales }) {
  say(byId("model"), model ? `Version ${model.number} · ${model.origin}` : "none yet");
  say(byId("model-measured"), model && model.value !== null ? `${model.metric.name} ${measured(model.value, model.metric)}` : "not measured");
  say(byId("model-about"), model ? `trained on ${many(model.samples, "row")} so far` : "");
  say(byId("rows"), `${count(rows.waiting)} of ${count(rows.dataset_size)}`);
  const bar = byId("rows-bar");
  bar.max = rows.dataset_size;
  bar.value = Math.min(rows.waiting, rows.dataset_size);
  say(byId("rows-about"), `${many(rows.total, "row")} kept in all, ${many(sales, "sale")}`);
}

/** Show the newest rows that no training takes, each with its reason. */
export function showSetAside(rows, total) {
  byId("set-aside").hidden = total === 0;
  say(byId("set-aside-count"), `${many(total, "row")} set aside`);
  keyed(byId("set-aside-list"), rows, (row) => row.sequence, () => el("li"),
    (node, row) => say(node, `Row ${row.sequence}: ${row.reason}. ${JSON.stringify(row.row).slice(0, ROW_CHARS)}`));
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
  showCluster(status);
  const missing = Math.max(0, rows.dataset_size - rows.waiting);
  const idle = `No round is running. ${missing ? `${many(missing, "more row")} ${missing === 1 ? "starts" : "start"} the next one.` : ""}`;
  say(byId("now"), round ? STAGES[stage] : stage === "SERVING" ? idle : STAGES[stage]);
}

/** The peers of the running round: those that have a verdict, and those whose model is on its way. */
function showCluster({ round, transfers }) {
  byId("cluster").hidden = !round?.cluster_id;
  if (!round?.cluster_id) return;
  const judged = round.verdicts.map((verdict) => `${shortId(verdict.peer)} (${words(verdict.reason)})`);
  const known = new Set(round.verdicts.map((verdict) => verdict.peer));
  const coming = transfers.filter((one) => one.direction === "IN" && one.ended_at === null && !known.has(one.peer))
    .map((one) => `${shortId(one.peer)} (${words(one.state)}${one.total_bytes ? `, ${percent(one.moved_bytes / one.total_bytes, 0)}` : ""})`);
  say(byId("cluster"), `Cluster ${shortId(round.cluster_id)}: ${[...judged, ...coming].join(", ") || "no answer yet"}`);
}

function fillStep(node, step, { stage, stage_since, now, round }) {
  const took = round?.phase_s[step.toLowerCase()];
  const current = stage === step;
  mark(node, "aria-current", current ? "step" : null);
  node.className = current ? "current" : took === undefined ? "" : "done";
  say(node.lastElementChild, current ? duration(now - stage_since) : took === undefined ? "" : duration(took));
}
