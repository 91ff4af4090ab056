// Scanning on the shop page: hand scanner, photo, this device's camera, the cart's camera. The cart reads the codes.

import { get, post, postFile } from "./api.js";
import { byId, mark, say } from "./dom.js";
import { closeCamera, frameOf, openCamera, photoOf, whyNoCamera } from "./camera_capture.js";
import { watchWedge } from "./wedge.js";

const PAUSE_MS = 120;
const AFTER_ERROR_MS = 1500;
const AGAIN_AFTER_MS = 2500; // a code counts again after it was out of sight for this long

let takeItem = null;
let running = null; // the camera in use: its button, and how to take one look and to end
const seen = new Map(); // text -> when it was last in sight

/** `take` is called with each item that was scanned; it returns what to tell the shopper. */
export function startScanning(take) {
  takeItem = take;
  watchWedge({ scanned: lookUp, dropped: (sentence) => tell(sentence, true) });
  byId("scan-photo").addEventListener("change", scanPhoto);
  byId("scan-here").addEventListener("click", () => toggle(byId("scan-here"), filmHere));
  byId("scan-cart").addEventListener("click", () => toggle(byId("scan-cart"), filmCart));
  document.addEventListener("visibilitychange", () => document.hidden && stop());
  window.addEventListener("pagehide", stop);
  const why = whyNoCamera();
  byId("scan-here").disabled = why !== "";
  if (why) {
    say(byId("scan-hint"), `${byId("scan-hint").textContent} ${why}`);
    mark(byId("scan-here"), "aria-describedby", "scan-hint");
  }
  showWays();
}

/** Show only what this cart has. */
async function showWays() {
  try {
    const { scanner } = await get("/api/status");
    byId("scan-cart").hidden = scanner.camera.state === "NONE";
    if (scanner.decoder === null) tell(scanner.sentence, true);
  } catch {
    // The page works without cameras: hand scanner and items remain.
  }
}

// One look: what was typed, and photos.

/** Look a code up, and take its item or say why there is none. */
export function lookUp(text, byPosition) {
  if (document.querySelector("dialog[open]")) return tell(`The scan of “${text}” was dropped. Answer the question first, then scan it again.`, true);
  return once(() => post("/api/scan/text", { text, by_position: byPosition }), "Looking the code up …");
}

async function scanPhoto() {
  const field = byId("scan-photo"), [file] = field.files;
  field.value = ""; // so that the same photo can be chosen again
  if (file) await once(async () => postFile("/api/scan", await photoOf(file)), "Looking for codes in the photo …", "No code was found in the photo. Go closer, and hold still.");
}

async function once(ask, meanwhile, nothing = "") {
  tell(meanwhile);
  try {
    const { codes } = await ask();
    if (codes.length) takeAll(codes);
    else tell(nothing, true);
  } catch (error) {
    tell(error.message, true);
  }
}

function takeAll(codes) {
  const told = codes.map(({ item, sentence }) => (item ? takeItem(item) : sentence));
  tell(told.join(" "), codes.some(({ item }) => item === null));
}

// Look after look: cameras.

async function toggle(button, film) {
  const again = running?.button === button;
  stop();
  if (again) return;
  const mine = (running = { button, look: null, end: () => {} });
  mark(button, "aria-pressed", "true");
  byId("scan-view").hidden = false;
  sayState("Opening the camera …");
  tell("");
  try {
    await film(mine);
  } catch (error) {
    if (running !== mine) return mine.end();
    stop();
    tell(error.message, true);
    return;
  }
  if (running === mine) watch(mine);
  else mine.end(); // it was switched off while it opened
}

async function filmHere(mine) {
  const video = byId("scan-video");
  const stream = await openCamera(video);
  mine.end = () => {
    closeCamera(stream);
    video.srcObject = null;
    video.hidden = true;
  };
  video.hidden = false;
  mine.look = async () => postFile("/api/scan?thorough=0", await frameOf(video));
}

async function filmCart(mine) {
  const image = byId("scan-frame");
  let after = 0;
  mine.end = () => {
    image.hidden = true;
    image.removeAttribute("src");
  };
  mine.look = async () => {
    try {
      const answer = await post(`/api/camera/scan?after=${after}`);
      after = answer.frame;
      image.src = `/api/camera/frame?number=${after}`;
      image.hidden = false;
      return answer;
    } catch (error) {
      after = 0; // a cart that was restarted counts from one again
      throw error;
    }
  };
}

async function watch(mine) {
  while (running === mine) {
    let pause = PAUSE_MS;
    try {
      const { codes } = await mine.look();
      if (running !== mine) break;
      sayState("Hold a label or a barcode before the camera.");
      const fresh = codes.filter(({ text }) => isNew(text));
      if (fresh.length) takeAll(fresh);
    } catch (error) {
      if (running !== mine) break;
      sayState(error.message);
      pause = AFTER_ERROR_MS;
    }
    await new Promise((done) => setTimeout(done, pause));
  }
}

function isNew(text) {
  const now = performance.now(), before = seen.get(text) ?? -Infinity;
  seen.set(text, now);
  return now - before > AGAIN_AFTER_MS;
}

function stop() {
  if (running === null) return;
  const { button, end } = running;
  running = null;
  end();
  seen.clear();
  mark(button, "aria-pressed", "false");
  byId("scan-view").hidden = true;
}

const sayState = (text) => say(byId("scan-state"), text);

function tell(text, bad = false) {
  const node = byId("scan-said");
  node.hidden = text === "";
  node.className = `notice${bad ? " bad" : ""}`;
  say(node, text);
}
