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

export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Gives a <select> its options, by their values.
export function fill(select, words, chosen) {
  for (const [value, label] of Object.entries(words)) {
    select.append(el("option", { value, selected: value === chosen }, label));
  }
}

// Hands a file to the browser to be kept.
export function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A copy of a <template> of index.html, and its named parts.
export function screen(id) {
  const root = document.getElementById(id).content.cloneNode(true).firstElementChild;
  return { root, parts: partsOf(root) };
}

function partsOf(root) {
  const parts = {};
  for (const part of root.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return parts;
}

// Sets text only where it differs, so that a live region speaks once.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  node.hidden = !visible;
}

// Moves the page to a node; at once for those who do not want things to move.
export function reveal(node) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  node.scrollIntoView({ block: "center", behavior: still ? "instant" : "smooth" });
}

let answered = null;

// Asks on top of whatever is on screen; resolves to whether the answer was `yes`.
export function ask(question, yes, no) {
  dismiss();
  const { dialog, parts } = theDialog();
  setText(parts["dialog-words"], question);
  setText(parts["dialog-yes"], yes);
  setText(parts["dialog-no"], no);
  dialog.returnValue = "no"; // of Escape, too
  dialog.showModal();
  return new Promise((resolve) => {
    answered = resolve;
    dialog.onclose = () => {
      if (!dialog.open) resolve(dialog.returnValue === "yes");
    };
  });
}

// Takes a question back whose screen is gone.
export function dismiss() {
  answered?.(false);
  answered = null;
  theDialog().dialog.close();
}

function theDialog() {
  const dialog = document.getElementById("dialog");
  return { dialog, parts: partsOf(dialog) };
}

const ANNOUNCED = 20;

// Tells screen readers, one after the other: a region whose text is replaced would be cut short.
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.append(el("p", {}, text));
  if (announcer.children.length > ANNOUNCED) announcer.firstElementChild.remove();
}
