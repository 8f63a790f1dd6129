// The form at the foot of the interview: typing, speaking, sending, and the interview's own buttons.

import { Answer } from "./answer.js";
import { ask, el, setText, show } from "./dom.js";
import { Voice, canListen } from "./speech.js";
import { rejection } from "./words.js";

const TYPING_MS = 10000;
const utf8 = new TextEncoder();

export class Composer {
  // `shown()` tells {turn, attempt, points} of the interviewer's words on screen.
  constructor(parts, client, { following, shown }) {
    this.parts = parts;
    this.client = client;
    this.following = following;
    this.shown = shown;
    this.answer = new Answer(client);
    this.speaking = false; // whether the candidate wants to answer by voice
    this.busy = false; // while the last words are waited for
    this.told = -Infinity; // when the server last heard that somebody types
    this.voice = new Voice({
      partial: (words) => client.whisper({ type: "speech.partial", ...words }),
      final: (words) => this.heard(words),
      changed: () => this.draw(),
      failed: (sentence) => this.voiceFailed(sentence),
      clock: () => client.view.elapsed(),
      language: navigator.language || "en",
    });
    parts.answer.value = this.answer.text;
    this.listen();
  }

  listen() {
    const { parts } = this;
    parts.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    parts.answer.addEventListener("input", () => {
      this.answer.type(parts.answer.value);
      this.tellTyping();
      this.draw();
    });
    parts.answer.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.submit();
      }
    });
    parts.edit.addEventListener("click", () => this.edit());
    parts.interrupt.addEventListener("click", () => this.interrupt());
    parts.voice.addEventListener("click", () => this.toggleVoice());
    parts.hint.addEventListener("click", () => this.hint());
    parts.pause.addEventListener("click", () => this.pause());
    parts.end.addEventListener("click", () => this.end());
    parts.discard.addEventListener("click", () => this.discard());
  }

  // --- what the candidate does ---

  async submit() {
    if (!this.parts.submit.disabled) await this.onceSpoken(() => this.give());
  }

  // Acts once the last words are recorded: what ends or stops an answer would lose those still on their
  // way. What is pressed meanwhile has no effect.
  async onceSpoken(act) {
    if (this.busy) return;
    this.busy = true;
    this.draw();
    await this.voice.finish();
    this.busy = false;
    await act();
  }

  // Gives the answer; resolves to whether it was taken. The text goes along, though the server has the
  // segments: so no late or lost one can be missing.
  give() {
    return this.command({ type: "answer.submit", text: this.answer.whole() });
  }

  edit() {
    this.answer.edit();
    this.parts.answer.value = this.answer.text;
    this.draw();
    this.parts.answer.focus();
  }

  // The turn that an answer was meant for ended without it: in another window, or by silence.
  giveBack(text) {
    this.answer.giveBack(text);
    setText(this.parts.problem, "That turn had ended before your answer came. Your words are back in the box.");
    this.draw();
  }

  discard() {
    this.answer.clear();
    this.draw();
  }

  interrupt() {
    const { turn, attempt, points } = this.shown();
    this.command({ type: "turn.cancel", turn, attempt, heard: points });
  }

  hint() {
    return this.onceSpoken(() => this.command({ type: "hint.request" }));
  }

  pause() {
    const type = this.client.view.status === "paused" ? "interview.resume" : "interview.pause";
    return this.onceSpoken(() => this.command({ type }));
  }

  async end() {
    const question = "End the interview now? Everything said so far is kept.";
    if (!(await ask(question, "End the interview", "Go on"))) return;
    await this.onceSpoken(async () => {
      if (this.answerable && !(await this.give())) return;
      await this.command({ type: "interview.end" });
    });
  }

  // Whether there are words for the turn that waits for them, and it can take them.
  get answerable() {
    const { view, outbox } = this.client;
    const whole = this.answer.whole();
    return view.answering && !outbox.unanswered("answer.submit").length && whole !== "" && !this.surplusOf(whole);
  }

  async command(fields) {
    setText(this.parts.problem, "");
    const answered = this.client.send(fields);
    this.draw();
    const { accepted, rejected } = await answered;
    if (rejected) setText(this.parts.problem, rejection(rejected));
    this.draw();
    return Boolean(accepted);
  }

  // --- voice ---

  toggleVoice() {
    this.speaking = !this.speaking;
    setText(this.parts.problem, "");
    if (!this.speaking) this.voice.finish();
    this.draw();
  }

  heard(words) {
    if (this.client.view.answering) {
      this.command({ type: "speech.final", ...words });
    }
  }

  voiceFailed(sentence) {
    this.speaking = false;
    setText(this.parts.problem, sentence);
    this.draw();
  }

  // Goes on with the words of another tab, where the interview was meanwhile.
  takeUp() {
    this.answer.recall();
    this.draw();
  }

  leave() {
    this.voice.abandon();
  }

  // Who types is silent, and must not be taken for somebody who says nothing.
  tellTyping() {
    const { client } = this;
    const now = performance.now();
    if (client.state !== "live" || !client.view.answering || now - this.told < TYPING_MS) return;
    this.told = now;
    client.whisper({ type: "speech.partial", utterance_id: "typing", revision: Math.round(now), text: "" });
  }

  // --- drawing ---

  draw() {
    // It grows over what is being answered, unless that moves up.
    if (this.client.view.latest) this.following.keepEnd(() => this.drawParts());
    else this.drawParts();
  }

  drawParts() {
    const { view, outbox, role, dismissed } = this.client;
    const open = role === "candidate" && !dismissed && ["live", "paused", "disconnected"].includes(view.status);
    show(this.parts.composer, open);
    this.answer.settle();
    this.drawUnsent(role === "candidate" && view.over);
    if (this.parts.answer.value !== this.answer.text) this.parts.answer.value = this.answer.text;
    const sending = outbox.unanswered("answer.submit").length > 0;
    const paused = view.status === "paused";
    const may = view.answering && !paused && !sending && !this.busy;
    const stops = ["hint.request", "interview.pause", "interview.end"].some((type) => outbox.unanswered(type).length);
    this.steerVoice(open && may && !stops);
    this.drawHeard();
    this.drawAnswer({ may, sending, paused });
    this.drawButtons({ may, paused });
  }

  // Words that came to nothing, as the interview ended without them.
  drawUnsent(over) {
    show(this.parts.unsent, over && this.answer.text !== "");
    setText(this.parts["unsent-words"], this.answer.text);
  }

  steerVoice(may) {
    if (this.busy) return;
    if (may && this.speaking) this.voice.start();
    else if (this.voice.listening) this.voice.abandon();
  }

  drawHeard() {
    const { segments, heard, edit } = this.parts;
    const words = this.answer.segments();
    const interim = this.voice.interim;
    show(heard, words.length > 0 || interim !== "" || this.voice.listening);
    show(edit, words.length > 0 && !this.busy);
    const spans = words.map(({ text, pending }) =>
      el("span", { class: pending ? "pending" : "recorded" }, `${text} `),
    );
    if (interim) spans.push(el("span", { class: "interim" }, interim));
    else if (this.voice.listening && !words.length) {
      spans.push(el("span", { class: "fine" }, "Listening …"));
    }
    segments.replaceChildren(...spans);
  }

  drawAnswer({ may, sending, paused }) {
    const { parts } = this;
    const whole = this.answer.whole();
    const surplus = this.surplusOf(whole);
    parts.submit.disabled = !may || whole === "" || surplus > 0;
    if (this.voice.interim && may) parts.submit.disabled = false;
    setText(parts.submit, sending ? "Sending …" : "Send answer");
    parts.answer.readOnly = sending || this.busy;
    let label = "Your answer";
    if (paused) label = "Paused";
    else if (!this.client.view.answering) label = "Your next answer";
    setText(parts.label, label);
    setText(parts.saved, this.savedWords(sending, surplus));
  }

  // How many characters have to go from the end of a text, for what is left to fit as UTF-8.
  surplusOf(text) {
    const { read } = utf8.encodeInto(text, new Uint8Array(this.client.limits.answer_bytes));
    return [...text.slice(read)].length;
  }

  savedWords(sending, surplus) {
    if (surplus > 0) return `The answer is ${surplus} ${surplus === 1 ? "character" : "characters"} too long.`;
    if (this.busy) return "Waiting for your last words …";
    if (sending && this.client.state !== "live") return "Kept here; it is sent as soon as the server is back.";
    if (sending) return "Sending your answer …";
    const last = this.client.view.turns.findLast(({ speaker }) => speaker === "candidate");
    if (this.answer.text) return "Draft kept in this browser.";
    if (!last) return "";
    return this.client.storedSeq >= last.seq ? "✓ Your last answer is saved." : "Your last answer was received.";
  }

  drawButtons({ may, paused }) {
    const { parts, client } = this;
    const interviewer = client.view.open?.speaker === "interviewer";
    const cancelling = client.outbox.unanswered("turn.cancel").length > 0;
    show(parts.interrupt, interviewer && client.view.open.text !== "");
    parts.interrupt.disabled = cancelling;
    show(parts.submit, parts.interrupt.hidden);
    show(parts.voice, canListen());
    parts.voice.setAttribute("aria-pressed", String(this.speaking));
    setText(parts.voice, this.speaking ? "Stop listening" : "Speak");
    show(parts.hint, client.view.mode === "practice");
    parts.hint.disabled = !may || client.outbox.unanswered("hint.request").length > 0;
    setText(parts.pause, paused ? "Resume" : "Pause");
    parts.pause.classList.toggle("primary", paused);
    parts.pause.classList.toggle("quiet", !paused);
  }
}
