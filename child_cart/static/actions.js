// Actions of the admin page: train now, pause sharing, and reset, which asks twice.

import { post, put } from "./api.js";
import { byId, say } from "./dom.js";
import { refreshSettings } from "./settings.js";

const MESSAGE_MS = 8000;
let fading = 0;

/** `done` is called after each action, to show at once what it did. */
export function startActions(done) {
  byId("train").addEventListener("click", () => act("/api/train", {}, "The cart trains on the rows that wait, if there are any.", done));
  byId("sharing").addEventListener("click", () => switchSharing(done));
  const dialog = byId("reset-dialog"), word = byId("reset-word");
  byId("reset").addEventListener("click", () => {
    word.value = "";
    sayInDialog("");
    arm();
    dialog.showModal();
    word.focus();
  });
  word.addEventListener("input", arm);
  byId("reset-no").addEventListener("click", () => dialog.close());
  byId("reset-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (byId("reset-yes").disabled) return;
    try {
      await post("/api/reset", { confirm: word.value.trim() });
    } catch (error) {
      sayInDialog(error.message);
      return;
    }
    dialog.close();
    tell("The model is being reset. Sales and rows are kept.");
    done();
  });
}

/** Toggle sharing, from the state that the page shows. */
async function switchSharing(done) {
  const value = byId("sharing").dataset.next;
  if (value === undefined) return tell("The cart has not said yet whether it shares. Try again when it answers.", true);
  try {
    await put("/api/settings/sharing", { value });
    tell(value === "on" ? "The cart gives its model to peers and asks for theirs." : "Sharing is paused: the cart trains alone and refuses requests for its model.");
    refreshSettings();
  } catch (error) {
    tell(error.message, true);
  }
  done();
}

async function act(address, body, sentence, done) {
  try {
    await post(address, body);
    tell(sentence);
  } catch (error) {
    tell(error.message, true);
  }
  done();
}

function arm() {
  byId("reset-yes").disabled = byId("reset-word").value.trim() !== "reset";
}

function sayInDialog(text) {
  byId("reset-error").hidden = text === "";
  say(byId("reset-error"), text);
}

function tell(text, bad = false) {
  const node = byId("message");
  node.className = `notice${bad ? " bad" : ""}`;
  node.hidden = false;
  say(node, text);
  clearTimeout(fading);
  fading = setTimeout(() => (node.hidden = true), MESSAGE_MS);
}
