// The catalogue page: items as a table, added and changed in a dialog, read from and written to CSV files.

import { get, post, postFile, put } from "./api.js";
import { byId, el, keyed, mark, ready, say } from "./dom.js";
import { many, money } from "./format.js";
import { ItemForm } from "./itemform.js";
import { likelier } from "./scan_keys.js";
import { watchWedge } from "./wedge.js";

const MAX_SHOWN = 200;

let items = [];
let categories = {};
let readOnly = false; // a shared catalogue is changed elsewhere
let form = null;
const picked = new Set(); // codes of the items to print labels for

async function start() {
  try {
    await load();
  } catch (error) {
    tell(`${error.message} Trying again.`, true);
    setTimeout(start, 2000);
    return;
  }
  byId("search").addEventListener("input", show);
  byId("retired").addEventListener("change", show);
  watchWedge({ scanned: takeScan, dropped: (sentence) => tell(sentence, true) });
  if (!readOnly) {
    form = new ItemForm(categories, saved);
    byId("add").addEventListener("click", () => form.open(null));
    byId("import").addEventListener("change", take);
  }
  ready();
}

async function load() {
  const found = await get("/api/catalogue");
  ({ items, categories } = found);
  readOnly = found.read_only !== "";
  show();
}

function show() {
  const wanted = byId("search").value.trim().toLowerCase(), retiredToo = byId("retired").checked;
  const found = items.filter((item) => (retiredToo || !item.retired) &&
    (`${item.name} ${categories[item.category]}`.toLowerCase().includes(wanted) || item.code.toLowerCase().startsWith(wanted)));
  const retired = items.filter((item) => item.retired).length;
  say(byId("count"), `${many(items.length - retired, "item")} sold${retired ? `, ${retired} retired` : ""}.`);
  say(byId("found"), sentence(found, wanted));
  keyed(byId("items"), found.slice(0, MAX_SHOWN), (item) => item.code, makeRow, fillRow);
  showPicked();
}

function sentence(found, wanted) {
  if (items.length === 0) return readOnly ? "The catalogue is empty." : "The catalogue is empty. Add an item, or import a CSV file.";
  if (found.length > MAX_SHOWN) return `The first ${MAX_SHOWN} of ${many(found.length, "item")}: search for the others.`;
  if (wanted === "") return "";
  return found.length ? `${many(found.length, "item")} found.` : `No item is called “${byId("search").value.trim()}”.`;
}

function makeRow({ code }) {
  const pick = el("input", { type: "checkbox" });
  pick.addEventListener("change", () => {
    if (pick.checked) picked.add(code);
    else picked.delete(code);
    showPicked();
  });
  const address = `/api/catalogue/${encodeURIComponent(code)}/label`;
  const edit = el("button", { type: "button" }, "Edit"), retire = el("button", { type: "button", className: "retire" });
  edit.addEventListener("click", () => form.open(itemOf(code)));
  retire.addEventListener("click", () => setRetired(itemOf(code)));
  return el("tr", {}, el("td", { className: "pick" }, pick),
    el("th", { scope: "row" }, el("span", { className: "name" }), el("span", { className: "tag", hidden: true }, "retired")),
    el("td", { className: "category" }), el("td", { className: "n" }), el("td", { className: "code" }, code),
    el("td", { className: "label" }, el("a", { href: `${address}.svg`, target: "_blank" }, "SVG"), " ",
      el("a", { href: `${address}.png`, target: "_blank" }, "PNG")),
    el("td", { className: "do" }, ...(readOnly ? [] : [edit, retire])));
}

function fillRow(row, item) {
  const [pick, , category, price, , label, actions] = row.children;
  mark(row, "class", item.retired ? "retired" : null);
  say(row.querySelector(".name"), item.name);
  row.querySelector(".tag").hidden = !item.retired;
  say(category, categories[item.category] ?? `Category ${item.category}`);
  say(price, money(item.price_cents));
  pick.firstElementChild.disabled = item.retired;
  pick.firstElementChild.checked = picked.has(item.code);
  mark(pick.firstElementChild, "aria-label", `Print a label for ${item.name}`);
  for (const link of label.children) mark(link, "aria-label", `Label of ${item.name} as ${link.textContent}`);
  if (readOnly) return;
  const [edit, retire] = actions.children;
  mark(edit, "aria-label", `Edit ${item.name}`);
  say(retire, item.retired ? "Sell again" : "Retire");
  mark(retire, "aria-label", `${item.retired ? "Sell again" : "Retire"}: ${item.name}`);
}

function showPicked() {
  const address = new URLSearchParams([...picked].map((code) => ["code", code]));
  say(byId("print"), picked.size ? `Print ${many(picked.size, "label")}` : "Print all labels");
  byId("print").href = picked.size ? `/admin/labels?${address}` : "/admin/labels";
}

/** A scan is the code of the item that is being added, or else a search for it. */
async function takeScan(text, byPosition) {
  if (document.querySelector("dialog[open]")) return form?.takeScan(likelier(text, byPosition));
  try {
    const { codes: [code] } = await post("/api/scan/text", { text, by_position: byPosition });
    byId("search").value = code.item?.code ?? code.text;
    show();
    tell(code.item ? `${code.item.name} was scanned.` : code.sentence, code.item === null);
  } catch (error) {
    tell(error.message, true);
  }
}

async function setRetired(item) {
  try {
    await put(`/api/catalogue/${encodeURIComponent(item.code)}`, { retired: !item.retired });
    picked.delete(item.code);
    await load();
    tell(item.retired ? `${item.name} is sold again.` : `${item.name} is retired: it is no longer sold. “Show retired” lists it.`);
  } catch (error) {
    tell(error.message, true);
  }
}

async function saved(item, added) {
  await load();
  tell(added ? `${item.name} is in the catalogue.` : `${item.name} is changed.`);
}

async function take() {
  const field = byId("import"), [file] = field.files;
  field.value = ""; // so that the same file can be chosen again after a correction
  if (!file) return;
  tell(`Reading ${file.name} …`);
  try {
    const { added, changed, same } = await postFile("/api/catalogue.csv", new Blob([file], { type: "text/csv" }));
    await load();
    tell(`${file.name}: ${many(added, "item")} added, ${changed} changed, ${same} as before.`);
  } catch (error) {
    tell(`${file.name}: ${error.message}`, true, error.lines);
  }
}

const itemOf = (code) => items.find((item) => item.code === code);

function tell(text, bad = false, lines = []) {
  const node = byId("message");
  node.className = `notice${bad ? " bad" : ""}`;
  node.hidden = false;
  say(byId("message-text"), text);
  byId("message-lines").replaceChildren(...lines.map(({ line, error }) => el("li", {}, `Line ${line}: ${error}`)));
}

start();
