// The turns of the interview, drawn in place as they grow.

import { el, reveal, setText, show } from "./dom.js";
import { feedback } from "./rating.js";
import { Speaker } from "./speaker.js";
import { KINDS } from "./words.js";

export class Conversation {
  constructor(parts, following) {
    this.following = following;
    this.list = parts.turns;
    this.earlier = parts.earlier;
    this.speaker = new Speaker();
    this.drawn = new Map(); // turn → its elements
    this.rated = new Map(); // turn of a question → its feedback
    this.shown = { turn: 0, attempt: 0, points: 0 }; // of the interviewer's open turn, as on screen
  }

  draw(view, storedSeq) {
    // Without turns there is nothing to follow: the head of the page stays where it is.
    if (!view.latest) this.drawTurns(view, storedSeq);
    else this.following.keepEnd(() => this.drawTurns(view, storedSeq));
  }

  drawTurns(view, storedSeq) {
    const numbers = new Set();
    for (const turn of view.turns) {
      numbers.add(turn.turn);
      this.drawFinished(turn, storedSeq);
    }
    if (view.open?.speaker === "interviewer") {
      numbers.add(view.open.turn);
      this.drawOpen(view.open);
    }
    for (const [number, { item }] of this.drawn) {
      if (numbers.has(number)) continue;
      item.remove();
      this.drawn.delete(number);
    }
    show(this.earlier, view.earlier);
    for (const [turn, ratings] of view.ratings) this.drawFeedback(turn, ratings, view.turns);
  }

  // Stands behind the last answer to the question that it is about.
  drawFeedback(turn, ratings, turns) {
    if (this.rated.has(turn)) return;
    const question = ratings[0]?.question_id;
    const last = turns.findLast((each) => each.question_id === question || each.turn === turn);
    const place = last && this.drawn.get(last.turn);
    if (!place) return;
    const item = el("li", { class: "rated" }, ...ratings.map(feedback));
    place.item.after(item);
    this.rated.set(turn, item);
  }

  // Shows a turn that is cited; one that was left out has no place here.
  goTo(turn) {
    const item = this.drawn.get(turn)?.item;
    if (!item) return;
    item.tabIndex = -1; // not before: a click on it would take the focus from the answer
    reveal(item);
    item.focus({ preventScroll: true });
  }

  drawOpen(open) {
    const parts = this.item(open);
    parts.item.classList.add("open");
    parts.item.setAttribute("aria-busy", "true");
    parts.item.classList.toggle("thinking", open.text === "");
    setText(parts.text, open.text);
    setText(parts.state, open.text === "" ? "thinking" : "");
    this.speaker.grown(open, KINDS[open.kind] ?? "Interviewer");
    this.shown = { turn: open.turn, attempt: open.attempt, points: [...open.text].length };
  }

  drawFinished(turn, storedSeq) {
    const parts = this.item(turn);
    if (parts.item.classList.contains("open")) {
      parts.item.classList.remove("open", "thinking");
      parts.item.removeAttribute("aria-busy");
      this.speaker.finished(turn, KINDS[turn.kind] ?? "Interviewer");
    }
    setText(parts.text, turn.text || (turn.speaker === "candidate" ? "(no answer)" : ""));
    setText(parts.state, stateWords(turn));
    if (turn.speaker === "candidate") {
      const stored = storedSeq >= turn.seq;
      parts.item.classList.toggle("stored", stored);
      setText(parts.saved, stored ? "✓ saved" : "received");
    }
  }

  item(turn) {
    const known = this.drawn.get(turn.turn);
    if (known) return known;
    const mine = turn.speaker === "candidate";
    const parts = {
      text: el("p", { class: "text", dir: "auto" }),
      state: el("span", { class: "fine" }),
      saved: el("span", { class: "fine saved" }),
    };
    const speaker = el("span", { class: "speaker" }, mine ? "You" : "Interviewer");
    const head = el("p", { class: "turn-head" }, speaker);
    if (!mine && KINDS[turn.kind]) head.append(el("span", { class: "kind" }, KINDS[turn.kind]));
    head.append(parts.state, parts.saved);
    parts.item = el("li", { class: `turn ${mine ? "mine" : "theirs"}` }, head, parts.text);
    const after = [...this.drawn].find(([number]) => number > turn.turn)?.[1].item ?? null;
    this.list.insertBefore(parts.item, after);
    this.drawn.set(turn.turn, parts);
    return parts;
  }
}

// What is to be known of a turn beyond its words.
export function stateWords({ speaker, outcome, source }) {
  if (outcome === "failed") return "broken off";
  if (outcome === "interrupted") return speaker === "candidate" ? "unfinished" : "interrupted";
  return source === "bank" ? "from the question bank" : "";
}
