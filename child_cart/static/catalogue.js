// The catalogue as buttons, filtered by category and by the search box.

import { byId, el, keyed, mark, say } from "./dom.js";
import { many, money } from "./format.js";
import { pictureOf, pictureOfCategory } from "./pictures.js";

export class Catalogue {
  /** `take` is called with the item that was tapped. */
  constructor(shop, bill, take) {
    this.bill = bill;
    this.take = take;
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

  /** Enter adds the item if only one is left: quick for typists, and never a guess. */
  #onKey(event) {
    if (event.key !== "Enter") return;
    const found = this.#found();
    if (found.length === 1) this.take(found[0]);
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
