// The admin page: asks for the cart's status each second and hands it to the parts of the page.

import { startActions } from "./actions.js";
import { get } from "./api.js";
import { showVersions } from "./chart.js";
import { byId, ready, say } from "./dom.js";
import { showExports, startExports } from "./exports.js";
import { showFigures } from "./figures.js";
import { clock, duration } from "./format.js";
import { startLog } from "./log.js";
import { showCautions, showOverview, showSetAside } from "./overview.js";
import { showLiveRound, showRounds } from "./rounds.js";
import { startSettings } from "./settings.js";
import { showTransfers } from "./transfers.js";

const EVERY_MS = 1000;
const ROUNDS_SHOWN = 10;
const ROUNDS_CHARTED = 100;
const VERSIONS_SHOWN = 200;
const SET_ASIDE_SHOWN = 20;

let timer = 0;
let polling = false;
let lastAnswer = 0; // by this browser's clock, in milliseconds
const kept = { rounds: "", setAside: 0 };

async function poll() {
  clearTimeout(timer);
  if (document.hidden || polling) return;
  polling = true;
  try {
    const status = await get("/api/status");
    lastAnswer = Date.now();
    speak(status);
    await show(status);
  } catch (error) {
    fallSilent(error);
  } finally {
    polling = false;
    timer = setTimeout(poll, EVERY_MS);
  }
}

async function show(status) {
  showOverview(status);
  showTransfers(status);
  showLiveRound(status.round, status);
  showCautions(status);
  showExports(status);
  const { model, rows, store } = status;
  if (!store.answers) return; // the rest is from the store
  await ifChanged("setAside", rows.set_aside, async () => {
    showSetAside((await get(`/api/rows/set-aside?limit=${SET_ASIDE_SHOWN}`)).rows, rows.set_aside);
  });
  await ifChanged("rounds", `${status.rounds_ended} ${model?.number} ${model?.created_at}`, async () => {
    const [{ versions }, { rounds }, figures] = await Promise.all([
      get(`/api/versions?limit=${VERSIONS_SHOWN}`), get(`/api/rounds?limit=${ROUNDS_CHARTED}`), get("/api/figures")]);
    showVersions(versions, rounds);
    showRounds(rounds.slice(0, ROUNDS_SHOWN));
    showFigures(figures);
  });
}

/** Fetch and show something long only when what it depends on has changed. */
async function ifChanged(part, state, fetchAndShow) {
  if (kept[part] === state) return;
  await fetchAndShow();
  kept[part] = state;
}

function speak(status) {
  byId("silent").hidden = true;
  document.body.classList.remove("silent");
  say(byId("pulse"), `Live · ${clock(status.now)}`);
}

function fallSilent(error) {
  document.body.classList.add("silent");
  // The alert changes with the failure only: a screen reader is not told each second. The age beside it goes on.
  byId("silent").hidden = false;
  say(byId("silent"), `${error.message} Asking again each second.`);
  say(byId("pulse"), lastAnswer ? `Not live for ${duration((Date.now() - lastAnswer) / 1000)}` : "Not live yet");
}

document.addEventListener("visibilitychange", poll);
startActions(poll);
startExports(poll);
startLog();
startSettings();
poll().then(ready); // the buttons act on what the cart has said
