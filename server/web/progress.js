// How the scores went from interview to interview, on the start page.

import * as api from "./api.js";
import { spark } from "./chart.js";
import { el, setText, show } from "./dom.js";
import { numberWords } from "./words.js";

const MOST = 6; // competencies that are shown

export async function drawProgress(parts) {
  let found;
  try {
    found = await api.progress();
  } catch {
    return; // the list of interviews tells what is wrong
  }
  const { overall, competencies, interviews } = found;
  if (!interviews) return;
  const often = competencies.filter(({ points }) => points.length).toSorted((a, b) => b.points.length - a.points.length);
  const series = overall.points.length ? [{ ...overall, competency: "Overall" }, ...often] : often;
  parts["progress-rows"].replaceChildren(...series.slice(0, MOST + 1).map(row));
  setText(parts["progress-words"], leftOut(overall));
  show(parts["progress-table"], series.length > 0);
  show(parts.progress, true);
}

function leftOut({ offline, unrated, points }) {
  if (!points.length && offline + unrated) {
    return "Your interviews so far gave feedback and no scores to compare. With a model, scores appear here.";
  }
  const left = offline + unrated;
  if (!left) return "";
  return `${left === 1 ? "One interview is" : `${left} interviews are`} left out: without a model, or with too little to rate.`;
}

function row({ competency, points, trend = null }) {
  const scores = points.map((point) => point.score);
  const told = `${scores.map(numberWords).join(", ")} in ${scores.length === 1 ? "one interview" : `${scores.length} interviews`}`;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("span", { dir: "auto" }, competency)),
    el("td", { class: "picture" }, spark(scores), el("span", { class: "unseen" }, told)),
    el("td", { class: "figure" }, el("strong", {}, numberWords(scores.at(-1)))),
    el("td", { class: "fine" }, trendWords(trend, scores.length)),
  );
}

function trendWords(trend, count) {
  if (trend === null) return count === 1 ? "1 interview" : `${count} interviews`;
  if (Math.abs(trend) < 0.05) return "steady";
  return `${trend > 0 ? "↗ up" : "↘ down"} ${numberWords(Math.abs(trend))} each time`;
}
