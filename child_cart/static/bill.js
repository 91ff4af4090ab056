// The bill as this browser keeps it: codes and amounts. Prices come from the cart alone.

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
    return this.lines.find((line) => line.code === code)?.amount ?? 0;
  }

  setAmount(code, amount) {
    const line = this.lines.find((entry) => entry.code === code);
    if (amount < 1) this.state.lines = this.lines.filter((entry) => entry !== line);
    else if (line) line.amount = amount;
    else this.lines.push({ code, amount });
    this.#keep();
  }

  setGender(gender) {
    this.state.gender = gender;
    this.#keep();
  }

  /** Remove lines of items that are no longer sold; return how many. */
  retain(isSold) {
    const before = this.lines.length;
    if (this.sent || this.lines.every((line) => isSold(line.code))) return 0;
    this.state.lines = this.lines.filter((line) => isSold(line.code));
    this.#keep();
    return before - this.lines.length;
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

  /** The body of a check-out; the same until the bill is renewed, so that repeating it sells once. */
  request() {
    return { sale_id: this.state.saleId, gender: this.gender, lines: this.lines };
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
