// Keep the page up to date: load it again and replace the parts that differ, so that scroll positions stay.

const EVERY_MS = 2000;
const PARTS = ["about", "clock", "facts", "chart", "carts", "more", "bridges", "events"];
const pulse = document.getElementById("pulse");
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const answer = await fetch("/", { signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error(`It answered with status ${answer.status}.`);
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    tell(`Live · ${new Date().toLocaleTimeString("en-GB")}`, true);
  } catch (error) {
    tell(`Not live: the bridge does not answer. ${error.name === "Error" ? error.message : ""}`, false);
  }
  timer = setTimeout(refresh, EVERY_MS);
}

function take(fresh) {
  for (const id of PARTS) {
    const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
    if (now && !old.isEqualNode(now)) old.replaceWith(document.adoptNode(now));
  }
}

function tell(text, live) {
  pulse.textContent = text;
  pulse.className = live ? "live" : "silent";
  document.body.className = live ? "" : "old";
}

document.addEventListener("visibilitychange", refresh);
refresh();
