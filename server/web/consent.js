// Before the interview: the notice, and the candidate's agreement to it.

import * as api from "./api.js";
import { el, setText, show } from "./dom.js";
import { rejection } from "./words.js";

const RETRY_MS = 3000;

export class Consent {
  // `erase()` is what a candidate who does not agree is offered.
  constructor(parts, client, { erase }) {
    this.parts = parts;
    this.client = client;
    this.notice = null;
    parts.agree.addEventListener("click", () => this.agree());
    parts.decline.addEventListener("click", erase);
  }

  draw() {
    const { parts, client } = this;
    const due = client.known && client.role === "candidate" && client.view.status === "created";
    if (due && parts.consent.hidden) this.load();
    show(parts.consent, due);
    const given = client.outbox.unanswered("interview.start").length > 0;
    parts.agree.disabled = given || this.notice === null || client.dismissed;
  }

  // Nobody can agree to what was not shown: without the notice it does not go on.
  async load() {
    clearTimeout(this.timer);
    try {
      this.notice = await api.notice();
      setText(this.parts["consent-problem"], "");
      this.parts.points.prepend(...this.notice.points.map((point) => el("li", {}, point)));
    } catch (problem) {
      setText(this.parts["consent-problem"], `The notice cannot be shown yet. ${problem.message}`);
      this.timer = setTimeout(() => this.load(), RETRY_MS * (1 + Math.random()));
    }
    this.draw();
  }

  async agree() {
    this.parts.agree.disabled = true;
    const consent = { version: this.notice.version, at: Date.now() };
    const { rejected } = await this.client.send({ type: "interview.start", consent });
    if (rejected) setText(this.parts["consent-problem"], rejection(rejected));
    this.draw();
  }

  leave() {
    clearTimeout(this.timer);
  }
}
