// The HTTP API. Errors are RFC 9457 problem details; their detail is fit for people.

import { login } from "./store.js";

const TIMEOUT_MS = 10000;
export class Problem extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }

  // Whether the same request may succeed later.
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

async function call(method, path, { body, key, accept } = {}) {
  const headers = { Authorization: `Bearer ${login.token ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (accept) headers.Accept = accept;
  let reply;
  try {
    reply = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new Problem(0, "The server cannot be reached.");
  }
  if (!reply.ok) throw new Problem(reply.status, await sentence(reply));
  return reply;
}

async function sentence(reply) {
  if (reply.status === 401) return "The access token is missing, wrong or expired.";
  const problem = await reply.json().catch(() => ({}));
  return problem.detail ?? problem.title ?? `The server answered with status ${reply.status}.`;
}

// `key` makes a repeated request return the same interview instead of a second one.
export async function createInterview(plan, key) {
  return (await call("POST", "/api/interviews", { body: plan, key })).json();
}

// What is to be agreed to before an interview: {version, points}.
export async function notice() {
  return (await call("GET", "/api/notice")).json();
}

export async function listInterviews() {
  const path = "/api/interviews?limit=10&fields=id,type,role,status,created_at";
  return (await call("GET", path)).json();
}

export async function ticket(interviewId) {
  return (await call("POST", `/api/interviews/${interviewId}/tickets`, { body: {} })).json();
}

export async function transcriptAs(interviewId, mediaType) {
  const path = `/api/interviews/${interviewId}/transcript`;
  return (await call("GET", path, { accept: mediaType })).blob();
}

export async function erase(interviewId) {
  await call("DELETE", `/api/interviews/${interviewId}`);
}
