// Requests to the cart. Every failure becomes a CartError whose message is a sentence for the user.

const PATIENCE_MS = 10_000;

export class CartError extends Error {
  /** `status` is the HTTP status, or 0 if no answer came: the cart may or may not have carried out the request. */
  constructor(sentence, status, lines = []) {
    super(sentence);
    this.status = status;
    this.lines = lines; // errors by line, for a CSV file that was sent
  }

  get refused() {
    return this.status >= 400 && this.status < 500;
  }
}

export const get = (address) => ask("GET", address);
export const post = (address, body = {}) => ask("POST", address, body);
/** Send a file; its type becomes the type of the body. */
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
