// The texts that an interview may take up: typed, pasted, or read from a file by the server.

import * as api from "./api.js";
import { ask, screen, setText, show } from "./dom.js";

const LONGEST = 20000; // code points; what a plan takes
const LARGEST = 2 * 1024 * 1024;
const KINDS = {
  pdf: "application/pdf",
  txt: "text/plain",
  text: "text/plain",
  md: "text/markdown",
  markdown: "text/markdown",
};
const HOW = "or drop one here: PDF, .txt or .md";

class DocumentField {
  constructor(name, title, { changed, refused }) {
    this.name = name;
    this.title = title;
    this.changed = changed;
    this.refused = refused;
    this.reading = null; // settles when the file that is being read is there, or is not
    const { root, parts } = screen("document-field");
    this.root = root;
    this.parts = parts;
    parts.text.id = name;
    parts.label.htmlFor = name;
    parts.label.id = `${name}-label`;
    parts.state.id = `${name}-state`;
    parts.problem.id = `${name}-problem`;
    setText(parts.label, title);
    parts.text.setAttribute("aria-describedby", `${name}-state ${name}-problem`);
    parts.choose.setAttribute("aria-describedby", `${name}-label`);
    parts.bar.setAttribute("aria-labelledby", `${name}-state`);
    setText(parts.state, HOW);
    this.listen();
  }

  listen() {
    const { choose, file, text } = this.parts;
    choose.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.take(file.files[0]);
      file.value = ""; // the same one may be chosen again
    });
    text.addEventListener("input", () => {
      this.check();
      this.changed();
    });
    // Also where the drop will be refused: else the browser would leave the page for the file.
    this.root.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      this.root.classList.add("over");
    });
    this.root.addEventListener("dragleave", (event) => {
      if (!this.root.contains(event.relatedTarget)) this.root.classList.remove("over");
    });
    this.root.addEventListener("drop", (event) => {
      this.root.classList.remove("over");
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      this.take(event.dataTransfer.files[0]);
    });
  }

  get text() {
    return this.parts.text.value.trim();
  }

  // Says so where the text is longer than a plan takes; returns whether it fits.
  check() {
    const excess = [...this.text].length - LONGEST;
    const sentence = `This is ${counted(excess, "character")} too long: ${LONGEST.toLocaleString()} fit.`;
    setText(this.parts.problem, excess > 0 ? sentence : "");
    return excess <= 0;
  }

  take(file) {
    if (!file || this.reading) return;
    this.reading = this.read(file).finally(() => {
      this.reading = null;
    });
  }

  async read(file) {
    const { problem } = this.parts;
    setText(problem, "");
    const kind = KINDS[file.name.split(".").pop().toLowerCase()];
    if (!kind) {
      setText(problem, "Only PDF, .txt and .md files can be read. Other text can be pasted.");
      return;
    }
    if (file.size > LARGEST) {
      setText(problem, "The file is over 2 MiB. Its text can be pasted.");
      return;
    }
    const question = `Replace the text that is in “${this.title}” by that of ${file.name}?`;
    if (this.text && !(await ask(question, "Replace it", "Keep it"))) return;
    this.busy(`Reading ${file.name} …`);
    try {
      const read = await api.readDocument(file, kind);
      this.parts.text.value = read.text;
      this.busy("", told(file.name, read));
      this.changed();
    } catch (error) {
      this.busy("", HOW);
      if (error.status === 401) this.refused(error.message);
      else setText(problem, error.message);
    }
  }

  // While a file is read nothing is typed that its text would wipe out.
  busy(sentence, after = "") {
    setText(this.parts.state, sentence || after);
    show(this.parts.bar, Boolean(sentence));
    this.parts.choose.disabled = Boolean(sentence);
    this.parts.text.readOnly = Boolean(sentence);
  }
}

function told(name, { text, pages, clipped }) {
  const size = counted([...text].length, "character");
  const paper = pages ? `${counted(pages, "page")}, ` : "";
  const end = clipped ? " It is long: the end is left out." : "";
  return `${name}: ${paper}${size}.${end} Only what stands here is used, and you can change it.`;
}

function counted(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

// Puts both fields into the start form.
export class DocumentFields {
  constructor(parts, refused) {
    this.parts = parts;
    const given = { changed: () => this.tell(), refused };
    this.fields = [
      new DocumentField("resume", "Your résumé", given),
      new DocumentField("job_description", "Job description", given),
    ];
    parts["document-fields"].append(...this.fields.map((field) => field.root));
  }

  // Also while they are folded up one should see that they are used.
  tell() {
    const used = this.fields.filter((field) => field.text).map((field) => field.title.toLowerCase());
    setText(this.parts["documents-used"], used.length ? `${used.join(" and ")} added` : "optional");
  }

  // What goes into the plan, once files are read; null where something has to be shortened first.
  async plan() {
    await Promise.all(this.fields.map((field) => field.reading));
    const long = this.fields.filter((field) => field.text).find((field) => !field.check());
    if (long) {
      this.parts.documents.open = true;
      long.parts.text.focus();
      return null;
    }
    return Object.fromEntries(this.fields.filter(({ text }) => text).map(({ name, text }) => [name, text]));
  }
}
