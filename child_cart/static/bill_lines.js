// The lines of the bill: amounts that can be changed, prices, and marks at what has changed since it was put in.

import { byId, el, keyed, mark, say } from "./dom.js";
import { money } from "./format.js";
import { pictureOf } from "./pictures.js";

export class BillLines {
  /** `change` is called with a line and its new amount. */
  constructor(bill, change) {
    this.bill = bill;
    this.change = change;
    this.priced = new Map(); // code -> line as the cart has priced it
    this.gone = new Set(); // codes of items that are no longer sold
  }

  show() {
    keyed(byId("lines"), this.bill.lines, (line) => `${line.code} ${line.name}`, (line) => this.#make(line), (node, line) => this.#fill(node, line));
  }

  /** Show what the cart has answered: its prices count as seen from now on. */
  price(lines, changes) {
    this.priced = new Map(lines.map((line) => [line.code, line]));
    this.gone = new Set(changes.filter(({ price_cents }) => price_cents === null).map(({ code }) => code));
    this.bill.saw(lines);
    this.show();
  }

  #make({ code, name, category }) {
    const line = () => this.bill.lines.find((entry) => entry.code === code);
    const button = (text, label, step) => {
      const node = el("button", { type: "button", className: "step", "aria-label": label }, text);
      node.addEventListener("click", () => this.change(line(), line().amount + step));
      return node;
    };
    const field = el("input", {
      className: "amount", type: "text", inputMode: "numeric", autocomplete: "off", "aria-label": `Amount of ${name}`,
    });
    field.addEventListener("change", () => {
      this.change(line(), /^\d+$/.test(field.value.trim()) ? Number(field.value) : NaN);
      field.value = this.bill.amountOf(code);
    });
    const remove = el("button", { type: "button", className: "remove", "aria-label": `Remove ${name}` }, "×");
    remove.addEventListener("click", () => {
      this.change(line(), 0);
      byId("bill").focus();
    });
    return el("li", {},
      pictureOf({ name, category }), el("span", { className: "name" }, name), el("span", { className: "each" }),
      el("span", { className: "was" }),
      el("span", { className: "steps" }, button("−", `One ${name} less`, -1), field, button("+", `One ${name} more`, 1)),
      el("span", { className: "price" }), remove);
  }

  #fill(node, { code, category, amount, price_cents, was_cents }) {
    const field = node.querySelector(".amount"), gone = this.gone.has(code), priced = this.priced.get(code);
    if (document.activeElement !== field) field.value = amount;
    for (const control of node.querySelectorAll("button, input")) control.disabled = this.bill.sent;
    const state = gone ? " gone" : was_cents === undefined ? "" : was_cents < price_cents ? " dearer" : " cheaper";
    mark(node, "class", `line category-${category}${state}`);
    node.querySelector(".steps").hidden = gone;
    say(node.querySelector(".each"), gone ? "No longer sold: take it off" : priced ? `${money(price_cents)} each` : "");
    say(node.querySelector(".was"), was_cents === undefined ? "" : `It was ${money(was_cents)} when it was put in.`);
    // Until the cart has priced this amount, the old price would be a wrong one.
    say(node.querySelector(".price"), gone ? "" : priced?.amount === amount ? money(priced.price_cents * amount) : "…");
  }
}
