// The catalogue as buttons, filtered by category and by the search box.

import { byId, el, keyed, mark, say } from "./dom.js";
import { many, money } from "./format.js";
import { pictureOf, pictureOfCategory } from "./pictures.js";
import { mayBeCode } from "./scan_keys.js";

export class Catalogue {
  /** `take` is called with the item that was tapped, `lookUp` with the text of a code that was typed. */
  constructor(shop, bill, take, lookUp) {
    this.bill = bill;
    this.take = take;
    this.lookUp = lookUp;
    this.chosen = 0; // a category, or 0 for all
    byId("search").addEventListener("input", () => this.show());
    byId("search").addEventListener("keydown", (event) => this.#onKey(event));
    this.renew(shop);
  }

  /** Take over what the cart sells now. */
  renew({ items, categories }) {
    this.items = items;
    this.byCode = new Map(items.map((item) => [item.code, item]));
    this.categories = categories;
    if (!items.some((item) => item.category === this.chosen)) this.chosen = 0;
    this.#makeChoices();
  }

  /** Replace an item by the cart's present one. */
  learn(item) {
    const place = this.items.findIndex((known) => known.code === item.code);
    if (place < 0) this.items.push(item);
    else this.items[place] = item;
    this.byCode.set(item.code, item);
  }

  show() {
    const found = this.#found();
    for (const button of byId("categories").querySelectorAll("button")) mark(button, "aria-pressed", Number(button.value) === this.chosen);
    const groups = [...new Set(found.map((item) => item.category))].map((category) => ({
      category,
      items: found.filter((item) => item.category === category),
    }));
    keyed(byId("items"), groups, (group) => group.category, (group) => this.#makeGroup(group), (node, group) => {
      keyed(node.querySelector("ul"), group.items, ({ code, name }) => `${code} ${name}`, (item) => this.#makeItem(item),
        (entry, item) => this.#fillItem(entry, item));
    });
    say(byId("found"), this.#sentence(found));
  }

  /** Show one category alone, or all of them. */
  choose(category) {
    this.chosen = category;
    this.show();
  }

  #makeChoices() {
    const make = ([category, name]) => {
      const button = el("button", { type: "button", value: category, className: `chip category-${category}` }, pictureOfCategory(category), name);
      button.addEventListener("click", () => this.choose(category));
      return button;
    };
    const sold = Object.entries(this.categories).map(([number, name]) => [Number(number), name])
      .filter(([category]) => this.items.some((item) => item.category === category));
    keyed(byId("categories"), [[0, "All"], ...sold], ([category]) => category, make, () => {});
  }

  #found() {
    const wanted = byId("search").value.trim().toLowerCase();
    const name = (item) => `${item.name} ${this.categories[item.category] ?? ""}`.toLowerCase();
    return this.items.filter((item) => (this.chosen === 0 || item.category === this.chosen) &&
      (name(item).includes(wanted) || item.code.toLowerCase().startsWith(wanted)));
  }

  #sentence(found) {
    const wanted = byId("search").value.trim();
    if (this.items.length === 0) return "The catalogue of this cart is empty.";
    if (wanted === "") return "";
    const where = this.chosen ? ` in ${this.categories[this.chosen]}` : "";
    return found.length ? `${many(found.length, "item")} found${where}.` : `No item${where} is called “${wanted}”.`;
  }

  /**
   * Enter looks up what names an item exactly, or may be its code. A hand scanner may have typed it, so nothing that is
   * only similar is taken, and what is typed next never follows it.
   */
  #onKey(event) {
    const field = byId("search"), text = field.value.trim();
    if (event.key !== "Enter" || event.isComposing || text === "") return;
    const code = this.#codeOf(text);
    if (code === null) {
      field.select();
      const found = this.#found();
      if (found.length) say(byId("found"), `${many(found.length, "item")} found, but none is called exactly “${text}”. Tap one.`);
      return;
    }
    field.value = "";
    this.show();
    this.lookUp(code, code);
  }

  /** Return the code that a text is or may be, or that of the only item with this name; null if it is neither. */
  #codeOf(text) {
    const wanted = text.toLowerCase();
    if (this.items.some(({ code }) => code.toLowerCase() === wanted)) return text;
    const named = this.#found().filter(({ name }) => name.toLowerCase() === wanted);
    if (named.length === 1) return named[0].code;
    return mayBeCode(text) ? text : null;
  }

  #makeGroup(group) {
    const title = `category-${group.category}`;
    return el("section", { className: `group category-${group.category}`, "aria-labelledby": title },
      el("h3", { id: title }, this.categories[group.category] ?? `Category ${group.category}`),
      el("ul", { className: "items" }));
  }

  #makeItem(item) {
    const button = el("button", { type: "button", className: "item" },
      pictureOf(item),
      el("span", { className: "name" }, item.name),
      el("span", { className: "price" }, money(item.price_cents)),
      el("span", { className: "badge", hidden: true }));
    button.addEventListener("click", () => this.take(this.byCode.get(item.code)));
    return el("li", {}, button);
  }

  #fillItem(entry, item) {
    const amount = this.bill.amountOf(item.code);
    const button = entry.firstElementChild, badge = button.querySelector(".badge");
    badge.hidden = amount === 0;
    say(button.querySelector(".price"), money(item.price_cents));
    say(badge, `×\u00a0${amount}`);
    button.disabled = this.bill.sent;
    button.setAttribute("aria-label",
      `Put ${item.name} in the bill, ${money(item.price_cents)}${amount ? `, ${amount} in it` : ""}`);
  }
}
