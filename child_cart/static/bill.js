// The bill as this browser keeps it: what is in it, and at which prices the page has shown it. Prices come from the cart.

const PLACE = "cart.bill";

/** Return an id that is new for each bill. randomUUID is there only over https and on localhost. */
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const fresh = (gender) => ({ saleId: newId(), gender, lines: [], sent: false });

export class Bill {
  /** `changed` is called after each change, also one that another tab makes. */
  constructor(changed) {
    this.changed = changed;
    this.state = remembered() ?? fresh(0);
    window.addEventListener("storage", (event) => {
      if (event.key !== PLACE) return;
      this.state = remembered() ?? fresh(this.state.gender);
      this.changed();
    });
  }

  get lines() { return this.state.lines; }
  get gender() { return this.state.gender; }

  /** True from checking out until the answer. The bill must not change meanwhile: it may be sold. */
  get sent() { return this.state.sent; }

  get pieces() { return this.lines.reduce((sum, line) => sum + line.amount, 0); }

  amountOf(code) {
    return this.#line(code)?.amount ?? 0;
  }

  /** `item` is what the page shows of the item: its name, category and price. */
  setAmount({ code, name, category, price_cents }, amount) {
    const line = this.#line(code);
    if (amount < 1) this.state.lines = this.lines.filter((entry) => entry !== line);
    else if (line) line.amount = amount;
    else this.lines.push({ code, amount, name, category, price_cents });
    this.#keep();
  }

  /** Remember what the page shows now of these lines. Where a price was another one, `was_cents` keeps the first. */
  saw(lines) {
    const before = JSON.stringify(this.lines);
    for (const { code, name, category, price_cents } of lines) {
      const line = this.#line(code);
      if (line === undefined) continue;
      if (line.price_cents !== undefined && line.price_cents !== price_cents) line.was_cents ??= line.price_cents;
      if (line.was_cents === price_cents) delete line.was_cents;
      Object.assign(line, { name, category, price_cents });
    }
    if (JSON.stringify(this.lines) !== before) this.#keep();
  }

  setGender(gender) {
    this.state.gender = gender;
    this.#keep();
  }

  markSent(sent) {
    this.state.sent = sent;
    this.#keep();
  }

  /** Begin the next bill, for the same shopper. */
  renew() {
    this.state = fresh(this.gender);
    this.#keep();
  }

  /** The lines as the cart takes them: with the price that the shopper has seen. */
  get asked() {
    return this.lines.map(({ code, amount, price_cents }) => ({ code, amount, price_cents }));
  }

  /** The body of a check-out. Its id is the same until the bill is renewed, so that repeating it sells once. */
  request() {
    return { sale_id: this.state.saleId, gender: this.gender, lines: this.asked };
  }

  #line(code) {
    return this.lines.find((entry) => entry.code === code);
  }

  #keep() {
    try {
      localStorage.setItem(PLACE, JSON.stringify(this.state));
    } catch {
      // Storage may be full or forbidden: the bill then lasts as long as the page.
    }
    this.changed();
  }
}

function remembered() {
  try {
    const { saleId, gender, lines, sent } = JSON.parse(localStorage.getItem(PLACE));
    const sound = lines.every((line) => typeof line.code === "string" && Number.isInteger(line.amount) && line.amount > 0);
    return sound && typeof saleId === "string" && Number.isInteger(gender) ? { saleId, gender, lines, sent: sent === true } : null;
  } catch {
    return null;
  }
}
