// What this client knows of one interview: a snapshot, and every durable event since, once each.

export class GapError extends Error {}

export class View {
  constructor() {
    this.clear();
  }

  clear() {
    this.head = { seq: 0, id: null };
    this.status = "created";
    this.mode = "practice";
    this.phase = "lobby";
    this.plan = null;
    this.readClock({ elapsed_ms: 0, remaining_ms: 0, running: false });
    this.turns = [];
    this.open = null;
    this.notices = [];
    this.ratings = new Map(); // turn of the question → its ratings, as they came live
    this.report = null;
    this.earlier = false; // whether the snapshot left out the older turns
  }

  replace(snapshot, head) {
    this.clear();
    this.head = { seq: seqOf(head), id: head };
    this.status = snapshot.status;
    this.mode = snapshot.mode;
    this.phase = snapshot.phase;
    this.plan = snapshot.plan;
    this.readClock(snapshot.clock);
    this.turns = snapshot.turns.map((turn) => ({ ...turn, seq: this.head.seq }));
    this.open = snapshot.open ? { ...snapshot.open, segments: [...(snapshot.open.segments ?? [])] } : null;
    this.earlier = Boolean(snapshot.transcript_url);
    const report = snapshot.report;
    if (report) CHANGES[report.report_id ? "report.ready" : "report.failed"](this, report);
  }

  get over() {
    return ["completed", "abandoned", "expired", "terminated"].includes(this.status);
  }

  get answering() {
    return this.open !== null && this.open.speaker === "candidate";
  }

  // The newest turn that was begun, open or finished; 0 before the first.
  get latest() {
    return this.open?.turn ?? this.turns.at(-1)?.turn ?? 0;
  }

  remaining() {
    return Math.max(0, this.clock.remaining_ms - this.since());
  }

  // How long the interview's clock has run; it stands while the interview is paused.
  elapsed() {
    return this.clock.elapsed_ms + this.since();
  }

  since() {
    return this.clock.running ? performance.now() - this.clock.at : 0;
  }

  // Applies a durable event. One that was applied before is ignored; a hole throws GapError.
  apply(event) {
    const seq = seqOf(event.id);
    const first = event.first ?? seq;
    if (seq <= this.head.seq) return false;
    if (first !== this.head.seq + 1) throw new GapError(`expected ${this.head.seq + 1}, got ${first}`);
    const change = CHANGES[event.type];
    if (change) change(this, event);
    this.head = { seq, id: event.id };
    return true;
  }

  // Takes what the server's clock shows; from there on the page counts, whatever the device's clock is set to.
  readClock(clock) {
    this.clock = { ...clock, at: performance.now() };
  }

  setClock(running) {
    this.readClock({ elapsed_ms: this.elapsed(), remaining_ms: this.remaining(), running });
  }
}

const CHANGES = {
  "interview.started": (view) => {
    view.status = "live";
    view.setClock(true);
  },
  "interview.paused": (view) => {
    view.status = "paused";
    view.setClock(false);
  },
  "interview.resumed": (view) => {
    view.status = "live";
    view.setClock(true);
  },
  "interview.ended": (view, event) => {
    view.status = event.reason;
    view.setClock(false);
  },
  "phase.changed": (view, event) => {
    view.phase = event.phase;
  },
  "turn.started": (view, event) => {
    const { turn, attempt, speaker, kind, question_id, at } = event;
    view.open = { turn, attempt, speaker, kind, question_id, text: "", segments: [], started_at: at };
  },
  "turn.delta": (view, event) => {
    if (isOpen(view, event)) view.open.text += event.text;
  },
  "turn.reset": (view, event) => {
    if (view.open?.turn === event.turn) {
      view.open = { ...view.open, attempt: event.attempt, text: "" };
    }
  },
  "turn.completed": (view, event) => {
    if (!isOpen(view, event)) return;
    const { turn, speaker, kind, question_id, text, started_at } = view.open;
    view.turns.push({
      seq: seqOf(event.id),
      turn,
      speaker,
      kind,
      question_id,
      text: [...text].slice(0, event.length).join(""),
      sha256: event.sha256,
      outcome: event.outcome,
      source: event.source,
      started_at,
      ended_at: event.at,
    });
    view.open = null;
  },
  "speech.recorded": (view, event) => {
    if (view.open?.turn !== event.turn) return;
    const segments = view.open.segments;
    const place = segments.findIndex((held) => held.utterance_id === event.utterance_id);
    if (place < 0) segments.push(event);
    else segments[place] = event;
  },
  "rating.ready": (view, event) => {
    view.ratings.set(event.turn, event.ratings);
  },
  notice: (view, event) => {
    view.notices.push(event);
  },
  "report.ready": (view, event) => {
    view.report = { ready: true, id: event.report_id };
  },
  "report.failed": (view, event) => {
    view.report = { ready: false, code: event.code };
  },
};

function isOpen(view, event) {
  return view.open?.turn === event.turn && view.open.attempt === event.attempt;
}

export function seqOf(id) {
  return Number(id.split("-", 1)[0]);
}

// The text of the segments as the server will join them: by start_ms, then by arrival.
export function spoken(segments) {
  return segments
    .toSorted((a, b) => start(a) - start(b)) // stable: by arrival where the times are equal
    .map((segment) => segment.text)
    .join(" ");
}

function start(segment) {
  return segment.start_ms ?? Number.MAX_SAFE_INTEGER;
}

export async function sha256(text) {
  if (!globalThis.crypto?.subtle) return null; // only on secure origins
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
