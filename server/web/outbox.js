// The durable commands of one interview that PostgreSQL does not have yet, in the order they were given.

import { seqOf } from "./view.js";

const MEANT_FOR_A_TURN = new Set(["speech.final", "answer.submit", "hint.request"]);

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

export class Outbox {
  // `transmit` puts a command on the wire; `unsent` is told the text of an answer whose turn ended
  // without it.
  constructor(memory, view, { transmit, unsent }) {
    this.memory = memory;
    this.view = view;
    this.transmit = transmit;
    this.unsent = unsent;
    this.entries = []; // {command, turn?, accepted?: event id}
    this.sent = new Set(); // ids of commands sent on this connection
    this.answers = new Map(); // id of a command → resolve of its promise
  }

  // Takes up what this or another tab left behind; nothing was sent on the new connection yet.
  begin() {
    this.entries = this.memory.commands;
    this.sent.clear();
  }

  // The server may have lost what it accepted; the id makes sending it again harmless.
  doubt() {
    for (const entry of this.entries) delete entry.accepted;
  }

  // Keeps a command; resolves with {accepted} or {rejected}.
  put(fields) {
    const command = { ...fields, id: uuid7() };
    const entry = { command };
    if (MEANT_FOR_A_TURN.has(command.type)) entry.turn = this.view.latest;
    this.keep([...this.entries, entry]);
    return new Promise((resolve) => this.answers.set(command.id, resolve));
  }

  // The commands of a type that have no answer yet.
  unanswered(type) {
    return this.entries.filter((entry) => !entry.accepted && entry.command.type === type);
  }

  // Sends what has no answer yet, in order, each once a connection. Only to be called while the view
  // has caught up: else it is not known whether the turn that a command was meant for is open. What
  // builds an answer goes out one command at a time: one that has to be sent again would else be
  // overtaken by those behind it, and the answer lack its first words.
  flush() {
    let waiting = false;
    for (const entry of this.entries) {
      if (entry.accepted || (entry.turn && waiting)) continue;
      if (this.sent.has(entry.command.id)) {
        waiting ||= entry.turn !== undefined;
      } else if (this.isLate(entry)) {
        this.overtaken(entry);
      } else if (!entry.turn || (this.view.answering && this.view.open.turn === entry.turn)) {
        waiting ||= entry.turn !== undefined;
        this.sent.add(entry.command.id);
        this.transmit(entry.command);
      }
    }
  }

  isLate({ turn }) {
    return turn !== undefined && turn < this.view.latest + (this.view.open ? 0 : 1);
  }

  // The turn that the command was meant for is over, by this command or by something else.
  overtaken(entry) {
    const { command } = entry;
    const turn = this.view.turns.find((finished) => finished.turn === entry.turn);
    if (command.type !== "answer.submit") {
      this.drop(entry, null);
    } else if (turn && turn.text !== command.text) {
      this.drop(entry, null);
      this.unsent(command.text);
    } else {
      this.accept(command.id, this.view.head.id);
    }
  }

  accept(commandId, eventId) {
    const entry = this.find(commandId);
    if (entry) entry.accepted = eventId;
    this.keep(this.entries);
    this.settle(commandId, { accepted: eventId });
  }

  // Returns whether the command is to be sent again a little later.
  reject(message) {
    const entry = this.find(message.command_id);
    if (entry && !message.retryable) this.drop(entry, message);
    return Boolean(entry && message.retryable);
  }

  again(commandId) {
    this.sent.delete(commandId);
  }

  stored(seq) {
    this.keep(this.entries.filter(({ accepted }) => !accepted || seqOf(accepted) > seq));
  }

  find(commandId) {
    return this.entries.find(({ command }) => command.id === commandId);
  }

  drop(entry, rejected) {
    this.keep(this.entries.filter((other) => other !== entry));
    this.settle(entry.command.id, { rejected });
  }

  keep(entries) {
    this.entries = entries;
    this.memory.commands = entries;
  }

  settle(commandId, answer) {
    this.answers.get(commandId)?.(answer);
    this.answers.delete(commandId);
  }
}
