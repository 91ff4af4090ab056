// The model as a file: the trainer process converts it on request, then it can be downloaded.

import { post } from "./api.js";
import { byId, el, keyed, say } from "./dom.js";
import { bytes } from "./format.js";

const NAMES = { h5: ["HDF5", "weights alone"], keras: ["Keras", "whole model"], tflite: ["TFLite", "for phones"] };
let refresh = () => {};

export function startExports(done) {
  refresh = done;
}

export function showExports({ exports, model }) {
  keyed(byId("exports"), Object.keys(NAMES).filter((kind) => kind in exports), (kind) => kind, make, (node, kind) => fill(node, exports[kind], model));
}

function make(kind) {
  const [name, what] = NAMES[kind];
  const button = el("button", { type: "button" }, "Make the file");
  const node = el("li", {}, el("span", { id: `export-${kind}`, className: "what" }, el("strong", {}, name), ` ${what}`), el("span", { className: "state small soft" }),
    el("span", { className: "do" }, el("a", { href: `/api/exports/${kind}`, className: "button", download: "" }), button));
  button.setAttribute("aria-describedby", `export-${kind}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post("/api/exports", { kind });
    } catch (error) {
      say(node.querySelector(".state"), error.message);
    }
    refresh();
  });
  return node;
}

function fill(node, { state, version, size_bytes, sentence }, model) {
  const [button, link] = [node.querySelector("button"), node.querySelector("a")];
  const older = state === "READY" && version !== model?.number;
  const about = {
    NONE: "", WORKING: `Version ${version} is being converted …`, FAILED: sentence,
    READY: "",
  }[state];
  say(node.querySelector(".state"), about);
  node.querySelector(".state").className = `state small ${state === "FAILED" ? "bad" : "soft"}`;
  link.hidden = state !== "READY";
  say(link, state === "READY" ? `Version ${version}, ${bytes(size_bytes)} ↓` : "");
  say(button, older ? `Make version ${model?.number}` : "Make the file");
  button.hidden = state === "READY" && !older;
  button.disabled = state === "WORKING" || !model || model.number === 0;
}
