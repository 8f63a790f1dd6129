// What reviewers decided about an interview, and the form in which one more of them does.

import * as api from "./api.js";
import { el, setText, show } from "./dom.js";
import { DECISIONS, dayWords } from "./words.js";

const begun = new Map(); // interview → a reason that was not recorded yet, for whoever looks elsewhere meanwhile

export class Verdicts {
  constructor(parts, interviewId, { refused }) {
    this.parts = parts;
    this.id = interviewId;
    this.refused = refused;
    this.decisions = [];
    parts.reason.value = begun.get(interviewId) ?? "";
    parts.reason.addEventListener("input", () => begun.set(interviewId, parts.reason.value));
    parts.verdict.addEventListener("submit", (event) => {
      event.preventDefault();
      this.record();
    });
  }

  // There is a report to decide on.
  open({ decisions = [] }) {
    this.decisions = decisions;
    this.draw();
    show(this.parts.deciding, true);
  }

  draw() {
    const { parts, decisions } = this;
    // The newest counts, so it stands first.
    parts.decisions.replaceChildren(...decisions.toSorted((a, b) => b.at - a.at).map(decision));
    show(parts.decisions, decisions.length > 0);
    setText(parts["decisions-words"], decisions.length ? "" : "Nobody has decided yet.");
    show(parts["decisions-words"], !decisions.length);
  }

  async record() {
    const { parts } = this;
    const chosen = new FormData(parts.verdict).get("decision");
    const reason = parts.reason.value.trim();
    setText(parts["verdict-done"], "");
    setText(parts["verdict-problem"], missing(chosen, reason));
    if (!chosen || !reason) return;
    parts.record.disabled = true;
    try {
      this.decisions = [...this.decisions, await api.decide(this.id, { decision: chosen, reason })];
      this.draw();
      begun.delete(this.id);
      parts.verdict.reset();
      setText(parts["verdict-done"], `Recorded: ${DECISIONS[chosen]}.`);
    } catch (problem) {
      await this.failed(problem);
    } finally {
      parts.record.disabled = false;
    }
  }

  async failed(problem) {
    const { parts } = this;
    if (problem.status === 401) {
      this.refused(problem.message);
      return;
    }
    setText(parts["verdict-problem"], problem.message);
    if (problem.status) return;
    // It may have been recorded all the same: what is there now is shown.
    const now = await api.report(this.id).catch(() => ({}));
    if (now.report) {
      this.decisions = now.report.decisions;
      this.draw();
      setText(parts["verdict-problem"], "No answer came. What is recorded by now stands above.");
    }
  }
}

function missing(chosen, reason) {
  if (!chosen) return "Choose a decision.";
  return reason ? "" : "Give your reason: it is what a decision is defended with.";
}

function decision({ reviewer, decision: chosen, reason, at }) {
  return el(
    "li",
    {},
    el(
      "p",
      { class: "decided" },
      el("strong", { "data-decision": chosen }, DECISIONS[chosen] ?? chosen),
      el("span", { class: "fine" }, el("bdi", {}, reviewer), ` · ${dayWords(at)}`),
    ),
    el("p", { class: "text", dir: "auto" }, reason),
  );
}
