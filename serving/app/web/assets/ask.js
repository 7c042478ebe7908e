// The page where questions are asked.

import { events, getJson, Problem, request, unreachable } from "./api.js";
import { Conversation } from "./conversation.js";
import { $, announce, h } from "./dom.js";
import { mountShell } from "./shell.js";
import { closeSource } from "./source.js";
import { TurnView } from "./turn.js";

const UNREAD_MS = 4_000; // an answer left sooner was not read
const BROKEN = "The answer broke off. Ask again.";

const conversation = new Conversation();
const views = [];
let running = null;

function show(turn, live) {
  const view = new TurnView(turn, { again: (question) => start(question), live });
  views.push(view);
  $("turns").append(view.element);
  return view;
}

function settle() {
  $("welcome").hidden = conversation.turns.length > 0;
  $("clear").hidden = conversation.turns.length === 0;
  $("stop").hidden = running === null;
  $("send").hidden = running !== null;
}

async function start(question) {
  if (running) return;
  const abort = new AbortController();
  const history = conversation.history();
  const turn = { question };
  conversation.turns.push(turn);
  running = abort;
  closeSource();
  const view = show(turn, true);
  settle();
  announce("Answering.");
  view.element.scrollIntoView({ block: "start" });
  try {
    await stream(view, { question, session: conversation.session, ...(history.length ? { history } : {}) }, abort.signal);
  } catch (error) {
    view.fail(abort.signal.aborted ? "Stopped." : error instanceof Problem ? error.message : BROKEN);
  } finally {
    if (running === abort) running = null;
    if (conversation.turns.includes(turn)) conversation.keep();
    settle();
  }
}

async function stream(view, json, signal) {
  const response = await request("/v1/query/stream", { method: "POST", json, signal });
  let finished = false;
  try {
    for await (const { name, data } of events(response)) {
      if (name === "token") view.token(data.text);
      if (name === "answer") view.finish(data);
      if (name === "error") view.fail(Problem.of(data, data.status).message);
      finished ||= name !== "token";
    }
  } catch (error) {
    if (signal.aborted || finished) throw error;
    throw unreachable();
  }
  if (!finished) view.fail(BROKEN);
}

/** Tells of an answer that nobody stayed to read. */
function leave() {
  const last = views.at(-1);
  if (last?.leftUnread(UNREAD_MS)) last.tell({ kind: "abandon" }, { keepalive: true });
}

async function showExamples() {
  try {
    const { examples = [] } = await getJson("/v1/release", { quiet: true });
    $("examples").replaceChildren(...examples.slice(0, 6).map((example) => h("li", {}, h("button", { type: "button", on: { click: () => start(example) } }, example))));
  } catch {
    // none is known: nothing is shown
  }
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question || running) return;
  $("question").value = "";
  start(question);
});

$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("form").requestSubmit();
  }
});

$("stop").addEventListener("click", () => {
  running?.abort();
  $("question").focus();
});

$("clear").addEventListener("click", () => {
  leave();
  running?.abort();
  closeSource();
  conversation.clear();
  views.length = 0;
  $("turns").replaceChildren();
  settle();
  announce("A new conversation.");
  $("question").focus();
});

addEventListener("kept", () => conversation.keep());
addEventListener("pagehide", leave);
addEventListener("key", showExamples);

mountShell();
conversation.turns = conversation.turns.filter((turn) => turn.answer || turn.problem);
for (const turn of conversation.turns) show(turn, false);
settle();
showExamples();
$("question").focus();
