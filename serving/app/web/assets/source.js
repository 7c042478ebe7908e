// The panel beside an answer: a cited document, open where it is cited.

import { documentPath, getJson } from "./api.js";
import { $, announce, chip, h, icon, note } from "./dom.js";
import { markdown, plainText, unitSpan } from "./markdown.js";

const BEFORE = 2_000; // characters around the citation, to begin with
const AFTER = 4_000;
const LONGEST = 150_000; // characters that are shown at a time; the server sends no more than 200,000
const LONGEST_STEP = 50_000; // that are added at a time
const NARROW = matchMedia("(max-width: 62rem)");

export const statusChip = (status) => (status && status !== "current" ? chip(status, status === "superseded" ? "warn" : "") : null);

let opener = null; // the button that opened the panel
let number = 0; // of the newest opening: an older answer comes too late

/** Where there is room for one, nothing behind the panel is reached. */
function cover(covered) {
  $("main").inert = covered;
  document.querySelector(".top").inert = covered;
}

export function closeSource() {
  const panel = $("source");
  if (panel.hidden) return;
  panel.hidden = true;
  $("ask").classList.remove("beside");
  cover(false);
  number += 1;
  opener?.setAttribute("aria-expanded", "false");
  if (opener?.isConnected) opener.focus();
  opener = null;
}

export async function openSource(citation, button) {
  const mine = (number += 1);
  const panel = $("source");
  opener?.setAttribute("aria-expanded", "false");
  opener = button;
  button.setAttribute("aria-expanded", "true");
  const title = h("h2", { id: "source-title", tabindex: "-1" }, citation.title || citation.document);
  const facts = h("p", { class: "row small soft" }, chip(`[${citation.marker}]`, "gold"), h("span", { class: "mono" }, citation.document),
    citation.version ? h("span", {}, `version ${citation.version}`) : null, statusChip(citation.status));
  const text = h("div", { class: "text", tabindex: "0", role: "region", "aria-label": "Text of the document" });
  panel.replaceChildren(h("header", {},
    h("div", { class: "row spread" }, h("span", { class: "hint" }, "Source"),
      h("button", { type: "button", class: "quiet icon", "aria-label": "Close the source", on: { click: closeSource } }, icon("close"))),
    title, facts,
    citation.status === "superseded" ? note("warn", "A newer version has replaced this document.") : null,
    citation.support !== null && citation.support !== undefined && citation.support < 0.5 ? note("warn", "This passage may not support the sentence that cites it.") : null), text);
  panel.hidden = false;
  $("ask").classList.add("beside");
  cover(NARROW.matches);
  title.focus();
  text.append(h("p", { class: "soft" }, "Opening the document …"));
  await fill(text, citation, Math.max(0, citation.start - BEFORE), citation.end + AFTER, () => mine === number);
}

async function fill(place, citation, start, end, wanted, settle = toCited) {
  const path = documentPath(citation.document);
  try {
    if (!path) throw new Error("its name is no address");
    const found = await getJson(`${path}/text?start=${start}&end=${end}`);
    if (!wanted()) return;
    show(place, found, citation, settle, (from, to, then) => fill(place, citation, from, to, wanted, then));
  } catch (error) {
    if (!wanted()) return;
    // the passage itself came with the answer
    const passage = h("div", { class: "prose" }, markdown(citation.text || citation.snippet || ""));
    place.replaceChildren(note("", `Only the cited passage can be shown. ${error.message}`), passage);
  }
}

/** The scrolled text at what is cited. */
function toCited(place) {
  const mark = $("cited");
  if (mark) place.scrollTop += mark.getBoundingClientRect().top - place.getBoundingClientRect().top - place.clientHeight / 4;
}

function show(place, found, citation, settle, load) {
  const cited = unitSpan(found.text, Math.max(0, citation.start - found.start), Math.max(0, citation.end - found.start));
  const at = citation.snippet ? found.text.slice(cited.start, cited.end).indexOf(citation.snippet) : -1;
  const core = at < 0 ? cited : { start: cited.start + at, end: cited.start + at + citation.snippet.length };
  const body = h("div", { class: "prose" });
  let formatted = /\.(md|markdown|html?|docx)$/i.test(found.document) || /^#{1,6} |^\|.*\|$/m.test(found.text);
  const toggle = h("button", { type: "button", class: "quiet", on: { click: () => { formatted = !formatted; draw(); } } });
  function draw() {
    body.className = formatted ? "prose" : "plain";
    body.replaceChildren(formatted ? markdown(found.text, { mark: cited, core }) : plainText(found.text, { mark: cited, core }));
    toggle.textContent = formatted ? "Show as plain text" : "Show formatted";
  }
  draw();
  const length = Math.min((found.end - found.start) * 2, LONGEST_STEP);
  const more = (label, from, to) => h("button", { type: "button", on: { click: () => {
    const { scrollTop, scrollHeight } = place;
    load(from, to, (grown) => { // the reader stays where the text was read: what is above it grew, or was left out
      if (from < found.start) grown.scrollTop = to === found.end ? scrollTop + grown.scrollHeight - scrollHeight : (grown.scrollHeight * (found.start - from)) / (to - from);
      else grown.scrollTop = from === found.start ? scrollTop : (grown.scrollHeight * (found.end - from)) / (to - from) - grown.clientHeight;
      grown.focus({ preventScroll: true }); // the button is gone
    });
  } } }, label);
  const before = Math.max(0, found.start - length);
  const after = Math.min(found.total, found.end + length);
  place.replaceChildren(...[
    h("div", { class: "row spread small soft" }, h("span", {}, `Characters ${citation.start}–${citation.end} of ${found.total}`), toggle),
    found.start > 0 ? more("Show what stands before", before, Math.min(found.end, before + LONGEST)) : null,
    body,
    found.end < found.total ? more("Show what follows", Math.max(found.start, after - LONGEST), after) : null,
  ].filter(Boolean));
  settle(place);
  announce(settle !== toCited ? "More of the document is shown." : $("cited") ? `Cited: ${found.text.slice(core.start, core.end)}` : "The document is open.");
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) closeSource();
});
NARROW.addEventListener("change", () => cover(NARROW.matches && !$("source").hidden));
