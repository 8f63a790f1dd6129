// What was concluded from one answer, as it is shown live and in the report.

import { pips } from "./chart.js";
import { el } from "./dom.js";
import { CAVEATS, STAR, numberWords } from "./words.js";

// The head: the competency, and the score or why there is none.
export function ratingHead(rating) {
  return [el("span", { class: "competency", dir: "auto" }, rating.competency), ratingMark(rating)];
}

// Without a model there is never a score: that is said where the score would stand.
function ratingMark({ method, score }) {
  if (score !== null) {
    const words = [el("strong", {}, numberWords(score)), " of 5"];
    return el("span", { class: "mark" }, pips(score), el("span", {}, ...words), method === "offline" ? offlineBadge() : "");
  }
  return el("span", { class: "mark" }, method === "offline" ? offlineBadge() : el("em", {}, "Too little to rate"));
}

export function offlineBadge() {
  return el("span", { class: "badge" }, "Feedback, not a rating");
}

// `matched`: the description that was matched is told elsewhere.
export function ratingBody(rating, cite, matched = false) {
  const { evidence = [], rationale, missing, anchor, anchor_text, star = [], caveats = [] } = rating;
  const facts = [
    anchor && !matched && ["Closest description", `${anchor} of 5: ${anchor_text ?? ""}`],
    missing && ["For more", missing],
    star.length && ["Found in the story", star.map((part) => STAR[part] ?? part).join(", ")],
    caveats.length && ["Mind", caveats.map((caveat) => CAVEATS[caveat] ?? caveat).join("; ")],
  ].filter(Boolean);
  return [
    ...evidence.map((each) => quote(each, cite)),
    rationale ? el("p", { dir: "auto" }, rationale) : "",
    facts.length ? el("dl", { class: "facts" }, ...facts.map(fact)) : "",
  ];
}

// A line of a list of facts.
export function fact([name, words]) {
  return el("div", {}, el("dt", {}, name), el("dd", { dir: "auto" }, words));
}

function quote(evidence, cite) {
  const words = el("p", { dir: "auto" }, evidence.quote);
  return el("blockquote", {}, words, cite ? el("footer", {}, cite(evidence.turn, evidence)) : "");
}

// Feedback in the middle of a practice interview: folded open, as it may be folded away.
export function feedback(rating) {
  const kind = rating.method === "offline" ? "feedback offline" : "feedback";
  return el(
    "details",
    { class: kind, open: true },
    el("summary", {}, el("span", { class: "label" }, "Feedback"), ...ratingHead(rating)),
    ...ratingBody(rating),
  );
}

export function spokenFeedback({ competency, score, method }) {
  if (score !== null && method !== "offline") return `Feedback on ${competency}: ${score} of 5.`;
  return method === "offline"
    ? `Feedback on ${competency}, without a model: it is not a rating.`
    : `Feedback on ${competency}: too little to rate.`;
}
