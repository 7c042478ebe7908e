// What was asked and answered in this tab.

const PLACE = "touchstone.conversation";
const TURNS = 6; // that a follow-up is understood by
const LONGEST_ANSWER = 3_900; // the server takes 4,000 characters
const MOST_BYTES = 40_000; // of all of them: the server takes a body of 65,536 bytes
const KEPT = 40;

function stored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(PLACE));
    return Array.isArray(found?.turns) && typeof found.session === "string" ? found : null;
  } catch {
    return null;
  }
}

function newSession() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const cut = (text, most) => [...text].slice(0, most).join("");

/** Turns, kept for this tab until they are cleared or it is closed. */
export class Conversation {
  constructor() {
    const found = stored();
    this.session = found?.session ?? newSession(); // while two releases are tried, one of them answers all of it
    this.turns = found?.turns ?? [];
  }

  /** What a follow-up needs to be understood. */
  history(before = this.turns.length) {
    const answered = this.turns.slice(0, before).filter((turn) => turn.answer);
    const said = answered.slice(-TURNS).map((turn) => ({ question: turn.question, answer: cut(turn.answer.answer, LONGEST_ANSWER) }));
    while (said.length && new TextEncoder().encode(JSON.stringify(said)).length > MOST_BYTES) said.shift();
    return said;
  }

  keep() {
    const value = { session: this.session, turns: this.turns.slice(-KEPT) };
    for (;;) {
      try {
        sessionStorage.setItem(PLACE, JSON.stringify(value));
        return;
      } catch { // no more room: the oldest goes
        if (!value.turns.length) return;
        value.turns.shift();
      }
    }
  }

  clear() {
    this.turns = [];
    this.session = newSession();
    sessionStorage.removeItem(PLACE);
  }
}
