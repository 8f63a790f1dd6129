// The messages of interview.v1. Written by `python -m server.reference` from the Structs that the
// server decodes with: do not edit it.
//
// A client ignores fields that it does not know; the server refuses them.

export type ClientMessage =
  | Hello
  | InterviewStart
  | SpeechFinal
  | AnswerSubmit
  | TurnCancel
  | HintRequest
  | InterviewPause
  | InterviewResume
  | InterviewEnd
  | SpeechPartial
  | Ack
  | Ping;

export type DurableCommand =
  | InterviewStart
  | SpeechFinal
  | AnswerSubmit
  | TurnCancel
  | HintRequest
  | InterviewPause
  | InterviewResume
  | InterviewEnd;

export type ServerMessage =
  | InterviewStarted
  | InterviewPaused
  | InterviewResumed
  | PhaseChanged
  | TurnStarted
  | TurnDelta
  | TurnReset
  | TurnCompleted
  | SpeechRecorded
  | RatingReady
  | ReportReady
  | ReportFailed
  | Notice
  | InterviewEnded
  | Welcome
  | Live
  | Stored
  | PartialHeard
  | Thinking
  | Draining
  | Accepted
  | Rejected
  | Error
  | Pong;

export type DurableEvent =
  | InterviewStarted
  | InterviewPaused
  | InterviewResumed
  | PhaseChanged
  | TurnStarted
  | TurnDelta
  | TurnReset
  | TurnCompleted
  | SpeechRecorded
  | RatingReady
  | ReportReady
  | ReportFailed
  | Notice
  | InterviewEnded;

export type Role = "candidate" | "transcriber" | "observer";

export type Speaker = "interviewer" | "candidate";

export type Kind = "question" | "probe" | "hint" | "reply" | "closing" | "answer";

export type Outcome = "final" | "interrupted" | "failed";

export type Source = "model" | "cache" | "bank";

export type Status =
  | "created"
  | "live"
  | "paused"
  | "disconnected"
  | "completed"
  | "abandoned"
  | "expired"
  | "terminated";

export type EndReason = "completed" | "abandoned" | "expired" | "terminated";

export type Phase =
  | "lobby"
  | "consent"
  | "warmup"
  | "core"
  | "candidate_questions"
  | "wrap_up"
  | "closed";

export type NoticeCode = "time_low" | "time_up" | "budget_low" | "fallback_in_use" | "degraded";

export type InterviewType =
  | "behavioral"
  | "situational"
  | "technical"
  | "coding"
  | "system_design"
  | "case"
  | "screening"
  | "mixed";

export type Difficulty = "easy" | "medium" | "hard";

export type Mode = "practice" | "assessment";

export type Level = "intern" | "junior" | "mid" | "senior" | "staff";

/** The first frame of every socket. */
export interface Hello {
  type: "hello";
  credential: string;
  last_event_id?: string | null;
  client?: string | null;
}

/** The candidate agrees to the notice; the clock starts. */
export interface InterviewStart {
  type: "interview.start";
  id: string;
  consent: Consent;
}

/**
 * A final segment of the open answer; a higher revision replaces a lower one. With turn it is for
 * the answer of that number alone.
 */
export interface SpeechFinal {
  type: "speech.final";
  id: string;
  utterance_id: string;
  revision: number;
  text: string;
  turn?: number | null;
  start_ms?: number | null;
  end_ms?: number | null;
  confidence?: number | null;
}

/**
 * The candidate's turn is over; text, unless empty, stands in for the recorded segments. With turn
 * it is for the answer of that number alone.
 */
export interface AnswerSubmit {
  type: "answer.submit";
  id: string;
  text?: string | null;
  turn?: number | null;
}

/** Barge-in: stop this interviewer turn and keep its first heard code points. */
export interface TurnCancel {
  type: "turn.cancel";
  id: string;
  turn: number;
  attempt: number;
  heard?: number | null;
}

/**
 * Ask for a hint on the open question, at most two a question; practice mode only. With turn it is
 * for the answer of that number alone.
 */
export interface HintRequest {
  type: "hint.request";
  id: string;
  turn?: number | null;
}

/** Stop the clock. */
export interface InterviewPause {
  type: "interview.pause";
  id: string;
}

/** Let the clock run on. */
export interface InterviewResume {
  type: "interview.resume";
  id: string;
}

/** End the interview now, keeping everything said so far. */
export interface InterviewEnd {
  type: "interview.end";
  id: string;
}

/**
 * Interim voice-to-text; the newest revision wins; never stored. The utterance typing, without
 * text, is no speech: the candidate types. Nobody is told of it.
 */
export interface SpeechPartial {
  type: "speech.partial";
  utterance_id: string;
  revision: number;
  text: string;
}

/** The client has applied everything up to event_id. */
export interface Ack {
  type: "ack";
  event_id: string;
}

/** The application's heartbeat; answered by pong with the same nonce. */
export interface Ping {
  type: "ping";
  nonce: string | number;
}

/** The candidate consented; the clock runs. */
export interface InterviewStarted {
  type: "interview.started";
  id: string;
  at: number;
}

/** The clock stands. */
export interface InterviewPaused {
  type: "interview.paused";
  id: string;
  at: number;
}

/** The clock runs again. */
export interface InterviewResumed {
  type: "interview.resumed";
  id: string;
  at: number;
}

/** The interview entered phase. */
export interface PhaseChanged {
  type: "phase.changed";
  id: string;
  phase: Phase;
}

/** A turn opened; its text follows as deltas. */
export interface TurnStarted {
  type: "turn.started";
  id: string;
  turn: number;
  attempt: number;
  speaker: Speaker;
  kind: Kind;
  question_id?: string | null;
  at: number;
}

/**
 * A piece of a turn's text, at offset code points. first is the first seq it covers, where the
 * server merged neighbours.
 */
export interface TurnDelta {
  type: "turn.delta";
  id: string;
  turn: number;
  attempt: number;
  offset: number;
  text: string;
  first?: number | null;
}

/** The turn's text so far is void; attempt is the new one. */
export interface TurnReset {
  type: "turn.reset";
  id: string;
  turn: number;
  attempt: number;
  reason: string;
}

/** The turn is over; its text is cut to length code points and has this sha256. */
export interface TurnCompleted {
  type: "turn.completed";
  id: string;
  turn: number;
  attempt: number;
  length: number;
  sha256: string;
  outcome: Outcome;
  source?: Source | null;
  at: number;
}

/** A final segment of the open answer was recorded, or replaced by a higher revision. */
export interface SpeechRecorded {
  type: "speech.recorded";
  id: string;
  turn: number;
  utterance_id: string;
  revision: number;
  text: string;
  start_ms?: number | null;
  end_ms?: number | null;
  confidence?: number | null;
}

/** Ratings of one turn; in assessment mode it is ephemeral and goes to observers only. */
export interface RatingReady {
  type: "rating.ready";
  id?: string;
  turn: number;
  ratings: Array<Record<string, unknown>>;
}

/** The report can be fetched. */
export interface ReportReady {
  type: "report.ready";
  id: string;
  report_id: string;
}

/** The report could not be written. */
export interface ReportFailed {
  type: "report.failed";
  id: string;
  code: string;
  retryable: boolean;
}

/** Something the candidate should know. */
export interface Notice {
  type: "notice";
  id: string;
  code: NoticeCode;
  message: string;
}

/** The interview is over; only ratings, reports and notices follow. */
export interface InterviewEnded {
  type: "interview.ended";
  id: string;
  reason: EndReason;
}

/**
 * The answer to hello. clock comes without a snapshot, which has its own: no event tells that it
 * stood while the candidate was away.
 */
export interface Welcome {
  type: "welcome";
  interview_id: string;
  role: Role;
  recovered: boolean;
  head: string;
  resume_token: string;
  heartbeat_ms: number;
  limits: Limits;
  snapshot?: Snapshot | null;
  clock?: ClockView | null;
}

/** The client has caught up to id; live events follow. */
export interface Live {
  type: "live";
  id: string;
}

/** Everything up to id is committed in PostgreSQL. */
export interface Stored {
  type: "stored";
  id: string;
}

/** Interim voice-to-text, relayed to observers. */
export interface PartialHeard {
  type: "speech.partial";
  utterance_id: string;
  revision: number;
  text: string;
}

/** The interviewer's turn runs but has no words yet. */
export interface Thinking {
  type: "thinking";
  turn: number;
}

/** This instance is going away; reconnect after the delay. */
export interface Draining {
  type: "draining";
  reconnect_after_ms: number;
}

/** The log holds the command's effect, the last event of which is id. */
export interface Accepted {
  type: "accepted";
  command_id: string;
  id: string;
  duplicate: boolean;
}

/** The command had no effect; retryable tells whether it may be sent again. */
export interface Rejected {
  type: "rejected";
  command_id: string;
  code: string;
  message: string;
  retryable: boolean;
}

/** A message did not fit its schema. */
export interface Error {
  type: "error";
  code: string;
  message: string;
}

/** The answer to ping. */
export interface Pong {
  type: "pong";
  nonce: string | number;
  server_time: number;
}

/** The interview's clock at the moment of the welcome. */
export interface ClockView {
  elapsed_ms: number;
  remaining_ms: number;
  running: boolean;
}

/** The version of the notice the candidate agreed to, and when. */
export interface Consent {
  version: string;
  at: number;
}

/** What one socket may do. Sizes in bytes, rates a second. */
export interface Limits {
  frame_bytes?: number;
  hello_bytes?: number;
  answer_bytes?: number;
  message_bytes?: number;
  commands_per_second?: number;
  command_burst?: number;
  partials_per_second?: number;
  command_ids?: number;
}

/** The turn that is open now. */
export interface OpenView {
  turn: number;
  attempt: number;
  speaker: Speaker;
  kind: Kind;
  question_id?: string | null;
  started_at?: number;
  text: string;
  segments?: Array<Segment>;
}

/** What every client of the interview may know of its plan. */
export interface PlanView {
  type: string;
  role: string;
  duration_minutes: number;
}

/** What became of the report: report_id where it is ready, else why it is not. */
export interface ReportView {
  report_id?: string | null;
  code?: string | null;
  retryable?: boolean;
}

/** A recorded segment of the open answer, in order of arrival. */
export interface Segment {
  utterance_id: string;
  revision: number;
  text: string;
  start_ms?: number | null;
  end_ms?: number | null;
  confidence?: number | null;
}

/** Replaces everything a client holds. transcript_url names where turns left out are. */
export interface Snapshot {
  status: Status;
  mode: Mode;
  phase: Phase;
  clock: ClockView;
  plan: PlanView;
  turns: Array<TurnView>;
  open?: OpenView | null;
  report?: ReportView | null;
  transcript_url?: string | null;
}

/** A finished turn, as in snapshots and transcripts. */
export interface TurnView {
  turn: number;
  speaker: Speaker;
  kind: Kind;
  question_id?: string | null;
  text: string;
  sha256: string;
  outcome: Outcome;
  source?: Source | null;
  started_at: number;
  ended_at: number;
}
