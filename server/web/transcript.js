// The words of an interview that is read again, with a mark on those that are cited.

import { stateWords } from "./conversation.js";
import { el, reveal, setText, show } from "./dom.js";
import { KINDS, clockWords } from "./words.js";

export class Transcript {
  constructor(list) {
    this.list = list;
    this.items = new Map(); // turn → its elements, and its text
    this.cited = null; // the turn that is marked now
  }

  draw(turns) {
    const began = turns[0]?.started_at ?? 0;
    for (const turn of turns) this.items.set(turn.turn, drawn(turn, began));
    this.list.replaceChildren(...[...this.items.values()].map(({ item }) => item));
  }

  // Marks the words that are cited, and goes to them; `from` is where the reader came from.
  goTo(turn, evidence, from) {
    const found = this.items.get(turn);
    if (!found) return;
    this.unmark();
    const words = evidence && marked(found.text, evidence);
    if (words) found.words.replaceChildren(...words);
    setText(found.note, evidence && !words ? "The quoted words do not stand here." : "");
    found.back.onclick = () => {
      from.focus();
      reveal(from);
    };
    show(found.back, true);
    this.cited = found;
    found.item.classList.add("cited");
    reveal(found.words.querySelector("mark") ?? found.item);
    found.item.focus({ preventScroll: true });
  }

  unmark() {
    const { cited } = this;
    if (!cited) return;
    cited.words.replaceChildren(cited.text);
    cited.item.classList.remove("cited");
    setText(cited.note, "");
    show(cited.back, false);
  }
}

function drawn(turn, began) {
  const spoken = turn.speaker === "candidate";
  const text = turn.text || (spoken ? "(no answer)" : "");
  const words = el("p", { class: "text", dir: "auto" }, text);
  const note = el("span", { class: "problem" });
  const back = el("button", { type: "button", class: "link", hidden: true }, "Back to the rating");
  const state = stateWords(turn) || (turn.source === "cache" ? "shared wording" : "");
  const head = el(
    "p",
    { class: "turn-head" },
    el("span", { class: "speaker" }, spoken ? "Candidate" : "Interviewer"),
    !spoken && KINDS[turn.kind] ? el("span", { class: "kind" }, KINDS[turn.kind]) : "",
    el("span", { class: "fine" }, state),
    back,
    note,
    el("span", { class: "fine when" }, `Turn ${turn.turn} · ${clockWords(Math.max(0, turn.started_at - began))}`),
  );
  const item = el("li", { class: `turn ${spoken ? "mine" : "theirs"}`, tabindex: "-1", "data-turn": turn.turn }, head, words);
  return { item, words, note, back, text };
}

// Offsets count code points; words that stand elsewhere than they should are not marked.
function marked(text, { start, end, quote }) {
  const points = [...text];
  const part = (from, to) => points.slice(from, to).join("");
  return part(start, end) === quote ? [part(0, start), el("mark", {}, quote), part(end)] : null;
}
