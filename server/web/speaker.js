// What the interviewer says, told to screen readers sentence by sentence while it streams.

import { announce } from "./dom.js";

// The end of a sentence that something follows: nothing is told that may still be in the making.
const SENTENCES = /^.*[.!?…。！？]["'”’»)]*\s/s;

export class Speaker {
  constructor() {
    this.forget();
  }

  forget() {
    this.turn = 0;
    this.attempt = 0;
    this.told = 0; // how much of the text was told, in UTF-16 units
  }

  // `text` has grown; `title` says what is beginning.
  grown({ turn, attempt, text }, title) {
    if (turn !== this.turn || attempt !== this.attempt) {
      if (turn === this.turn) announce("It begins anew.");
      Object.assign(this, { turn, attempt, told: 0 });
    }
    const [whole] = SENTENCES.exec(text.slice(this.told)) ?? [];
    if (whole) this.tell(whole, title);
  }

  finished({ turn, text, outcome }, title) {
    if (turn !== this.turn) this.told = 0;
    this.turn = turn;
    this.tell(text.slice(this.told), title);
    if (outcome !== "final") announce("Interrupted.");
    this.forget();
  }

  tell(words, title) {
    if (words.trim()) announce(this.told === 0 ? `${title}: ${words.trim()}` : words.trim());
    this.told += words.length;
  }
}
