// Where the page begins: the login, and which screen the address asks for.

import { dismiss } from "./dom.js";
import { homeScreen, loginScreen } from "./home.js";
import { Room } from "./room.js";
import { login } from "./store.js";

const main = document.getElementById("main");
const signOut = document.getElementById("sign-out");
const ROOM = /^#\/interview\/([A-Za-z0-9-]{1,64})$/;
let room = null;

// A token in the address is taken into storage at once, so that it is neither seen nor bookmarked.
function takeToken() {
  const found = /^#token=([\w.~+/=-]+)$/.exec(location.hash);
  if (!found) return;
  login.token = found[1];
  history.replaceState(null, "", "#/");
}

function route() {
  takeToken();
  room?.leave();
  room = null;
  signOut.hidden = !login.token;
  const interview = ROOM.exec(location.hash);
  if (!login.token) {
    place(loginScreen(route), "Welcome");
  } else if (interview) {
    room = new Room(interview[1], { refused: loginAgain });
    place(room.root, "Interview");
    room.enter();
  } else {
    place(homeScreen({ refused: loginAgain }), "Interviews");
  }
}

function loginAgain(sentence) {
  login.token = null;
  room?.leave();
  room = null;
  signOut.hidden = true;
  place(loginScreen(route, sentence), "Welcome");
}

function place(root, title) {
  dismiss();
  document.title = `${title} · viva`;
  main.replaceChildren(root);
  window.scrollTo(0, 0);
}

signOut.addEventListener("click", () => {
  login.forget();
  location.hash = "#/";
  route();
});
window.addEventListener("hashchange", route);
route();
