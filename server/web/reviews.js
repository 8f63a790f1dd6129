// The reviewers' list: everybody's interviews, a page at a time. What is asked for stands in the address.

import * as api from "./api.js";
import { el, fill, screen, setText, show } from "./dom.js";
import { MODES, STATUSES, TYPES, dayWords, statusWords, typeWords } from "./words.js";

const LIMIT = 20;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

// `query` is what stands behind the question mark of the address.
export function reviewsScreen(query, { refused }) {
  const { root, parts } = screen("reviews-screen");
  const asked = read(query);
  const fields = parts.form.elements;
  fill(fields.status, { "": "All", ...Object.fromEntries(Object.keys(STATUSES).map((each) => [each, statusWords(each)])) }, asked.status);
  fill(fields.type, { "": "All", ...TYPES }, asked.type);
  fields.since.value = asked.since;
  parts.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = Object.fromEntries(new FormData(parts.form));
    location.hash = addressOf({ ...chosen, offset: 0 });
  });
  draw(parts, asked, refused);
  return root;
}

// For who is logged in and is no reviewer; the server would refuse them as well.
export function forbiddenScreen(user, other) {
  const { root, parts } = screen("forbidden-screen");
  const who = user ? `You are logged in as ${user}, a candidate.` : "You are logged in as a candidate.";
  setText(parts.words, `${who} This page shows ratings and decisions, to reviewers only; they have a token with the role reviewer.`);
  parts.other.addEventListener("click", other);
  return root;
}

// Only what can be chosen is taken: the address may hold anything.
function read(query) {
  const given = new URLSearchParams(query);
  const [status, type, since] = ["status", "type", "since"].map((name) => given.get(name) ?? "");
  const offset = Number(given.get("offset"));
  return {
    status: status in STATUSES ? status : "",
    type: type in TYPES ? type : "",
    since: DAY.test(since) && !Number.isNaN(midnight(since)) ? since : "",
    offset: Number.isSafeInteger(offset) && offset > 0 ? offset : 0,
  };
}

function addressOf(asked) {
  const query = new URLSearchParams();
  for (const name of ["status", "type", "since", "offset"]) if (asked[name]) query.set(name, asked[name]);
  return query.size ? `#/review?${query}` : "#/review";
}

// The beginning of a day where the reviewer is.
function midnight(day) {
  return new Date(`${day}T00:00`).getTime();
}

async function draw(parts, asked, refused) {
  let page;
  try {
    const since = asked.since ? Math.max(0, midnight(asked.since)) : 0;
    page = await api.listForReview({ ...asked, since, limit: LIMIT });
  } catch (problem) {
    if (problem.status === 401) refused(problem.message);
    else setText(parts.count, problem.message);
    return;
  }
  const { items, total, offset } = page;
  setText(parts.count, countWords(items.length, total, offset));
  show(parts.list, items.length > 0);
  parts.list.replaceChildren(...items.map(one));
  lead(parts.newer, offset > 0, { ...asked, offset: Math.max(0, offset - LIMIT) });
  lead(parts.older, offset + items.length < total, { ...asked, offset: offset + LIMIT });
  show(parts.pages, !parts.newer.hidden || !parts.older.hidden);
}

function lead(link, there, asked) {
  show(link, there);
  link.href = addressOf(asked);
}

function countWords(shown, total, offset) {
  if (!total) return "There are none.";
  if (!shown) return `There are no more than ${total}.`;
  if (shown === total) return total === 1 ? "One interview" : `${total} interviews`;
  return `${offset + 1} to ${offset + shown} of ${total}`;
}

function one({ id, user_id, type, role, mode, status, created_at }) {
  const meta = [typeWords(type), MODES[mode] ?? mode, dayWords(created_at)].filter(Boolean).join(" · ");
  return el(
    "li",
    {},
    el(
      "a",
      { href: `#/review/${id}` },
      el("strong", { dir: "auto" }, role),
      el("span", { class: "fine" }, el("bdi", {}, user_id), ` · ${meta}`),
      el("span", { class: "status", "data-status": status }, statusWords(status)),
    ),
  );
}
