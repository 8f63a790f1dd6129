// One interview on screen: what the client knows, drawn; what the candidate does, sent.

import { InterviewClient } from "./client.js";
import { Composer } from "./composer.js";
import { Consent } from "./consent.js";
import { Conversation } from "./conversation.js";
import { announce, el, screen, setText, show } from "./dom.js";
import { Ending } from "./ending.js";
import { Following } from "./following.js";
import { spokenFeedback } from "./rating.js";
import { PHASES, clockWords, typeWords } from "./words.js";

const TICK_MS = 250;

export class Room {
  // `refused(sentence)` is called where the token is not good any more.
  constructor(interviewId, { refused }) {
    const { root, parts } = screen("room-screen");
    this.root = root;
    this.parts = parts;
    this.refused = refused;
    this.client = new InterviewClient(interviewId);
    const following = new Following();
    this.conversation = new Conversation(parts, following);
    this.composer = new Composer(parts, this.client, {
      following,
      shown: () => this.conversation.shown,
    });
    this.ending = new Ending(parts, this.client, this.conversation);
    this.consent = new Consent(parts, this.client, { erase: () => this.ending.erase() });
    this.steps = Object.entries(PHASES).map(([phase, words]) => ({
      phase,
      item: el("li", {}, words),
    }));
    parts.phases.append(...this.steps.map(({ item }) => item));
    this.listen();
  }

  listen() {
    const { client, parts } = this;
    client.addEventListener("change", (event) => this.changed(event.detail));
    client.addEventListener("stored", () => this.redraw());
    client.addEventListener("state", () => this.stateChanged());
    client.addEventListener("unsent", ({ detail }) => this.composer.giveBack(detail));
    parts.reconnect.addEventListener("click", () => this.reconnect());
    this.online = () => client.state === "waiting" && client.connect();
    window.addEventListener("online", this.online);
  }

  enter() {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.client.connect();
    this.tick();
  }

  leave() {
    clearInterval(this.timer);
    window.removeEventListener("online", this.online);
    this.composer.leave();
    this.consent.leave();
    this.ending.leave();
    this.client.hangUp();
  }

  // --- what the client tells ---

  changed(event) {
    if (event?.type === "notice") this.notice(event.message);
    if (event?.type === "rating.ready") for (const rating of event.ratings) announce(spokenFeedback(rating));
    // The first answer may be typed at once, unless the candidate is busy elsewhere on the page.
    if (event?.type === "turn.started" && event.speaker === "candidate") this.focusAnswer = true;
    this.redraw();
  }

  // Many deltas may arrive between two pictures; they are drawn once.
  redraw() {
    if (this.drawing) return;
    this.drawing = true;
    const draw = () => {
      this.drawing = false;
      this.draw();
    };
    if (document.hidden) draw();
    else requestAnimationFrame(draw);
  }

  draw() {
    const { parts, client } = this;
    const { view } = client;
    if (view.plan) {
      setText(parts.title, view.plan.role);
      const mode = view.mode === "practice" ? "practice" : "assessment";
      setText(parts.subtitle, `${typeWords(view.plan.type)} · ${view.plan.duration_minutes} minutes · ${mode}`);
      document.title = `${view.plan.role} · viva`;
    }
    this.consent.draw();
    this.conversation.draw(view, client.storedSeq);
    this.composer.draw();
    this.ending.draw();
    const lost = client.state === "closed" && !view.over;
    show(parts.lost, lost);
    show(parts.head, client.known || !lost); // of an interview that is not there, it has nothing to tell
    setText(parts["lost-words"], client.why);
    this.drawPhases(view);
    this.tick();
    if (this.focusAnswer && view.answering) {
      this.focusAnswer = false;
      // Nothing smaller than what is around the answer has the focus: the candidate is not busy elsewhere.
      if (document.activeElement?.contains(parts.answer) ?? true) parts.answer.focus();
    }
  }

  drawPhases({ phase, status, over }) {
    const at = phase === "closed" ? this.steps.length : this.steps.findIndex((step) => step.phase === phase);
    this.steps.forEach(({ item }, place) => {
      item.classList.toggle("done", place < at);
      if (place === at) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
    show(this.parts.phases, status !== "created" && !over);
  }

  notice(sentence) {
    const known = [...this.parts.notices.children].some((item) => item.textContent === sentence);
    if (sentence && !known) this.parts.notices.append(el("p", {}, sentence));
  }

  stateChanged() {
    const { client } = this;
    if (client.state === "closed" && client.status === 401) {
      this.refused(client.why);
      return;
    }
    this.redraw();
    this.tick();
  }

  reconnect() {
    if (this.client.state === "replaced") this.composer.takeUp();
    this.client.connect();
  }

  // --- what changes with time ---

  tick() {
    const { view } = this.client;
    const { clock } = this.parts;
    show(clock, view.plan !== null && !view.over);
    setText(clock, clockWords(view.remaining()));
    clock.classList.toggle("low", view.plan !== null && view.remaining() <= 60000);
    clock.classList.toggle("still", !view.clock.running);
    this.drawConnection();
  }

  drawConnection() {
    const { connection, words, due, reconnect } = this.parts;
    const { why, view, attempt } = this.client;
    // Each try to come back is a part of the outage, which is told once.
    const state = attempt && this.client.state === "connecting" ? "waiting" : this.client.state;
    const over = state === "closed" && view.over;
    connection.dataset.state = over ? "over" : state;
    const sentences = {
      connecting: "Connecting …",
      "catching up": "Catching up …",
      live: "Connected",
      waiting: "Connection lost; reconnecting",
      replaced: why,
      closed: over ? "Over" : why,
    };
    setText(words, sentences[state]);
    // Seconds are for the eye: as a part of the status they would be read out one by one.
    const seconds = Math.ceil((this.client.due - Date.now()) / 1000);
    show(due, state === "waiting" && seconds > 0);
    setText(due, `in ${seconds} s`);
    const actions = { waiting: "Now", replaced: "Use it here" };
    show(reconnect, state in actions);
    setText(reconnect, actions[state] ?? "");
  }
}
