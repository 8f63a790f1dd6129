// One interview as a reviewer sees it: what was concluded, the words that prove it, and what is decided.

import * as api from "./api.js";
import { el, screen, setText, show } from "./dom.js";
import { anchorList, madeHow } from "./evidence.js";
import { fact } from "./rating.js";
import { ReportPanel } from "./report.js";
import { Transcript } from "./transcript.js";
import { Verdicts } from "./verdicts.js";
import { DIFFICULTIES, LEVELS, MODES, dayWords, dollarWords, lengthWords, statusWords, typeWords } from "./words.js";

export class Review {
  // `refused(sentence)` is called where the token is not good any more.
  constructor(interviewId, { refused }) {
    const { root, parts } = screen("review-screen");
    this.root = root;
    this.parts = parts;
    this.id = interviewId;
    this.refused = refused;
    this.transcript = new Transcript(parts.turns);
    this.verdicts = new Verdicts(parts, interviewId, { refused });
    this.guide = null;
    this.report = new ReportPanel(parts.report, interviewId, {
      goTo: (turn, evidence, from) => this.transcript.goTo(turn, evidence, from),
      behind: { anchors: (rating) => anchorList(rating, this.guide), made: madeHow },
      shown: (report) => this.shown(report),
    });
  }

  async enter() {
    try {
      // Without the guide the report has fewer words beside its scores, and is no worse.
      const guide = api.guide(this.id).catch(() => null);
      const [interview, transcript] = await Promise.all([api.interview(this.id), api.transcript(this.id)]);
      this.guide = await guide;
      if (this.left) return;
      this.drawHead(interview);
      this.transcript.draw(transcript.turns);
      show(this.parts["no-turns"], transcript.turns.length === 0);
    } catch (problem) {
      if (!this.left) this.failed(problem);
      return;
    }
    show(this.parts.concluded, true);
    this.report.load();
  }

  leave() {
    this.left = true;
    this.report.leave();
  }

  failed(problem) {
    if (problem.status === 401) {
      this.refused(problem.message);
      return;
    }
    setText(this.parts.title, "This interview cannot be shown");
    setText(this.parts.problem, problem.message);
    show(this.parts.spoken, false);
  }

  drawHead({ user_id, type, role, level, difficulty, mode, status, duration_minutes, created_at }) {
    const { parts } = this;
    setText(parts.title, role);
    document.title = `${role} · viva`;
    const facts = [
      ["Candidate", user_id],
      ["Interview", `${typeWords(type)}, ${MODES[mode] ?? mode}`],
      ["Level", `${LEVELS[level] ?? level}, ${(DIFFICULTIES[difficulty] ?? difficulty).toLowerCase()}`],
      ["Planned", `${dayWords(created_at)}, for ${duration_minutes} minutes`],
      ["State", statusWords(status)],
    ];
    parts.facts.replaceChildren(...facts.map(fact));
  }

  shown(report) {
    const { disconnections = 0, cost_micro_usd = 0, duration_ms, created_at, rubric = "", method } = report;
    const lost = disconnections === 1 ? "once" : `${disconnections} times`;
    const facts = [
      ["Took", lengthWords(duration_ms)],
      ["Connection lost", disconnections ? lost : "never"],
      ["Cost of the model", dollarWords(cost_micro_usd)],
      ["Rated", method === "offline" ? "by fixed rules, without a model" : "by a model, with quotes that were checked"],
      rubric && ["Rubric", el("code", {}, rubric.slice(0, 12))],
      ["Written", dayWords(created_at)],
    ].filter(Boolean);
    this.parts["report-facts"].replaceChildren(...facts.map(fact));
    show(this.parts["report-facts"], true);
    this.verdicts.open(report);
  }
}
