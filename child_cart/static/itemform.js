// The dialog to add or change an item. The cart decides what is valid.

import { post, put } from "./api.js";
import { byId, el, mark, say } from "./dom.js";
import { amount } from "./format.js";

const NO_PRICE = "Write the price like 3.49.";
const FIELDS = { code: "item-code", name: "item-name", category: "item-category", price_cents: "item-price" };

export class ItemForm {
  /** `saved` is called with the item as the cart has it, and whether it is a new one. */
  constructor(categories, saved) {
    this.saved = saved;
    this.item = null;
    byId("item-category").append(...Object.entries(categories).map(([value, name]) => el("option", { value }, name)));
    byId("item-no").addEventListener("click", () => byId("item-dialog").close());
    byId("item-form").addEventListener("submit", (event) => this.#submit(event));
  }

  /** Open for an item, or for a new one if `item` is null. */
  open(item) {
    this.item = item;
    say(byId("item-title"), item ? `Edit ${item.name}` : "Add an item");
    byId("item-code").value = item?.code ?? "";
    byId("item-code").readOnly = item !== null; // bills name items by their code
    byId("item-code-about").hidden = item !== null;
    byId("item-name").value = item?.name ?? "";
    byId("item-category").value = String(item?.category ?? 1);
    byId("item-price").value = item ? amount(item.price_cents) : "";
    this.#sayErrors({});
    byId("item-dialog").showModal();
    byId(item ? "item-name" : "item-code").focus();
  }

  /** Take a scan as the code of a new item; the code of another never changes. */
  takeScan(text) {
    if (this.item === null) byId("item-code").value = text;
    else this.#sayErrors({}, `The scan of “${text}” was dropped: the code of an item stays. Add another item for it.`);
  }

  async #submit(event) {
    event.preventDefault();
    // A price that is none is sent as null, so that the cart says at once what else is wrong.
    const fields = {
      name: byId("item-name").value, category: Number(byId("item-category").value), price_cents: cents(byId("item-price").value),
    };
    this.#sayErrors({});
    byId("item-yes").disabled = true;
    try {
      const { item } = this.item
        ? await put(`/api/catalogue/${encodeURIComponent(this.item.code)}`, fields)
        : await post("/api/catalogue", { ...fields, code: byId("item-code").value });
      byId("item-dialog").close();
      await this.saved(item, this.item === null);
    } catch (error) {
      const { price_cents } = error.fields;
      if (price_cents && fields.price_cents === null) error.fields.price_cents = NO_PRICE;
      this.#sayErrors(error.fields, error.message);
    } finally {
      byId("item-yes").disabled = false;
    }
  }

  /** Say what is wrong with each field, mark them all, and go to the first. */
  #sayErrors(wrong, otherwise = "") {
    const sentences = Object.values(wrong).length ? Object.values(wrong) : otherwise ? [otherwise] : [];
    byId("item-error").hidden = sentences.length === 0;
    byId("item-error").replaceChildren(...sentences.map((sentence) => el("p", {}, sentence)));
    for (const [name, id] of Object.entries(FIELDS)) mark(byId(id), "aria-invalid", name in wrong ? "true" : null);
    const first = Object.keys(FIELDS).find((name) => name in wrong);
    if (first) byId(FIELDS[first]).focus();
  }
}

/** `3.49` or `3,49` in whole cents, without floating point; null if it is not a price. */
function cents(text) {
  const found = /^(\d{1,5})(?:[.,](\d{1,2}))?$/.exec(text.trim());
  return found && Number(found[1]) * 100 + Number((found[2] ?? "").padEnd(2, "0"));
}
