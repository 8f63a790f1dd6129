// One interview's connection, through reloads, dropped sockets and dying servers.
//
// Durable commands are kept (also across reloads) until the server says that they are stored, and are sent
// again after a reconnect that found no answer, or that could not recover. An id makes each of them take
// effect once, however often it is sent.

import * as api from "./api.js";
import { Outbox } from "./outbox.js";
import { Memory } from "./store.js";
import { GapError, View, seqOf, sha256 } from "./view.js";

const BACKOFF_MS = 500;
const BACKOFF_CAP_MS = 20000;
const WELCOME_PATIENCE_MS = 15000;
const RETRY_MS = 1000;
const HEARTBEATS_MISSED = 2.25;
const STANDARD_RECONNECT = new Set([1001, 1006, 1011, 1012]);
const DURABLE = new Set([
  "interview.started", "interview.paused", "interview.resumed", "phase.changed", "turn.started",
  "turn.delta", "turn.reset", "turn.completed", "speech.recorded", "rating.ready", "report.ready",
  "report.failed", "notice", "interview.ended",
]);

// Dispatches: `change` (the view changed; detail: the event), `state`, `stored`, `unsent` (detail: a
// submitted answer whose turn ended without it).
export class InterviewClient extends EventTarget {
  constructor(interviewId) {
    super();
    this.id = interviewId;
    this.memory = new Memory(interviewId);
    this.view = new View();
    this.state = "connecting"; // connecting | catching up | live | waiting | replaced | closed
    this.why = "";
    this.status = 0; // of the HTTP answer that closed it
    this.due = 0; // when the next attempt to connect is made, while waiting
    this.role = "candidate";
    this.limits = { answer_bytes: 32 * 1024 };
    this.storedSeq = 0;
    this.outbox = new Outbox(this.memory, this.view, {
      transmit: (command) => this.transmit(command),
      unsent: (text) => this.tell("unsent", text),
    });
    this.timers = {};
    this.attempt = 0;
    this.known = false; // whether the view holds what its head names
    this.rounds = 0;
  }

  // Whether nothing that is given here would be sent: another tab has the interview, or there is none.
  get dismissed() {
    return this.state === "replaced" || this.state === "closed";
  }

  async connect() {
    this.hangUp();
    const round = this.rounds;
    this.outbox.begin();
    this.setState("connecting");
    let credential = this.memory.resumeToken;
    if (!credential) {
      try {
        credential = (await api.ticket(this.id)).ticket;
      } catch (problem) {
        if (round !== this.rounds) return;
        if (problem.passing) this.reconnect();
        else this.end(problem.message, problem.status);
        return;
      }
    }
    if (round === this.rounds) this.open(credential);
  }

  open(credential) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const url = `${scheme}://${location.host}/api/interviews/${this.id}/socket`;
    const socket = new WebSocket(url, ["interview.v1.json"]);
    this.socket = socket;
    this.patience = WELCOME_PATIENCE_MS;
    this.watch();
    socket.onopen = () => {
      if (socket !== this.socket) return;
      const hello = { type: "hello", credential, client: "web" };
      if (this.known && this.view.head.id) hello.last_event_id = this.view.head.id;
      this.transmit(hello);
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.watch();
      this.receive(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket === this.socket) this.closed(code);
    };
  }

  // Leaves the connection without a word to the page; what waits for it is void.
  hangUp() {
    const socket = this.socket;
    this.socket = null;
    this.rounds++;
    for (const timer of Object.values(this.timers)) clearTimeout(timer);
    socket?.close(1000);
  }

  // A server that is silent for too long is gone, whatever the socket says.
  watch() {
    clearTimeout(this.timers.watch);
    this.timers.watch = setTimeout(() => this.reconnect(), this.patience);
  }

  // --- in ---

  receive(message) {
    if (DURABLE.has(message.type) && message.id) {
      this.apply(message);
      return;
    }
    switch (message.type) {
      case "welcome":
        this.welcome(message);
        break;
      case "live":
        this.attempt = 0;
        this.setState("live");
        this.flush();
        break;
      case "accepted":
        this.accepted(message);
        break;
      case "rejected":
        this.rejected(message);
        break;
      case "stored":
        this.stored(seqOf(message.id));
        break;
      case "draining":
        this.delay = message.reconnect_after_ms;
        break;
      default: // pong, thinking, error, and what later versions add
    }
  }

  welcome(message) {
    this.memory.resumeToken = message.resume_token;
    this.role = message.role;
    this.limits = { ...this.limits, ...message.limits };
    if (!message.recovered) {
      this.view.replace(message.snapshot, message.head);
      this.view.ratings = new Map(this.memory.ratings);
      this.storedSeq = 0;
      this.outbox.doubt();
    } else if (message.clock) {
      this.view.readClock(message.clock); // it stood while nobody was here, which no event tells
    }
    this.known = true;
    this.setState("catching up");
    this.patience = message.heartbeat_ms * HEARTBEATS_MISSED;
    this.beat(message.heartbeat_ms, Math.random() * message.heartbeat_ms);
    this.tell("change");
  }

  apply(event) {
    try {
      if (!this.view.apply(event)) return;
    } catch (error) {
      if (!(error instanceof GapError)) throw error;
      this.startOver();
      return;
    }
    if (event.type === "rating.ready") this.memory.ratings = [...this.view.ratings];
    if (event.type === "report.ready") this.memory.ratings = []; // it has them all
    if (event.type === "turn.completed") this.verify(this.view.turns.at(-1));
    this.tell("change", event);
    if (event.type === "turn.started" || event.type === "turn.completed") this.flush();
  }

  async verify(turn) {
    const round = this.rounds;
    const sum = turn && (await sha256(turn.text));
    if (sum && sum !== turn.sha256 && round === this.rounds) this.startOver();
  }

  // Asks for a snapshot: what this client holds cannot be trusted.
  startOver() {
    this.known = false;
    this.connect();
  }

  beat(interval, first) {
    this.timers.beat = setTimeout(() => {
      this.transmit({ type: "ping", nonce: String(Date.now()) });
      this.beat(interval, interval);
    }, first);
  }

  // --- out ---

  // Sends a durable command; resolves with {accepted} or {rejected}. It survives reconnects and reloads.
  send(fields) {
    const answer = this.outbox.put(fields);
    this.flush();
    return answer;
  }

  // Sends something that may be lost.
  whisper(message) {
    if (this.state === "live") this.transmit(message);
  }

  flush() {
    if (this.state === "live") this.outbox.flush();
  }

  transmit(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  accepted(message) {
    this.outbox.accept(message.command_id, message.id);
    this.outbox.stored(this.storedSeq);
    this.flush();
    this.tell("change");
  }

  rejected(message) {
    if (this.outbox.reject(message)) {
      this.timers[message.command_id] = setTimeout(() => {
        this.outbox.again(message.command_id);
        this.flush();
      }, RETRY_MS * (1 + Math.random()));
    } else {
      this.flush();
    }
    this.tell("change");
  }

  stored(seq) {
    this.storedSeq = seq;
    this.outbox.stored(seq);
    this.tell("stored");
  }

  // --- the end of a connection ---

  closed(code) {
    if (code === 4504) {
      this.end("The interview is over.");
    } else if (code === 4503) {
      this.end("There is no such interview for this token.");
    } else if (code === 4505) {
      this.hangUp();
      this.setState("replaced", "The interview is open in another tab or window.");
    } else if (code === 4401) {
      this.memory.resumeToken = null;
      this.reconnect();
    } else if ((code >= 4000 && code < 4500) || STANDARD_RECONNECT.has(code)) {
      this.reconnect();
    } else {
      this.end(`The server does not want this connection (${code}). Reload the page to try again.`);
    }
  }

  reconnect() {
    this.hangUp();
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** this.attempt);
    const pause = this.delay ?? Math.random() * ceiling;
    this.delay = undefined;
    this.attempt = Math.min(this.attempt + 1, 10);
    this.due = Date.now() + pause;
    this.timers.connect = setTimeout(() => this.connect(), pause);
    this.setState("waiting");
  }

  end(why, status = 0) {
    this.hangUp();
    this.status = status;
    this.setState("closed", why);
  }

  setState(state, why = "") {
    this.state = state;
    this.why = why;
    this.tell("state");
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
