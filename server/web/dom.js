// Small pieces of page. Text goes in as text only: nothing here parses markup.

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  node.append(...children); // strings become text nodes
  return node;
}

// A copy of a <template> of index.html, and its named parts.
export function screen(id) {
  const root = document.getElementById(id).content.cloneNode(true).firstElementChild;
  const parts = {};
  for (const part of root.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return { root, parts };
}

// Sets text only where it differs, so that a live region speaks once.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  node.hidden = !visible;
}

export function announce(text) {
  setText(document.getElementById("announcer"), text);
}
