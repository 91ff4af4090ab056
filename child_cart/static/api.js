// Asking the cart. Every failure becomes a CartError whose message is a sentence for the person at the page.

const PATIENCE_MS = 10_000;

export class CartError extends Error {
  /** `status` is the HTTP status, or 0 if no answer came: then nobody knows whether the cart did what was asked. */
  constructor(sentence, status, lines = []) {
    super(sentence);
    this.status = status;
    this.lines = lines; // of a file that was sent: what is wrong with which line
  }

  get refused() {
    return this.status >= 400 && this.status < 500;
  }
}

export const get = (address) => ask("GET", address);
export const post = (address, body = {}) => ask("POST", address, body);
/** Send a file as what it is: its type is the body's. */
export const postFile = (address, blob) => ask("POST", address, blob);
export const put = (address, body) => ask("PUT", address, body);

async function ask(method, address, body) {
  const request = { method, signal: AbortSignal.timeout(PATIENCE_MS) };
  if (body instanceof Blob) {
    request.headers = { "Content-Type": body.type };
    request.body = body;
  } else if (body !== undefined) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token) request.headers = { ...request.headers, "X-CSRFToken": token };
  let answer, content;
  try {
    answer = await fetch(address, request);
    content = await answer.json();
  } catch {
    if (answer && !answer.ok) throw new CartError(`The cart answers with status ${answer.status}.`, answer.status);
    throw new CartError("The cart does not answer.", 0);
  }
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`); // the session is over
  if (!answer.ok) throw new CartError(content.error ?? `The cart answers with status ${answer.status}.`, answer.status, content.lines);
  return content;
}
