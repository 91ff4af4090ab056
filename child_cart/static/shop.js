// The shop page: wires catalogue, bill and trends. The total comes from the cart; this page adds up nothing.

import { getIfNew, post } from "./api.js";
import { Bill } from "./bill.js";
import { BillLines } from "./bill_lines.js";
import { Catalogue } from "./catalogue.js";
import { byId, el, mark, ready, say } from "./dom.js";
import { many, money } from "./format.js";
import { closeReceipt, showReceipt, startReceipts } from "./receipt_panel.js";
import { lookUp, startScanning } from "./scan.js";
import { showTrending } from "./trending.js";

const TRENDING_EVERY_MS = 30_000;
const PRICES_EVERY_MS = 10_000;
const NAMED_CHANGES = 3; // a sentence names so many changed lines; all are marked

const bill = new Bill(show);
const billLines = new BillLines(bill, change);
let catalogue = null;
let maxAmount = 1;
let quotes = 0;
let asking = false; // the page asks whether the shopper agrees to a dearer bill
let checkingOut = false;
let billSeen = false; // on a phone, the way to the bill is shown while the bill is out of sight

const none = () => bill.lines.length === 0;

async function start() {
  let shop;
  try {
    shop = await getIfNew("/api/items");
  } catch (error) {
    tell(`${error.message} Trying again.`, true);
    setTimeout(start, 2000);
    return;
  }
  tell("");
  maxAmount = shop.max_amount;
  makeShoppers(shop.shoppers);
  catalogue = new Catalogue(shop, bill, take, lookUp);
  bill.saw(bill.lines.filter((line) => line.price_cents === undefined) // kept by an earlier version of this page
    .map(({ code }) => catalogue.byCode.get(code) ?? { code, name: code, category: 0, price_cents: 0 }));
  if (bill.sent) sayBill("The last check-out had no answer. Check out again: it is sold once, whatever happened.");
  byId("checkout").addEventListener("click", checkOut);
  byId("empty").addEventListener("click", empty);
  startReceipts();
  new IntersectionObserver(([bill]) => {
    billSeen = bill.isIntersecting;
    byId("to-bill").hidden = billSeen || none();
  }, { threshold: 0.15 }).observe(byId("bill"));
  startScanning(takeScanned);
  show();
  ready();
  showTrending(bill.gender);
  setInterval(() => document.hidden || showTrending(bill.gender), TRENDING_EVERY_MS);
  setInterval(renewPrices, PRICES_EVERY_MS);
  document.addEventListener("visibilitychange", renewPrices);
}

/** Take over what the cart sells now, and at which prices, while the page is in sight. */
async function renewPrices() {
  if (document.hidden) return;
  try {
    const shop = await getIfNew("/api/items");
    if (shop === null) return;
    maxAmount = shop.max_amount;
    catalogue.renew(shop);
    show();
  } catch {
    // The next try is near, and no check-out sells at a price that was not shown.
  }
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
  change(item, bill.amountOf(item.code) + 1);
}

/** Add a scanned item and return what to tell the shopper. The item may be newer than this page. */
function takeScanned(item) {
  if (bill.sent) return "The bill is checked out. Wait for its answer, or give it up.";
  catalogue.learn(item);
  take(item);
  return `${item.name}, ${money(item.price_cents)}: ${bill.amountOf(item.code)} in the bill.`;
}

/** Set the amount of an item, or of a line of the bill. */
function change(item, amount) {
  const { name } = item;
  if (bill.sent) return;
  if (!Number.isInteger(amount) || amount < 0 || amount > maxAmount) {
    sayBill(`The amount of ${name} is a whole number from 1 to ${maxAmount}.`);
    return;
  }
  sayBill("");
  bill.setAmount(item, amount);
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
  billLines.show();
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
  if (none()) return showPrices({ lines: [], total_cents: 0, changes: [] });
  try {
    const answer = await post("/api/bill", { lines: bill.asked });
    if (mine === quotes) showPrices(answer);
  } catch (error) {
    if (mine !== quotes) return;
    say(byId("total"), "not known");
    say(byId("to-bill-total"), "");
    if (!bill.sent) sayBill(error.message);
    if (!error.refused) setTimeout(() => mine === quotes && quote(), 2000);
  }
}

function showPrices({ lines, total_cents, changes }) {
  billLines.price(lines, changes);
  say(byId("total"), money(total_cents));
  byId("total").removeAttribute("aria-busy");
  say(byId("to-bill-total"), money(total_cents));
  const worse = bill.lines.filter((line) => billLines.gone.has(line.code) || line.was_cents < line.price_cents);
  if (worse.length || asking) sayBill(worse.length ? consentSentence(worse, total_cents) : "");
  asking = worse.length > 0;
  if (changes.length) renewPrices();
}

function consentSentence(worse, total) {
  const words = worse.slice(0, NAMED_CHANGES).map(({ code, name, price_cents, was_cents }) => (billLines.gone.has(code)
    ? `${name} is no longer sold: take it off the bill.`
    : `${name} costs ${money(price_cents)} now, not ${money(was_cents)}.`));
  if (worse.length > NAMED_CHANGES) words.push(`${many(worse.length - NAMED_CHANGES, "more line")} changed.`);
  return `${words.join(" ")} The total is ${money(total)} now: check out if you agree.`;
}

// Checking out.

async function checkOut(event) {
  if (event.detail > 1) return; // the second half of a double click agrees to nothing
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
    if (error.bill) {
      quotes += 1; // an answer that is under way is older
      showPrices(error.bill);
    } else sayBill(error.refused ? error.message : `${error.message} Check out again: it is sold once, whatever happened.`);
  }
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
