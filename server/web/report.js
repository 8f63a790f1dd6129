// The report in the page: waited for, fetched, drawn, taken away.

import * as api from "./api.js";
import { el, save, screen, setText, show } from "./dom.js";
import { reportParts } from "./sheet.js";
import { dayWords } from "./words.js";

const POLL_MS = 3000;
const POLL_CAP_MS = 15000;
const FORMS = {
  "report-pdf": ["application/pdf", "pdf"],
  "report-markdown": ["text/markdown", "md"],
};
const WORDS = {
  pending: "The report is being written. That takes a moment, or a few minutes where a model is busy; you may leave and come back.",
  nothing_to_report: "Nothing was answered in this interview, so there is nothing to report on.",
  not_over: "The interview is not over; there is no report yet.",
  failed: "The report could not be written.",
  assessment: "Your answers go to reviewers. They see how these were rated, and they decide; no rating is shown here.",
};

export class ReportPanel {
  // It is put into `place`. `goTo(turn, evidence, from)` shows a turn of the conversation, `behind` has what
  // else is told of ratings (see sheet.js), `shown(report)` is called with each report.
  constructor(place, interviewId, { goTo, behind, shown = () => {} }) {
    const { root, parts } = screen("report-panel");
    place.append(root);
    this.root = root;
    this.parts = parts;
    this.id = interviewId;
    this.goTo = goTo;
    this.behind = behind;
    this.shown = shown;
    this.state = null; // pending | shown | failed | not_over | nothing_to_report | assessment
    this.waits = null; // what the report waits for before it can be written
    for (const [name, [mediaType, suffix]] of Object.entries(FORMS)) {
      parts[name].addEventListener("click", () => this.download(parts[name], mediaType, suffix));
    }
    parts["report-again"].addEventListener("click", () => this.again());
  }

  // What a client of the interview knows of its report.
  follow({ view, state }) {
    if (!view.over) return;
    if (view.mode === "assessment") this.become("assessment");
    else if (this.waits && view.report?.ready) this.hurry();
    else if (this.state === "shown" || this.asked) return;
    else if (view.report?.ready || (state === "closed" && !view.report)) this.load();
    else if (view.report) this.become(view.report.code);
    else this.become("pending");
  }

  leave() {
    this.left = true;
    clearTimeout(this.timer);
    if (this.url) URL.revokeObjectURL(this.url);
  }

  become(state, sentence) {
    const { parts, root } = this;
    this.state = state in WORDS || state === "shown" ? state : "failed";
    show(root, true);
    const writing = this.state === "pending" && !this.waits;
    show(parts["report-progress"], writing);
    show(parts["report-words"], this.state !== "shown");
    setText(parts["report-words"], sentence ?? WORDS[this.state] ?? "");
    show(parts["report-again"], this.state === "failed");
    show(parts["report-sheet"], this.state === "shown");
    show(parts["report-take"], this.state === "shown");
    root.setAttribute("aria-busy", String(writing));
  }

  // Asks until there is an answer. The socket tells when it is time, but is closed after a while.
  async load(pause = POLL_MS) {
    this.asked = true;
    if (this.state !== "pending") this.become("pending");
    let found = {};
    try {
      found = await api.report(this.id);
    } catch (problem) {
      if (this.left) return;
      if (!problem.passing) {
        this.become(problem.code, problem.code in WORDS ? undefined : problem.message);
        return;
      }
    }
    if (this.left) return;
    this.waits = found.waits?.reason ? found.waits : null;
    if (found.report) this.showReport(found.report);
    else this.wait(pause);
  }

  wait(pause) {
    this.become("pending", this.waits && waitWords(this.waits));
    const longer = Math.max(pause, 1000 * (this.waits?.seconds ?? 0));
    this.timer = setTimeout(() => this.load(Math.min(2 * pause, POLL_CAP_MS)), longer);
  }

  // The report is there before it was expected.
  hurry() {
    this.waits = null;
    clearTimeout(this.timer);
    this.load();
  }

  async again() {
    try {
      await api.writeReport(this.id);
      this.load();
    } catch (problem) {
      setText(this.parts["report-words"], problem.message);
    }
  }

  showReport(report) {
    const cite = (turn, evidence) => {
      const button = el("button", { type: "button", class: "link" }, `Turn ${turn}`);
      button.addEventListener("click", () => this.goTo(turn, evidence, button));
      return button;
    };
    this.parts["report-sheet"].replaceChildren(...reportParts(report, cite, this.behind));
    this.become("shown");
    this.shown(report);
    this.prepare();
  }

  // A link to a page has to have its address when it is pressed, or the browser takes it for a pop-up.
  async prepare() {
    try {
      const blob = await api.reportAs(this.id, "text/html");
      if (this.left) return;
      this.url = URL.createObjectURL(blob);
      this.parts["report-open"].href = this.url;
      show(this.parts["report-open"], true);
    } catch (problem) {
      setText(this.parts["report-problem"], problem.message);
    }
  }

  async download(button, mediaType, suffix) {
    button.disabled = true;
    try {
      save(await api.reportAs(this.id, mediaType), `report-${this.id}.${suffix}`);
      setText(this.parts["report-problem"], "");
    } catch (problem) {
      setText(this.parts["report-problem"], problem.message);
    } finally {
      button.disabled = false;
    }
  }
}

function waitWords({ reason, until }) {
  if (reason === "batch") {
    return "The answers are rated off-peak, together with others. That takes up to two days; you may leave and come back.";
  }
  const when = dayWords(until);
  if (reason === "day_budget") {
    return `The day's budget for the model is spent. The report is written when the next one begins, on ${when}; you may leave and come back.`;
  }
  return `The report could not be written yet. That is tried again on ${when}; you may leave and come back.`;
}
