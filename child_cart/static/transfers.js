// Models on their way in and out, each with its progress and speed.

import { byId, el, keyed, say } from "./dom.js";
import { bytes, duration, rate, shortId, words } from "./format.js";

const ENDED = new Set(["DONE", "FAILED"]);
const seen = new Map(); // transfer id -> the last status, from which the speed follows

export function showTransfers({ transfers, now }) {
  byId("no-transfers").hidden = transfers.length > 0;
  keyed(byId("transfers"), transfers, (transfer) => transfer.transfer_id, make, (node, transfer) => fill(node, transfer, now));
  seen.clear();
  for (const transfer of transfers) seen.set(transfer.transfer_id, { moved: transfer.moved_bytes, at: now });
}

function make({ direction, peer }) {
  const way = direction === "IN" ? "from" : "to";
  return el("li", {},
    el("span", { className: "way" }, el("span", { "aria-hidden": "true" }, direction === "IN" ? "↓ " : "↑ "),
      `${direction} ${way} `, el("code", { title: peer }, shortId(peer))),
    el("span", { className: "state" }),
    el("progress", { "aria-label": `Model ${way} cart ${shortId(peer)}` }),
    el("span", { className: "amount number small soft" }),
    el("span", { className: "reason small" }));
}

function fill(node, transfer, now) {
  const { state, total_bytes, moved_bytes } = transfer;
  const label = node.querySelector(".state"), bar = node.querySelector("progress");
  say(label, words(state));
  label.className = `state small ${state === "DONE" ? "good" : state === "FAILED" ? "bad" : "soft"}`;
  bar.max = total_bytes || 1;
  bar.value = moved_bytes;
  const size = total_bytes ? `${bytes(moved_bytes)} of ${bytes(total_bytes)}` : "size not known yet";
  say(node.querySelector(".amount"), [size, ...pace(transfer, now)].join(" · "));
  say(node.querySelector(".reason"), transfer.reason);
}

/** Speed and duration; while a transfer runs, the speed since the last status. */
function pace({ transfer_id, state, moved_bytes, started_at, ended_at }, now) {
  const took = Math.max((ended_at ?? now) - started_at, 0.001);
  if (ENDED.has(state)) return moved_bytes ? [rate(moved_bytes / took), duration(took)] : [duration(took)];
  const last = seen.get(transfer_id);
  const speed = last && now > last.at ? (moved_bytes - last.moved) / (now - last.at) : moved_bytes / took;
  return [rate(speed), duration(took)];
}
