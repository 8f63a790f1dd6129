// The end of an interview: what came of it, the transcript to take away, and its erasure.

import * as api from "./api.js";
import { save, setText, show } from "./dom.js";
import { erase } from "./erasing.js";
import { ReportPanel } from "./report.js";

const ENDS = {
  completed: ["The interview is over", "Thank you. The whole conversation stands above."],
  abandoned: ["The interview was left", "What was said until then stands above."],
  expired: ["The interview has expired", "What was said until then stands above."],
  terminated: ["The interview was ended", "It ended before anything was asked."],
};
const FORMATS = {
  markdown: ["text/markdown", "md"],
  csv: ["text/csv", "csv"],
  json: ["application/json", "json"],
};

export class Ending {
  constructor(parts, client, conversation) {
    this.parts = parts;
    this.client = client;
    this.report = new ReportPanel(parts.report, client.id, { goTo: (turn) => conversation.goTo(turn) });
    for (const [name, [mediaType, suffix]] of Object.entries(FORMATS)) {
      parts[name].addEventListener("click", () => this.download(parts[name], mediaType, suffix));
    }
    parts.print.addEventListener("click", () => window.print());
    parts.erase.addEventListener("click", () => this.erase());
  }

  draw() {
    const { parts, client } = this;
    const { over, status } = client.view;
    const appeared = over && parts.ended.hidden;
    show(parts.ended, over);
    if (!over) return;
    const [title, words] = ENDS[status];
    setText(parts["ended-title"], title);
    setText(parts["ended-words"], words);
    this.report.follow(client);
    if (appeared) parts["ended-title"].focus();
  }

  leave() {
    this.report.leave();
  }

  async download(button, mediaType, suffix) {
    button.disabled = true;
    try {
      save(await api.transcriptAs(this.client.id, mediaType), `interview-${this.client.id}.${suffix}`);
      setText(this.parts["ended-problem"], "");
    } catch (problem) {
      setText(this.parts["ended-problem"], problem.message);
    } finally {
      button.disabled = false;
    }
  }

  async erase() {
    try {
      if (await erase(this.client.id)) location.hash = "#/";
    } catch (problem) {
      const { over } = this.client.view;
      setText(this.parts[over ? "ended-problem" : "consent-problem"], problem.message);
    }
  }
}
