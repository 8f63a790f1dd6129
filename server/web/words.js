// What the contract's names are called on the page.

export const TYPES = {
  behavioral: "Behavioral",
  technical: "Technical",
  system_design: "System design",
  situational: "Situational",
  coding: "Coding",
  case: "Case",
  screening: "Screening",
  mixed: "Mixed",
};
export const DIFFICULTIES = { easy: "Easy", medium: "Medium", hard: "Hard" };
export const LEVELS = { intern: "Intern", junior: "Junior", mid: "Mid-level", senior: "Senior", staff: "Staff" };
export const MODES = { practice: "practice", assessment: "assessment" };
export const DECISIONS = { advance: "Advance", hold: "Hold", reject: "Reject" };
export const DURATIONS = { 15: "15 minutes", 30: "30 minutes", 45: "45 minutes", 60: "60 minutes" };
export const PHASES = {
  warmup: "Warm-up",
  core: "Main questions",
  candidate_questions: "Your questions",
  wrap_up: "Closing",
};
export const STATUSES = {
  created: "Not begun",
  live: "In progress",
  paused: "Paused",
  disconnected: "Waiting for you",
  completed: "Completed",
  abandoned: "Abandoned",
  expired: "Expired",
  terminated: "Ended before it began",
};
export const KINDS = {
  question: "Question",
  probe: "Follow-up",
  hint: "Hint",
  reply: "Reply",
  closing: "Closing",
};
export const STAR = { situation: "situation", task: "task", action: "action", result: "result" };
export const CAVEATS = {
  interrupted: "the answer was interrupted",
  low_transcription_confidence: "voice-to-text was unsure of the words",
  short_answer: "the answer was short",
  hints_used: "hints were given",
  spread: "repeated ratings disagreed",
};
const REJECTIONS = {
  rate_limited: "That was a little fast; please try again.",
  no_open_answer: "That answer was already over.",
};

export function rejection(message) {
  const words = REJECTIONS[message.code] ?? message.message ?? "The server refused that.";
  const sentence = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

export function clockWords(ms) {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

// A score to two places at most: 4, 3.5, 2.67.
export function numberWords(score) {
  return String(Math.round(score * 100) / 100);
}

export function typeWords(type) {
  return TYPES[type] ?? type;
}

// A status for those who are not the candidate.
export function statusWords(status) {
  return status === "disconnected" ? "Candidate is away" : (STATUSES[status] ?? status);
}

// A price: $0 is what costs nothing, and what costs less than can be told is not told as nothing.
export function dollarWords(micro) {
  if (!micro) return "$0";
  return micro < 100 ? "less than $0.0001" : `$${(micro / 1000000).toFixed(4)}`;
}

export function lengthWords(ms) {
  const minutes = Math.floor(ms / 60000);
  const seconds = Math.round((ms % 60000) / 1000);
  return minutes ? `${minutes} min ${seconds} s` : `${seconds} s`;
}

export function dayWords(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return "";
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
