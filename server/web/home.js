// The screens before an interview: the login and the start.

import * as api from "./api.js";
import { DocumentFields } from "./documents.js";
import { el, fill, screen, setText, show } from "./dom.js";
import { erase } from "./erasing.js";
import { uuid7 } from "./outbox.js";
import { drawProgress } from "./progress.js";
import { login, userOf } from "./store.js";
import { DIFFICULTIES, DURATIONS, STATUSES, TYPES, dayWords, typeWords } from "./words.js";

const RETRY_MS = 3000;

export function loginScreen(done, sentence = "") {
  const { root, parts } = screen("login-screen");
  setText(parts.problem, sentence);
  parts.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = parts.form.elements.token.value.trim().replace(/^.*#token=/s, "");
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
      setText(parts.problem, "This is no access token: one has three parts with a dot between them.");
      return;
    }
    login.token = token;
    done();
  });
  return root;
}

let left = null; // the screen of a user who had to log in again, with all that stands in its form

export function homeScreen({ refused }) {
  const user = userOf(login.token);
  const leave = (sentence) => {
    left = { user, home };
    refused(sentence);
  };
  const home = left?.user === user ? left.home : newHome(leave);
  left = null;
  listRecent(home.parts, leave);
  drawProgress(home.parts);
  return home.root;
}

function newHome(refused) {
  const { root, parts } = screen("home-screen");
  const fields = parts.form.elements;
  fill(fields.type, TYPES, "behavioral");
  fill(fields.difficulty, DIFFICULTIES, "medium");
  fill(fields.duration_minutes, DURATIONS, "30");
  const documents = new DocumentFields(parts, refused);
  parts.form.addEventListener("submit", (event) => {
    event.preventDefault();
    create(parts, documents, refused);
  });
  return { root, parts };
}

// The key stays with the plan until it succeeds: pressing twice makes one interview.
const keys = new Map();

async function create(parts, documents, refused) {
  parts.create.disabled = true;
  const texts = await documents.plan();
  parts.create.disabled = false;
  if (texts) await createWith(parts, texts, refused);
}

async function createWith(parts, texts, refused) {
  const fields = new FormData(parts.form);
  const plan = {
    type: fields.get("type"),
    role: fields.get("role").trim(),
    difficulty: fields.get("difficulty"),
    mode: fields.get("mode"),
    duration_minutes: Number(fields.get("duration_minutes")),
    ...texts,
  };
  const name = JSON.stringify(plan);
  if (!keys.has(name)) keys.set(name, uuid7());
  setText(parts.problem, "");
  parts.create.disabled = true;
  try {
    const interview = await api.createInterview(plan, keys.get(name));
    keys.delete(name);
    location.hash = `#/interview/${interview.id}`;
  } catch (problem) {
    if (problem.status === 401) refused(problem.message);
    else setText(parts.problem, problem.message);
  } finally {
    parts.create.disabled = false;
  }
}

let again = 0; // one look at a time is to come

async function listRecent(parts, refused) {
  clearTimeout(again);
  let items;
  try {
    ({ items } = await api.listInterviews());
  } catch (problem) {
    if (!parts.list.isConnected) return; // it was asked by who has gone on, or logged out since
    if (problem.status === 401) refused(problem.message);
    else setText(parts.empty, problem.message);
    clearTimeout(again);
    // Pages that all lost the same server do not all ask it again in the same moment.
    if (problem.passing) again = setTimeout(lookAgain, RETRY_MS * (1 + Math.random()), parts, refused);
    return;
  }
  setText(parts.empty, items.length ? "" : "None yet. Yours will be here, to go back to at any time.");
  show(parts.empty, items.length === 0);
  show(parts.list, items.length > 0);
  parts.list.replaceChildren(...items.map((item) => recent(item, parts, refused)));
}

function lookAgain(parts, refused) {
  if (!parts.list.isConnected) return;
  listRecent(parts, refused);
  drawProgress(parts);
}

function recent({ id, type, role, status, created_at }, parts, refused) {
  const meta = [typeWords(type), dayWords(created_at)].filter(Boolean).join(" · ");
  const button = el("button", { type: "button", class: "quiet danger", "aria-label": `Erase ${role}` }, "Erase");
  button.addEventListener("click", () => eraseOne(id, parts, refused));
  return el(
    "li",
    {},
    el(
      "a",
      { href: `#/interview/${id}` },
      el("strong", {}, role),
      el("span", { class: "fine" }, meta),
      el("span", { class: "status", "data-status": status }, STATUSES[status] ?? status),
    ),
    button,
  );
}

async function eraseOne(id, parts, refused) {
  setText(parts["recent-problem"], "");
  try {
    if (!(await erase(id))) return;
    await listRecent(parts, refused);
    await drawProgress(parts);
  } catch (problem) {
    if (problem.status === 401) refused(problem.message);
    else setText(parts["recent-problem"], problem.message);
  }
}
