// One interview's connection, through reloads, dropped sockets and dying servers.
//
// Durable commands are kept (also across reloads) until the server says that they are stored, and are
// sent again after a reconnect that found no answer, or that could not recover. An id makes each of
// them take effect once, however often it is sent.

import * as api from "./api.js";
import { Memory } from "./store.js";
import { GapError, View, seqOf, sha256 } from "./view.js";

const BACKOFF_MS = 500;
const BACKOFF_CAP_MS = 20000;
const STANDARD_RECONNECT = new Set([1001, 1006, 1011, 1012]);
const DURABLE = new Set([
  "interview.started", "interview.paused", "interview.resumed", "phase.changed", "turn.started",
  "turn.delta", "turn.reset", "turn.completed", "speech.recorded", "rating.ready", "report.ready",
  "report.failed", "notice", "interview.ended",
]);

// RFC 9562, 5.7: a UUIDv7, so that ids sort by time.
export function uuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let place = 5; place >= 0; place--) {
    bytes[place] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export class InterviewClient extends EventTarget {
  constructor(interviewId) {
    super();
    this.id = interviewId;
    this.memory = new Memory(interviewId);
    this.view = new View();
    this.state = "connecting"; // connecting | catching up | live | waiting | replaced | closed
    this.why = "";
    this.pending = this.memory.commands; // {command, accepted?: event id}
    this.attempt = 0;
    this.known = false; // whether the view holds what `lastEventId` names
    this.stopped = false;
  }

  async connect() {
    this.stopped = false;
    this.socket?.close(1000);
    this.setState("connecting");
    let credential = this.memory.resumeToken;
    if (!credential) {
      try {
        credential = (await api.ticket(this.id)).ticket;
      } catch (problem) {
        if (problem.status === 401 || problem.status === 404) {
          this.end(problem.message);
        } else {
          this.reconnect();
        }
        return;
      }
    }
    if (!this.stopped) this.open(credential);
  }

  open(credential) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const url = `${scheme}://${location.host}/api/interviews/${this.id}/socket`;
    const socket = new WebSocket(url, ["interview.v1.json"]);
    this.socket = socket;
    socket.onopen = () => {
      const hello = { type: "hello", credential, client: "web" };
      if (this.known && this.view.head.id) hello.last_event_id = this.view.head.id;
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.socket) this.receive(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.socket) this.closed(code, reason);
    };
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    clearInterval(this.heartbeat);
    this.socket?.close(1000);
  }

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
        break;
      case "accepted":
        this.answered(message.command_id, { accepted: message.id });
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
      case "thinking":
        this.tell("thinking", message);
        break;
      default: // pong, error, and what later versions add
    }
  }

  welcome(message) {
    this.memory.resumeToken = message.resume_token;
    this.setState("catching up");
    if (!message.recovered) {
      this.view.replace(message.snapshot, message.head);
      // What was accepted before may be gone; its id makes sending it again harmless.
      for (const entry of this.pending) delete entry.accepted;
    }
    this.known = true;
    for (const entry of this.pending) if (!entry.accepted) this.transmit(entry.command);
    this.beat(message.heartbeat_ms);
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
    if (event.type === "turn.completed") this.verify(this.view.turns.at(-1));
    this.tell("change", event);
  }

  async verify(turn) {
    const sum = turn && (await sha256(turn.text));
    if (sum && sum !== turn.sha256) this.startOver();
  }

  // Fetches a snapshot: what this client holds cannot be trusted.
  startOver() {
    this.known = false;
    this.socket.close(1000);
    this.connect();
  }

  beat(interval) {
    clearInterval(this.heartbeat);
    clearTimeout(this.firstBeat);
    const ping = () => this.transmit({ type: "ping", nonce: String(Date.now()) });
    this.firstBeat = setTimeout(() => {
      ping();
      this.heartbeat = setInterval(ping, interval);
    }, Math.random() * interval);
  }

  // Sends a durable command; resolves with its answer. It survives reconnects and reloads.
  send(fields) {
    const command = { ...fields, id: uuid7() };
    const entry = { command };
    this.pending.push(entry);
    this.save();
    this.transmit(command);
    return new Promise((resolve) => (this.waiting ??= new Map()).set(command.id, resolve));
  }

  // Sends something that may be lost.
  whisper(message) {
    if (this.state === "live") this.transmit(message);
  }

  transmit(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  answered(commandId, answer) {
    const entry = this.pending.find(({ command }) => command.id === commandId);
    if (entry) entry.accepted = answer.accepted;
    this.save();
    this.waiting?.get(commandId)?.(answer);
    this.waiting?.delete(commandId);
  }

  rejected(message) {
    const entry = this.pending.find(({ command }) => command.id === message.command_id);
    const retryable = message.code === "unavailable" || message.code === "rate_limited";
    if (entry && retryable) {
      setTimeout(() => this.transmit(entry.command), 1000 + Math.random() * 1000);
      return;
    }
    this.pending = this.pending.filter((other) => other !== entry);
    this.save();
    this.waiting?.get(message.command_id)?.({ rejected: message });
    this.waiting?.delete(message.command_id);
  }

  stored(seq) {
    this.pending = this.pending.filter(({ accepted }) => !accepted || seqOf(accepted) > seq);
    this.save();
    this.tell("stored", { seq });
  }

  save() {
    this.memory.commands = this.pending;
  }

  closed(code, reason) {
    clearInterval(this.heartbeat);
    clearTimeout(this.firstBeat);
    if (this.stopped) return;
    if (code === 4504) {
      this.setState("closed", "The interview is over.");
    } else if (code === 4505) {
      this.setState("replaced", "The interview was opened in another tab or window.");
    } else if (code === 4401) {
      this.memory.resumeToken = null;
      this.reconnect();
    } else if ((code >= 4000 && code < 4500) || STANDARD_RECONNECT.has(code)) {
      this.reconnect();
    } else {
      this.end(reason || `The server closed the connection (${code}).`);
    }
  }

  reconnect() {
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** this.attempt);
    const pause = this.delay ?? Math.random() * ceiling;
    this.delay = undefined;
    this.attempt = Math.min(this.attempt + 1, 10);
    this.setState("waiting");
    this.timer = setTimeout(() => this.connect(), pause);
  }

  end(why) {
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
