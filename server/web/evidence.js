// What stands behind a rating, for those who have to defend it.

import { el } from "./dom.js";
import { fact } from "./rating.js";
import { numberWords } from "./words.js";

const ANCHORS = ["1", "3", "5"];

// The question, and what answers of 1, 3 and 5 are like, the one that was matched among them.
export function anchorList(rating, guide) {
  const question = guide?.questions.find(({ question_id }) => question_id === rating.question_id);
  if (!question) return [];
  const rows = ANCHORS.map((score) => {
    const matched = String(rating.anchor) === score;
    const words = el("dd", { dir: "auto" }, question.anchors[score], matched ? el("span", { class: "matched" }, "matched") : "");
    return el("div", { class: matched && "is-matched" }, el("dt", {}, `${score} of 5`), words);
  });
  return [
    el("p", { class: "label" }, "What was asked"),
    el("p", { dir: "auto" }, question.text),
    el("p", { class: "label" }, "What the scores mean here"),
    el("dl", { class: "facts anchors" }, ...rows),
  ];
}

// By whom, how often, and how far apart.
export function madeHow({ method, model, samples = [], spread = 0, rubric, prompt_sha256 }) {
  if (method === "offline") return [el("p", { class: "fine" }, "Found by fixed rules; no model read this answer.")];
  const asked = samples.map((score) => (score === null ? "none" : numberWords(score))).join(", ");
  const facts = [
    model && ["Model", model],
    samples.length > 1 && ["Each time it was asked", `${asked}${spread ? ` (${spread} apart)` : ""}`],
    prompt_sha256 && ["Prompt", el("code", {}, prompt_sha256.slice(0, 12))],
    rubric && ["Rubric", el("code", {}, rubric.slice(0, 12))],
  ].filter(Boolean);
  return facts.length ? [el("dl", { class: "facts fine made" }, ...facts.map(fact))] : [];
}
