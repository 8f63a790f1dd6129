// The browser's speech recognition as a stream of utterances: interim words, then final ones.

const Recogniser = globalThis.SpeechRecognition ?? globalThis.webkitSpeechRecognition;
const PARTIAL_EVERY_MS = 125; // at most 8 a second; the server takes 10
const FINISH_MS = 1500;
const SHORT_RUN_MS = 500;
const SHORT_RUNS = 5;
const FATAL = {
  "not-allowed": "The microphone is not allowed. Allow it in the browser, or type your answer.",
  "service-not-allowed": "This browser does not allow speech recognition here. Please type your answer.",
  "audio-capture": "No microphone was found. Please type your answer.",
  network: "The browser's speech recognition cannot be reached. Please type your answer.",
  "language-not-supported": "The browser cannot recognise this language. Please type your answer.",
};

export function canListen() {
  return Recogniser !== undefined;
}

// Listens until it is told to stop, across the pauses at which browsers end recognition.
// `partial({utterance_id, revision, text})` is called at most 8 times a second,
// `final({…, start_ms, end_ms, confidence})` once per utterance, `changed()` when `interim` or
// `listening` did, `failed(sentence)` when it cannot go on. `clock()` is in milliseconds.
export class Voice {
  constructor({ partial, final, changed, failed, clock, language }) {
    Object.assign(this, { partial, final, changed, failed, clock, language });
    this.listening = false;
    this.finishing = null; // settles when the last words are final, while they are waited for
    this.utterances = new Map(); // index of the running recognition → utterance
    this.shortRuns = 0;
  }

  get interim() {
    return [...this.utterances.values()].map(({ text }) => text).join(" ").trim();
  }

  start() {
    if (this.listening) return;
    this.listening = true;
    this.shortRuns = 0;
    if (!this.finishing) this.run();
    this.changed();
  }

  // Stops and resolves once the last words are final; interim words become final as they are.
  async finish() {
    this.listening = false;
    if (this.recogniser) this.finishing ??= this.lastWords();
    await this.finishing;
  }

  async lastWords() {
    const ended = new Promise((resolve) => (this.ended = resolve));
    this.recogniser.stop();
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, FINISH_MS))]);
    for (const index of [...this.utterances.keys()]) this.settle(index);
    this.drop();
    this.finishing = null;
    if (this.listening) this.run(); // it was started again meanwhile
  }

  // Stops at once; interim words are lost.
  abandon() {
    this.listening = false;
    this.drop();
  }

  drop() {
    const recogniser = this.recogniser;
    this.recogniser = null;
    this.utterances.clear();
    clearTimeout(this.timer);
    this.timer = undefined;
    recogniser?.abort();
    this.changed();
  }

  run() {
    const recogniser = new Recogniser();
    const started = Date.now();
    this.recogniser = recogniser;
    this.name = Math.random().toString(36).slice(2, 10);
    recogniser.continuous = true;
    recogniser.interimResults = true;
    recogniser.lang = this.language;
    const current = (act) => (event) => {
      if (recogniser === this.recogniser) act(event);
    };
    recogniser.onresult = current((event) => this.results(event));
    recogniser.onerror = current(({ error }) => this.errored(error));
    recogniser.onend = current(() => this.runEnded(Date.now() - started));
    recogniser.start();
  }

  results({ resultIndex, results }) {
    for (let index = resultIndex; index < results.length; index++) {
      const [best] = results[index];
      const known = this.utterances.get(index);
      const revision = (known?.revision ?? -1) + 1;
      const utterance = {
        utterance_id: `${this.name}-${index}`,
        revision,
        text: best.transcript.trim(),
        start_ms: known?.start_ms ?? Math.round(this.clock()),
        confidence: best.confidence,
      };
      this.utterances.set(index, utterance);
      if (results[index].isFinal) this.settle(index);
      else this.offer(utterance);
    }
    this.changed();
  }

  // Passes on the newest partial, at once where none went out lately, else when its time has come.
  offer(utterance) {
    this.newest = utterance;
    const wait = (this.offered ?? -PARTIAL_EVERY_MS) + PARTIAL_EVERY_MS - performance.now();
    if (wait <= 0) this.pass();
    else this.timer ??= setTimeout(() => this.pass(), wait);
  }

  pass() {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (![...this.utterances.values()].includes(this.newest)) return; // final by now
    this.offered = performance.now();
    const { utterance_id, revision, text } = this.newest;
    this.partial({ utterance_id, revision, text });
  }

  settle(index) {
    const { confidence, ...utterance } = this.utterances.get(index);
    this.utterances.delete(index);
    if (!utterance.text) return;
    const final = { ...utterance, end_ms: Math.max(utterance.start_ms, Math.round(this.clock())) };
    if (confidence > 0 && confidence <= 1) final.confidence = confidence;
    this.final(final);
  }

  errored(error) {
    if (!(error in FATAL)) return; // no-speech, aborted: `onend` follows
    this.abandon();
    this.failed(FATAL[error]);
  }

  runEnded(lasted) {
    this.recogniser = null;
    for (const index of [...this.utterances.keys()]) this.settle(index);
    this.shortRuns = lasted < SHORT_RUN_MS ? this.shortRuns + 1 : 0;
    if (this.finishing) {
      this.ended();
    } else if (this.listening && this.shortRuns < SHORT_RUNS) {
      this.run();
    } else if (this.listening) {
      this.abandon();
      this.failed("The browser's speech recognition keeps stopping. Please type your answer.");
    }
  }
}
