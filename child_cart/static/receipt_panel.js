// The receipt beside the items, after a check-out, and the way back to it.

import { byId, el, say } from "./dom.js";
import { clock, many, moment, money, shortId } from "./format.js";

const PLACE = "cart.receipt";
const KEPT_MS = 600_000; // a cart's own screen has many shoppers: the next one needs no look at this receipt

export function startReceipts() {
  byId("another").addEventListener("click", () => {
    closeReceipt();
    byId("bill").focus(); // not the search field, which a hand scanner would type into
  });
  byId("print").addEventListener("click", () => window.print());
  offerLast();
  setInterval(offerLast, KEPT_MS / 10);
}

export function showReceipt(sale, added) {
  say(byId("receipt-about"), `${moment(sale.sold_at)} · ${many(sale.lines.reduce((sum, line) => sum + line.amount, 0), "piece")} · ` +
    `receipt ${shortId(sale.sale_id)}${added ? "" : " · was sold by an earlier try, once"}`);
  byId("receipt-lines").replaceChildren(...sale.lines.map((line) =>
    el("li", {}, el("span", { className: "name" }, `${line.amount} × ${line.name}`),
      el("span", { className: "price" }, money(line.price_cents * line.amount)))));
  say(byId("receipt-total"), money(sale.total_cents));
  byId("receipt-open").href = addressOf(sale.sale_id);
  keep({ saleId: sale.sale_id, soldAt: Date.now(), total: sale.total_cents });
  byId("bill").hidden = true;
  byId("receipt").hidden = false;
  byId("receipt").focus();
  offerLast();
}

export function closeReceipt() {
  byId("receipt").hidden = true;
  byId("bill").hidden = false;
}

const addressOf = (saleId) => `/receipt?sale=${encodeURIComponent(saleId)}`;

/** Offer the receipt of the last sale for some minutes: a tap or a scan closes it easily. */
function offerLast() {
  const last = kept(), fresh = last !== null && Date.now() - last.soldAt < KEPT_MS;
  byId("last-receipt").hidden = !fresh;
  if (!fresh) return keep(null);
  byId("last-receipt").href = addressOf(last.saleId);
  say(byId("last-receipt"), `Receipt of ${clock(last.soldAt / 1000)}, ${money(last.total)}`);
}

function keep(receipt) {
  try {
    if (receipt === null) localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, JSON.stringify(receipt));
  } catch {
    // Storage may be full or forbidden: the receipt can then be opened until it is closed.
  }
}

function kept() {
  try {
    const { saleId, soldAt, total } = JSON.parse(localStorage.getItem(PLACE));
    return typeof saleId === "string" && Number.isFinite(soldAt) && Number.isInteger(total) ? { saleId, soldAt, total } : null;
  } catch {
    return null;
  }
}
