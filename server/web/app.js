// Where the page begins: who is logged in, and which screen the address asks for.

import { ask, dismiss, setText, show } from "./dom.js";
import { homeScreen, loginScreen } from "./home.js";
import { Review } from "./review.js";
import { forbiddenScreen, reviewsScreen } from "./reviews.js";
import { Room } from "./room.js";
import { login, reviews, userOf } from "./store.js";

const main = document.getElementById("main");
const who = document.getElementById("who");
const signOut = document.getElementById("sign-out");
const ROOM = /^#\/interview\/([A-Za-z0-9-]{1,64})$/;
const REVIEWS = /^#\/review(?:\?(.*))?$/;
const REVIEW = /^#\/review\/([A-Za-z0-9-]{1,64})$/;
let room = null; // what has to be left: an interview, as its candidate or its reviewers see it

// A token in the address is taken out of it at once, so that it is neither seen nor bookmarked. Returns
// one that would make somebody else of the user: anybody can send such a link, to have the user's answers
// end up in an account of theirs.
function takeToken() {
  const found = /^#token=([\w.~+/=-]+)$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", "#/");
  if ((login.token || login.user) && userOf(found[1]) !== login.user) return found[1];
  login.token = found[1];
  return null;
}

function route() {
  const other = takeToken();
  room?.leave();
  room = null;
  drawLogin();
  draw(location.hash);
  if (other) offer(other);
}

function draw(address) {
  const refused = loginAgain;
  const [interview, review, list] = [ROOM, REVIEW, REVIEWS].map((pattern) => pattern.exec(address));
  if (!login.token) {
    place(loginScreen(route), "Welcome");
  } else if (interview) {
    enter(new Room(interview[1], { refused }), "Interview");
  } else if ((review || list) && !reviews(login.token)) {
    place(forbiddenScreen(userOf(login.token), () => place(loginScreen(route), "Welcome")), "For reviewers");
  } else if (review) {
    enter(new Review(review[1], { refused }), "Interview");
  } else if (list || reviews(login.token)) {
    place(reviewsScreen(list?.[1] ?? "", { refused }), "Interviews");
  } else {
    place(homeScreen({ refused }), "Interviews");
  }
}

function enter(next, title) {
  room = next;
  place(room.root, title);
  room.enter();
}

async function offer(token) {
  const [held, given] = [login.user, userOf(token)].map((user) => user ?? "an unknown user");
  const since = login.token ? "are" : "were";
  const question = `The address you opened logs you in as ${given}. You ${since} logged in as ${held}.`;
  if (!(await ask(question, `Become ${given}`, `Stay ${held}`))) return;
  login.token = token;
  route();
}

function loginAgain(sentence) {
  login.token = null;
  room?.leave();
  room = null;
  drawLogin();
  place(loginScreen(route, sentence), "Welcome");
}

function drawLogin() {
  show(signOut, Boolean(login.token));
  setText(who, whoWords());
}

function whoWords() {
  const user = userOf(login.token) ?? "";
  return user && reviews(login.token) ? `${user} · reviewer` : user;
}

function place(root, title) {
  dismiss();
  document.title = `${title} · viva`;
  const first = main.childElementCount === 0;
  main.replaceChildren(root);
  window.scrollTo(0, 0);
  // What had the focus is gone with its screen: keyboards and screen readers go on from the new one.
  if (!first) main.focus({ preventScroll: true });
}

signOut.addEventListener("click", async () => {
  const question =
    "This browser holds words of yours that the server does not have yet. Logging out deletes them.";
  if (login.unsaved && !(await ask(question, "Delete them and log out", "Stay"))) return;
  login.forget();
  location.hash = "#/";
  route();
});
window.addEventListener("hashchange", route);
// Another tab may have logged in as somebody else: this one must not show the wrong name.
window.addEventListener("storage", () => {
  if (whoWords() !== who.textContent) route();
});
route();
