// A report as pieces of page. What it says is the report's own; nothing but means is worked out here.

import { scale } from "./chart.js";
import { el } from "./dom.js";
import { offlineBadge, ratingBody, ratingHead } from "./rating.js";
import { numberWords } from "./words.js";

const nothing = () => [];

// `cite(turn, evidence)` returns what leads to a turn. For those who have to defend a rating, `anchors(rating)` tells
// what all scores mean, and `made(rating)` how it came about.
export function reportParts(report, cite, { anchors = nothing, made = nothing } = {}) {
  return [
    report.method === "offline" ? strip() : "",
    overview(report),
    notes(report.notes ?? []),
    scores(report),
    remarks(report, cite),
    answers(report, cite, { anchors, made }),
  ].filter(Boolean);
}

function strip() {
  const words = " Fixed rules looked at the answers; no language model did. This is feedback to practise with, not a rating.";
  return el("p", { class: "strip" }, el("strong", {}, "Without a model."), words);
}

function overview({ composite = null, method, coverage }) {
  const score =
    composite === null
      ? [el("span", { class: "none" }, "Not rated")]
      : [el("span", { class: "big" }, numberWords(composite)), el("span", { class: "of" }, " of 5")];
  const counts = ["planned", "asked", "answered", "rated"].map((name) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, String(coverage[name]))),
  );
  return el(
    "div",
    { class: "overview" },
    el("div", {}, el("p", { class: "label" }, "Overall"), el("p", { class: "overall" }, ...score), method === "offline" ? offlineBadge() : ""),
    el("div", {}, el("p", { class: "label" }, "Questions"), el("dl", { class: "counts" }, ...counts)),
  );
}

function notes(sentences) {
  if (!sentences.length) return "";
  return part("Before you read on", el("ul", { class: "notes" }, ...sentences.map((words) => el("li", { dir: "auto" }, words))));
}

// Per competency the mean of its answers' scores; where nothing was scored, that is said.
function scores({ ratings, communication, coverage }) {
  if (![...ratings, communication].some((rating) => rating && rating.score !== null)) return "";
  const found = new Map((coverage.competencies ?? []).map((name) => [name.toLowerCase(), { name, given: [] }]));
  for (const { competency, score } of ratings) {
    const key = competency.toLowerCase();
    if (!found.has(key)) found.set(key, { name: competency, given: [] });
    if (score !== null) found.get(key).given.push(score);
  }
  const rows = [...found.values()].map(({ name, given }) => row(name, given));
  if (communication) {
    rows.push(row(communication.competency, communication.score === null ? [] : [communication.score], "apart, not in the overall score"));
  }
  const axis = el("span", { class: "axis" }, ...[1, 2, 3, 4, 5].map((step) => el("span", {}, String(step))));
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "Competency"),
    el("th", { scope: "col", class: "picture" }, el("span", { class: "unseen" }, "Scale of 1 to 5"), axis),
    el("th", { scope: "col", class: "figure" }, "Score"),
  );
  return part("Scores", el("table", { class: "scores" }, el("thead", {}, head), el("tbody", {}, ...rows)));
}

function row(name, given, note = "") {
  const mean = given.length ? given.reduce((sum, each) => sum + each, 0) / given.length : null;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("span", { dir: "auto" }, name), note ? el("span", { class: "fine" }, note) : ""),
    el("td", { class: "picture" }, scale(mean, given)),
    el("td", { class: "figure" }, mean === null ? el("em", {}, "Not rated") : el("strong", {}, numberWords(mean))),
  );
}

function remarks({ strengths = [], gaps = [], mode }, cite) {
  if (!strengths.length && !gaps.length) return "";
  const column = (title, found, kind) =>
    found.length
      ? el("div", { class: kind }, el("h4", {}, title), el("ul", {}, ...found.map((remark) => remarkItem(remark, cite))))
      : "";
  return el(
    "section",
    { class: "columns" },
    column("Strengths", strengths, "strengths"),
    column(mode === "practice" ? "To work on" : "Gaps", gaps, "gaps"),
  );
}

function remarkItem({ competency, text, turns }, cite) {
  const cites = turns.flatMap((turn) => [cite(turn), " "]);
  return el("li", {}, el("strong", { dir: "auto" }, competency), el("p", { dir: "auto" }, text), el("p", { class: "fine" }, ...cites));
}

function answers({ ratings, communication }, cite, behind) {
  const all = communication ? [...ratings, communication] : ratings;
  if (!all.length) return "";
  return part("Answer by answer", ...all.map((rating) => answer(rating, cite, behind)));
}

function answer(rating, cite, { anchors, made }) {
  const scores = anchors(rating);
  const body = ratingBody(rating, cite, scores.length > 0);
  return el("details", { class: "answer" }, el("summary", {}, ...ratingHead(rating)), ...body, ...scores, ...made(rating));
}

function part(title, ...children) {
  return el("section", {}, el("h4", {}, title), ...children);
}
