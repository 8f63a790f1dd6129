// Erasing an interview, which is asked about first.

import * as api from "./api.js";
import { ask } from "./dom.js";
import { Memory } from "./store.js";

// Resolves to whether it was erased; throws `api.Problem`.
export async function erase(interviewId) {
  const question = "Erase this interview everywhere? It cannot be brought back.";
  if (!(await ask(question, "Erase it", "Keep it"))) return false;
  await api.erase(interviewId);
  new Memory(interviewId).forget();
  return true;
}
