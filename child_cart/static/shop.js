// The shop page: wires catalogue, bill and trends. The total comes from the cart; this page adds up nothing.

import { get, post } from "./api.js";
import { Bill } from "./bill.js";
import { Catalogue } from "./catalogue.js";
import { byId, el, keyed, mark, say } from "./dom.js";
import { many, moment, money, shortId } from "./format.js";
import { pictureOf } from "./pictures.js";
import { startScanning } from "./scan.js";
import { showTrending } from "./trending.js";

const TRENDING_EVERY_MS = 30_000;

const bill = new Bill(show);
let catalogue = null;
let maxAmount = 1;
let priced = new Map(); // code -> line as the cart has priced it
let quotes = 0;
let checkingOut = false;
let billSeen = false; // on a phone, the way to the bill is shown while the bill is out of sight

const none = () => bill.lines.length === 0;

async function start() {
  let shop;
  try {
    shop = await get("/api/items");
  } catch (error) {
    tell(`${error.message} Trying again.`, true);
    setTimeout(start, 2000);
    return;
  }
  tell("");
  maxAmount = shop.max_amount;
  makeShoppers(shop.shoppers);
  catalogue = new Catalogue(shop, bill, take);
  const gone = bill.retain((code) => catalogue.byCode.has(code));
  if (gone) tell(`${many(gone, "item")} in the bill ${gone === 1 ? "is no longer sold and was" : "are no longer sold and were"} removed.`);
  if (bill.sent) sayBill("The last check-out had no answer. Check out again: it is sold once, whatever happened.");
  byId("checkout").addEventListener("click", checkOut);
  byId("empty").addEventListener("click", empty);
  byId("another").addEventListener("click", another);
  byId("print").addEventListener("click", () => window.print());
  new IntersectionObserver(([bill]) => {
    billSeen = bill.isIntersecting;
    byId("to-bill").hidden = billSeen || none();
  }, { threshold: 0.15 }).observe(byId("bill"));
  startScanning(takeScanned);
  show();
  showTrending(bill.gender);
  setInterval(() => document.hidden || showTrending(bill.gender), TRENDING_EVERY_MS);
}

function makeShoppers(shoppers) {
  for (const [value, label] of Object.entries(shoppers)) {
    const choice = el("input", { type: "radio", name: "shopper", value, checked: Number(value) === bill.gender });
    choice.addEventListener("change", () => {
      bill.setGender(Number(value));
      showTrending(bill.gender);
    });
    byId("shopper").append(el("label", {}, choice, el("span", {}, label)));
  }
}

// Changing the bill.

function take(item) {
  closeReceipt();
  change(item.code, bill.amountOf(item.code) + 1);
}

/** Add a scanned item and return what to tell the shopper. The item may be newer than this page. */
function takeScanned(item) {
  if (bill.sent) return "The bill is checked out. Wait for its answer, or give it up.";
  catalogue.learn(item);
  take(item);
  return `${item.name}, ${money(item.price_cents)}: ${bill.amountOf(item.code)} in the bill.`;
}

function change(code, amount) {
  const { name } = catalogue.byCode.get(code);
  if (bill.sent) return;
  if (!Number.isInteger(amount) || amount < 0 || amount > maxAmount) {
    sayBill(`The amount of ${name} is a whole number from 1 to ${maxAmount}.`);
    return;
  }
  sayBill("");
  bill.setAmount(code, amount);
  byId("total").setAttribute("aria-busy", "true");
  tell(amount ? `${name}: ${amount} in the bill.` : `${name} is out of the bill.`, false, true);
}

function empty() {
  bill.renew();
  sayBill("");
  byId("bill").focus();
}

function show() {
  if (catalogue === null) return;
  catalogue.show();
  keyed(byId("lines"), bill.lines.filter((line) => catalogue.byCode.has(line.code)), (line) => line.code, makeLine, fillLine);
  for (const choice of document.querySelectorAll("#shopper input")) {
    choice.checked = Number(choice.value) === bill.gender;
    choice.disabled = bill.sent;
  }
  byId("bill-none").hidden = !none();
  byId("empty").hidden = none();
  say(byId("empty"), bill.sent ? "Give this bill up" : "Empty the bill");
  say(byId("checkout"), bill.sent ? "Check out again" : "Check out");
  byId("checkout").disabled = none() || checkingOut;
  byId("to-bill").hidden = billSeen || none();
  say(byId("to-bill-count"), `Bill: ${many(bill.pieces, "piece")}`);
  quote();
}

/** Let the cart price the bill; only the answer to the last request counts. */
async function quote() {
  const mine = (quotes += 1);
  if (none()) return showPrices({ lines: [], total_cents: 0 });
  try {
    const answer = await post("/api/bill", { lines: bill.lines });
    if (mine === quotes) showPrices(answer);
  } catch (error) {
    if (mine !== quotes) return;
    say(byId("total"), "not known");
    say(byId("to-bill-total"), "");
    if (!bill.sent) sayBill(error.message);
    if (!error.refused) setTimeout(() => mine === quotes && quote(), 2000);
  }
}

function showPrices({ lines, total_cents }) {
  priced = new Map(lines.map((line) => [line.code, line]));
  for (const node of byId("lines").children) fillPrice(node, node.dataset.key);
  say(byId("total"), money(total_cents));
  byId("total").removeAttribute("aria-busy");
  say(byId("to-bill-total"), money(total_cents));
}

function makeLine({ code }) {
  const { name } = catalogue.byCode.get(code);
  const button = (text, label, step) => {
    const node = el("button", { type: "button", className: "step", "aria-label": label }, text);
    node.addEventListener("click", () => change(code, bill.amountOf(code) + step));
    return node;
  };
  const field = el("input", {
    className: "amount", type: "text", inputMode: "numeric", autocomplete: "off", "aria-label": `Amount of ${name}`,
  });
  field.addEventListener("change", () => {
    change(code, /^\d+$/.test(field.value.trim()) ? Number(field.value) : NaN);
    field.value = bill.amountOf(code);
  });
  const remove = el("button", { type: "button", className: "remove", "aria-label": `Remove ${name}` }, "×");
  remove.addEventListener("click", () => {
    change(code, 0);
    byId("bill").focus();
  });
  return el("li", { className: `line category-${catalogue.byCode.get(code).category}` },
    pictureOf(catalogue.byCode.get(code)), el("span", { className: "name" }, name), el("span", { className: "each" }),
    el("span", { className: "steps" }, button("−", `One ${name} less`, -1), field, button("+", `One ${name} more`, 1)),
    el("span", { className: "price" }), remove);
}

function fillLine(node, { code, amount }) {
  const field = node.querySelector(".amount");
  if (document.activeElement !== field) field.value = amount;
  for (const control of node.querySelectorAll("button, input")) control.disabled = bill.sent;
  fillPrice(node, code);
}

function fillPrice(node, code) {
  const line = priced.get(code);
  say(node.querySelector(".each"), line ? `${money(line.price_cents)} each` : "");
  // Until the cart has priced this amount, the old price would be a wrong one.
  say(node.querySelector(".price"), line?.amount === bill.amountOf(code) ? money(line.price_cents * line.amount) : "…");
}

// Checking out.

async function checkOut() {
  checkingOut = true;
  bill.markSent(true);
  sayBill("");
  try {
    const { sale, added } = await post("/api/checkout", bill.request());
    checkingOut = false;
    showReceipt(sale, added);
    bill.renew();
  } catch (error) {
    checkingOut = false;
    if (error.refused) bill.markSent(false);
    else show();
    sayBill(error.refused ? error.message : `${error.message} Check out again: it is sold once, whatever happened.`);
  }
}

function showReceipt(sale, added) {
  say(byId("receipt-about"), `${moment(sale.sold_at)} · ${many(sale.lines.reduce((sum, line) => sum + line.amount, 0), "piece")} · ` +
    `receipt ${shortId(sale.sale_id)}${added ? "" : " · was sold by an earlier try, once"}`);
  byId("receipt-lines").replaceChildren(...sale.lines.map((line) =>
    el("li", {}, el("span", { className: "name" }, `${line.amount} × ${line.name}`),
      el("span", { className: "price" }, money(line.price_cents * line.amount)))));
  say(byId("receipt-total"), money(sale.total_cents));
  byId("bill").hidden = true;
  byId("receipt").hidden = false;
  byId("receipt").focus();
}

function another() {
  closeReceipt();
  byId("search").focus();
}

function closeReceipt() {
  byId("receipt").hidden = true;
  byId("bill").hidden = false;
}

// Telling.

/** Tell the shopper something; text for screen readers alone is not visible. */
function tell(text, bad = false, unseen = false) {
  const node = byId("message");
  node.hidden = text === "";
  node.className = unseen ? "unseen" : `notice${bad ? " bad" : ""}`;
  say(node, text);
}

function sayBill(text) {
  byId("bill-error").hidden = text === "";
  say(byId("bill-error"), text);
  mark(byId("checkout"), "aria-describedby", text ? "bill-error" : null);
}

start();
