// The HTTP API. Errors are RFC 9457 problem details; their detail is fit for people.

import { login } from "./store.js";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${login.token ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST" && path === "/api/interviews") {
    headers["Idempotency-Key"] = crypto.randomUUID?.() ?? String(Math.random());
  }
  let reply;
  try {
    reply = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(10000),
    });
  } catch {
    throw new Problem(0, "The server cannot be reached.");
  }
  if (!reply.ok) {
    const problem = await reply.json().catch(() => ({}));
    throw new Problem(reply.status, problem.detail ?? problem.title ?? `HTTP ${reply.status}`);
  }
  return reply;
}

export async function createInterview(plan) {
  return (await call("POST", "/api/interviews", plan)).json();
}

export async function listInterviews() {
  return (await call("GET", "/api/interviews?limit=10&fields=id,type,role,status,created_at")).json();
}

export async function ticket(interviewId) {
  return (await call("POST", `/api/interviews/${interviewId}/tickets`, {})).json();
}

export async function transcriptAs(interviewId, mediaType) {
  const path = `/api/interviews/${interviewId}/transcript`;
  const reply = await fetch(path, {
    headers: { Authorization: `Bearer ${login.token ?? ""}`, Accept: mediaType },
  });
  if (!reply.ok) throw new Problem(reply.status, "The transcript cannot be fetched right now.");
  return reply.blob();
}
