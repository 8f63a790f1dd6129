// Small pictures of scores. They are hidden from screen readers: whatever they show stands beside them as text.

import { svg } from "./dom.js";

const LEFT = 4;
const STEP = (100 - 2 * LEFT) / 4;
const STEPS = [1, 2, 3, 4, 5];

// One row on the scale of 1 to 5: the single ratings, small, and what they came to.
export function scale(score, singles = []) {
  const middle = 12;
  const dot = (value, r, kind) => svg("circle", { class: kind, cx: at(value), cy: middle, r });
  return svg(
    "svg",
    { class: "scale", width: "100%", height: 2 * middle, "aria-hidden": "true", focusable: "false" },
    svg("line", { class: "rail", x1: at(1), x2: at(5), y1: middle, y2: middle }),
    ...STEPS.map((step) => dot(step, 3, "tick")),
    ...(singles.length > 1 ? singles.map((value) => dot(value, 4, "single")) : []),
    ...(score === null ? [] : [dot(score, 7, "score")]),
  );
}

function at(score) {
  return `${LEFT + (score - 1) * STEP}%`;
}

// Five pips, as many of them full as the score says.
export function pips(score) {
  return svg(
    "svg",
    { class: "pips", viewBox: "0 0 70 14", width: 70, height: 14, "aria-hidden": "true", focusable: "false" },
    ...STEPS.map((step) => svg("circle", { class: step <= score ? "full" : "empty", cx: 14 * step - 7, cy: 7, r: 5 })),
  );
}

const WIDTH = 120;
const HEIGHT = 36;
const EDGE = 6;

// Scores in the order of time, on the scale of 1 to 5.
export function spark(scores) {
  const across = (place) =>
    scores.length === 1 ? WIDTH / 2 : EDGE + (place * (WIDTH - 2 * EDGE)) / (scores.length - 1);
  const up = (score) => HEIGHT - EDGE - ((score - 1) * (HEIGHT - 2 * EDGE)) / 4;
  const points = scores.map((score, place) => [across(place), up(score)]);
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true", focusable: "false" },
    svg("line", { class: "rail", x1: EDGE, x2: WIDTH - EDGE, y1: up(3), y2: up(3) }),
    svg("polyline", { class: "path", points: points.map((point) => point.join(",")).join(" ") }),
    ...points.map(([cx, cy], place) =>
      svg("circle", { class: place === points.length - 1 ? "score" : "single", cx, cy, r: place === points.length - 1 ? 4.5 : 2.5 }),
    ),
  );
}
