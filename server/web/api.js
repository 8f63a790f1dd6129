// The HTTP API. Errors are RFC 9457 problem details; their detail is fit for people.

import { login } from "./store.js";

const TIMEOUT_MS = 10000;
const PAPER_TIMEOUT_MS = 60000; // a long report takes a while to be set
const DOCUMENT_TIMEOUT_MS = 75000; // it is sent, waits for its turn, and is read
export class Problem extends Error {
  constructor(status, sentence, code = "") {
    super(sentence);
    this.status = status;
    this.code = code; // for programs
  }

  // Whether the same request may succeed later.
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

async function call(method, path, { body, file, kind, key, accept, patience = TIMEOUT_MS } = {}) {
  const headers = { Authorization: `Bearer ${login.token ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (file) headers["Content-Type"] = kind;
  if (key) headers["Idempotency-Key"] = key;
  if (accept) headers.Accept = accept;
  let reply;
  try {
    reply = await fetch(path, {
      method,
      headers,
      body: body === undefined ? file : JSON.stringify(body),
      signal: AbortSignal.timeout(patience),
    });
  } catch {
    throw new Problem(0, "The server cannot be reached.");
  }
  if (!reply.ok) throw await problemOf(reply);
  return reply;
}

async function problemOf(reply) {
  const { detail, title, code } = await reply.json().catch(() => ({}));
  const sentence =
    reply.status === 401
      ? "The access token is missing, wrong or expired."
      : (detail ?? title ?? `The server answered with status ${reply.status}.`);
  return new Problem(reply.status, sentence, code);
}

// `key` makes a repeated request return the same interview instead of a second one.
export async function createInterview(plan, key) {
  return (await call("POST", "/api/interviews", { body: plan, key })).json();
}

// The text of a file, fit for a plan: {text, pages, clipped}. The server keeps nothing of it.
export async function readDocument(file, kind) {
  const patience = DOCUMENT_TIMEOUT_MS;
  return (await call("POST", "/api/documents", { file, kind, patience })).json();
}

// What is to be agreed to before an interview: {version, points}.
export async function notice() {
  return (await call("GET", "/api/notice")).json();
}

export async function listInterviews() {
  const path = "/api/interviews?limit=10&fields=id,type,role,status,created_at";
  return (await call("GET", path)).json();
}

// What the reviewers' list asks for: {status, type, since, limit, offset}, those that are given.
export async function listForReview(asked) {
  const query = new URLSearchParams({ fields: "id,user_id,type,role,mode,status,created_at" });
  for (const [name, value] of Object.entries(asked)) if (value) query.set(name, value);
  return (await call("GET", `/api/interviews?${query}`)).json();
}

export async function interview(interviewId) {
  const fields = "id,user_id,type,role,level,difficulty,mode,status,duration_minutes,created_at";
  return (await call("GET", `/api/interviews/${interviewId}?fields=${fields}`)).json();
}

export async function transcript(interviewId) {
  const path = `/api/interviews/${interviewId}/transcript`;
  return (await call("GET", path, { accept: "application/json" })).json();
}

// The questions as they were planned, with what an answer of each score is like.
export async function guide(interviewId) {
  return (await call("GET", `/api/interviews/${interviewId}/guide`)).json();
}

export async function decide(interviewId, verdict) {
  return (await call("POST", `/api/interviews/${interviewId}/decision`, { body: verdict })).json();
}

export async function ticket(interviewId) {
  return (await call("POST", `/api/interviews/${interviewId}/tickets`, { body: {} })).json();
}

export async function transcriptAs(interviewId, mediaType) {
  const path = `/api/interviews/${interviewId}/transcript`;
  return (await call("GET", path, { accept: mediaType })).blob();
}

// {report}, or while it is being written {waits}: for what, until when, and after how many seconds to ask again.
export async function report(interviewId) {
  const reply = await call("GET", `/api/interviews/${interviewId}/report`, { accept: "application/json" });
  const found = await reply.json();
  if (reply.status !== 202) return { report: found };
  return { waits: { reason: null, ...found, seconds: Number(reply.headers.get("Retry-After")) || 0 } };
}

export async function reportAs(interviewId, mediaType) {
  const path = `/api/interviews/${interviewId}/report`;
  return (await call("GET", path, { accept: mediaType, patience: PAPER_TIMEOUT_MS })).blob();
}

export async function writeReport(interviewId) {
  await call("POST", `/api/interviews/${interviewId}/report`);
}

export async function progress() {
  return (await call("GET", "/api/progress")).json();
}

export async function erase(interviewId) {
  await call("DELETE", `/api/interviews/${interviewId}`);
}
