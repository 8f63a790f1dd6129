// The answer in the making: recorded words, words on their way to the server, and typed ones.

import { spoken } from "./view.js";

export class Answer {
  constructor(client) {
    this.client = client;
    this.recall();
  }

  recall() {
    const { turn, text, taken } = this.client.memory.draft;
    this.turn = turn;
    this.text = text;
    this.taken = new Set(taken); // utterances whose words were moved into the text
  }

  // The segments that are not part of the typed text; `pending` ones are not recorded yet.
  segments() {
    const { view, outbox } = this.client;
    if (!view.answering) return [];
    const held = new Map();
    for (const segment of view.open.segments) held.set(segment.utterance_id, segment);
    for (const { command, turn } of outbox.unanswered("speech.final")) {
      if (turn === view.open.turn) held.set(command.utterance_id, { ...command, pending: true });
    }
    return [...held.values()].filter(({ utterance_id }) => !this.taken.has(utterance_id));
  }

  // Everything as one text, in the order in which it came about.
  whole() {
    const heard = spoken(this.segments());
    const parts = this.taken.size ? [this.text.trim(), heard] : [heard, this.text.trim()];
    return parts.filter(Boolean).join(this.taken.size ? " " : "\n\n");
  }

  type(text) {
    this.text = text;
    this.save();
  }

  // Moves what was heard into the text, to be corrected there.
  edit() {
    const segments = this.segments();
    this.text = this.whole();
    for (const { utterance_id } of segments) this.taken.add(utterance_id);
    this.save();
  }

  clear() {
    this.text = "";
    this.taken.clear();
    this.save();
  }

  // Takes back what was sent in vain, before what was typed since; a draft is part of what it became.
  giveBack(text) {
    this.settle();
    const typed = this.text.trim();
    this.type(text.includes(typed) ? text : `${text}\n\n${typed}`);
  }

  // Drops the draft once its answer was sent; one that a hint interrupted stays. What is typed from
  // then on is for the next answer.
  settle() {
    const { view } = this.client;
    const done = view.turns.some(
      ({ turn, speaker, outcome }) =>
        turn === this.turn && speaker === "candidate" && outcome === "final",
    );
    if (done) {
      this.turn = 0;
      this.clear();
    }
    if (view.answering && this.turn !== view.open.turn) {
      this.turn = view.open.turn;
      this.taken.clear();
      this.save();
    }
  }

  save() {
    const { turn, text } = this;
    this.client.memory.draft = { turn, text, taken: [...this.taken] };
  }
}
