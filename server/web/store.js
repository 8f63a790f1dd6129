// What must outlive a reload: the user's token, and per interview the newest resume token, the commands
// that PostgreSQL does not have yet, and the words of an answer not yet sent.

const PREFIX = "viva:";
const unwritten = new Map(); // what the browser's storage did not take, for as long as the page is there

function read(key, fallback) {
  if (unwritten.has(key)) return unwritten.get(key);
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key)) ?? fallback;
  } catch {
    return fallback;
  }
}

function write(key, value) {
  unwritten.delete(key);
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Storage may be full or forbidden; the interview goes on, only a reload would lose more.
    if (value !== null) unwritten.set(key, value);
  }
}

export const login = {
  get token() {
    return read("token", null);
  },
  set token(value) {
    // Resume tokens are bound to the user they were given to.
    if (value !== this.token) drop((key) => key.endsWith(":resume"));
    write("token", value);
    if (value) write("user", userOf(value));
  },
  // Who is logged in, or was before the token was refused.
  get user() {
    return userOf(this.token) ?? read("user", null);
  },
  // Whether something would be lost with what this browser holds: commands not yet stored, or drafts.
  get unsaved() {
    return keys().some((key) => /:(commands|draft)$/.test(key));
  },
  // Leaves nothing of the user in this browser.
  forget() {
    drop(() => true);
  },
};

// The user that a token names, for people to see: whether it is genuine, only the server knows.
export function userOf(token) {
  const sub = claimsOf(token)?.sub;
  return typeof sub === "string" && sub ? sub : null;
}

// Whether a token's role is one that looks at everybody's interviews; that, too, the server decides.
export function reviews(token) {
  return ["reviewer", "admin"].includes(claimsOf(token)?.role);
}

function claimsOf(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

function keys() {
  return [...new Set([...stored(), ...unwritten.keys()])];
}

function stored() {
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(PREFIX))
      .map((key) => key.slice(PREFIX.length));
  } catch {
    return []; // nothing could be stored, so nothing is there
  }
}

function drop(chosen) {
  for (const key of keys().filter(chosen)) write(key, null);
}

export class Memory {
  constructor(interviewId) {
    this.id = interviewId;
  }

  get resumeToken() {
    return read(`${this.id}:resume`, null);
  }

  set resumeToken(value) {
    write(`${this.id}:resume`, value);
  }

  get commands() {
    return read(`${this.id}:commands`, []);
  }

  set commands(value) {
    write(`${this.id}:commands`, value.length ? value : null);
  }

  // `taken` names the utterances whose words were moved into `text` to be edited.
  get draft() {
    return read(`${this.id}:draft`, { turn: 0, text: "", taken: [] });
  }

  set draft(value) {
    write(`${this.id}:draft`, value.text || value.taken.length ? value : null);
  }

  // Feedback that came live, by turn: a snapshot does not hold it, and the report comes later.
  get ratings() {
    return read(`${this.id}:ratings`, []);
  }

  set ratings(value) {
    write(`${this.id}:ratings`, value.length ? value : null);
  }

  forget() {
    for (const name of ["resume", "commands", "draft", "ratings"]) write(`${this.id}:${name}`, null);
  }
}
