// Building and changing the page. Data becomes text only, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Make an element. Properties that an element has are set as such, all others as attributes; null leaves one out. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Change a text where it differs: a live region speaks, and a selection is lost, only when there is news. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Change an attribute where it differs; null removes it. */
export function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/**
 * Make the children of `parent` those of `entries`, in their order. What is there already is updated in its place, so
 * that focus, open details and scroll positions survive.
 */
export function keyed(parent, entries, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const entry of entries) {
    const key = String(keyOf(entry));
    let node = known.get(key);
    if (node === undefined) {
      node = make(entry);
      node.dataset.key = key;
    }
    known.delete(key);
    update(node, entry);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const gone of known.values()) gone.remove();
}
