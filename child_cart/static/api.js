// Requests to the cart. Every failure becomes a CartError whose message is a sentence for the user.

const PATIENCE_MS = 10_000;

export class CartError extends Error {
  /** `status` is the HTTP status, or 0 if no answer came: the cart may or may not have carried out the request. */
  constructor(sentence, status, { lines = [], fields = {}, bill = null } = {}) {
    super(sentence);
    this.status = status;
    this.lines = lines; // errors by line, for a CSV file that was sent
    this.fields = fields; // errors by field, for a form
    this.bill = bill; // what a check-out would sell now, if that is not what was seen
  }

  get refused() {
    return this.status >= 400 && this.status < 500;
  }
}

const tags = new Map(); // address -> the entity tag of its last answer

export const get = (address) => ask("GET", address);
/** Like `get`, but null if the answer would be the same as last time. */
export const getIfNew = (address) => ask("GET", address, undefined, tags);
export const post = (address, body = {}) => ask("POST", address, body);
/** Send a file; its type becomes the type of the body. */
export const postFile = (address, blob) => ask("POST", address, blob);
export const put = (address, body) => ask("PUT", address, body);

async function ask(method, address, body, known = null) {
  const request = { method, signal: AbortSignal.timeout(PATIENCE_MS) };
  if (known?.has(address)) request.headers = { "If-None-Match": known.get(address) };
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
    if (answer.status === 304) return null;
    content = await answer.json();
  } catch {
    if (answer && !answer.ok) throw new CartError(`The cart answers with status ${answer.status}.`, answer.status);
    throw new CartError("The cart does not answer.", 0);
  }
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`); // the session is over
  if (!answer.ok) throw new CartError(content.error ?? `The cart answers with status ${answer.status}.`, answer.status, content);
  known?.set(address, answer.headers.get("ETag"));
  return content;
}
