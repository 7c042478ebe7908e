// One question and its answer on the page.

import { announce, chip, h, icon, note } from "./dom.js";
import { milliseconds, percent, short, usd } from "./format.js";
import { markdown } from "./markdown.js";
import { sendFeedback } from "./shell.js";
import { openSource, statusChip } from "./source.js";

const DOUBTFUL = 0.5;

/** A turn; `again` asks its question anew. */
export class TurnView {
  constructor(turn, { again, live = true }) {
    this.turn = turn;
    this.again = again;
    this.text = "";
    this.said = 0; // characters that a screen reader was told
    this.frame = 0;
    this.live = live;
    this.touched = false;
    this.shownAt = 0;
    this.answer = h("div", { class: "answer prose" });
    this.rest = h("div", { class: "stack" });
    this.element = h("article", { class: "turn" }, h("h2", { tabindex: "-1" }, turn.question), this.answer, this.rest);
    if (turn.answer) this.finish(turn.answer);
    else if (turn.problem) this.fail(turn.problem);
    else this.answer.setAttribute("aria-busy", "true");
  }

  token(text) {
    this.text += text;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.answer.replaceChildren(markdown(this.text, { cite: (number) => h("span", { class: "cite" }, String(number)) }));
    });
    const end = Math.max(this.text.lastIndexOf(". "), this.text.lastIndexOf("\n"));
    if (end > this.said) {
      announce(this.text.slice(this.said, end + 1));
      this.said = end + 1;
    }
  }

  finish(answer) {
    cancelAnimationFrame(this.frame);
    this.turn.answer = answer;
    this.answer.removeAttribute("aria-busy");
    const by = new Map(answer.citations.map((citation) => [citation.marker, citation]));
    this.answer.replaceChildren(markdown(answer.answer, { cite: (number) => (by.has(number) ? this.citation(by.get(number)) : null) }));
    const notes = notesOf(answer);
    this.rest.replaceChildren(...[
      answer.question && answer.question !== this.turn.question ? h("p", { class: "small soft meant" }, `Understood as: ${answer.question}`) : null,
      notes.length ? h("div", { class: "notes" }, notes) : null,
      answer.citations.length ? this.sources(answer.citations) : null,
      facts(answer),
      answer.route?.reason ? h("details", { class: "reason" }, h("summary", {}, "Why this model"), h("p", {}, answer.route.reason)) : null,
      answer.trace_id ? this.actions(answer) : null,
    ].filter(Boolean));
    if (this.live) {
      const sources = answer.citations.length ? ` ${answer.citations.length} sources.` : "";
      announce(`${answer.answer.slice(this.said && answer.answer.startsWith(this.text.slice(0, this.said)) ? this.said : 0)} ${[...answer.warnings].join(" ")} Answer complete.${sources}`);
      this.shownAt = performance.now();
    }
  }

  fail(message) {
    cancelAnimationFrame(this.frame);
    this.turn.problem = message;
    this.answer.removeAttribute("aria-busy");
    if (this.text) this.answer.replaceChildren(markdown(this.text));
    this.rest.replaceChildren(note("bad", message), h("div", { class: "row" }, this.againButton()));
    if (this.live) announce(message);
  }

  /** Whether its answer was left before it could be read. */
  leftUnread(withinMs) {
    return this.live && this.turn.answer && this.shownAt > 0 && !this.touched && performance.now() - this.shownAt < withinMs;
  }

  tell(feedback, options) {
    this.touched = true;
    return sendFeedback({ trace_id: this.turn.answer.trace_id, ...feedback }, options);
  }

  open(citation, button) {
    this.tell({ kind: "click", value: citation.marker });
    openSource(citation, button);
  }

  citation(citation) {
    const old = citation.status === "superseded" ? ", superseded" : "";
    const made = h("button", { type: "button", class: "cite", "aria-expanded": "false", "aria-controls": "source", "aria-label": `Source ${citation.marker}: ${citation.title || citation.document}${old}` }, String(citation.marker));
    made.addEventListener("click", () => this.open(citation, made));
    return made;
  }

  sources(citations) {
    return h("section", { "aria-label": "Sources" }, h("ul", { class: "sources" }, citations.map((citation) => {
      const made = h("button", { type: "button", "aria-expanded": "false", "aria-controls": "source" },
        h("span", { class: "marker" }, `[${citation.marker}]`),
        h("span", { class: "what" }, h("span", {}, citation.title || citation.document),
          h("span", { class: "where" }, [citation.heading !== citation.title && citation.heading, citation.version && `version ${citation.version}`].filter(Boolean).join(" · ") || citation.document),
          leanedOn(citation) ? h("span", { class: "says" }, leanedOn(citation)) : null,
          statusChip(citation.status),
          citation.support !== null && citation.support < DOUBTFUL ? chip("may not support this", "warn") : null));
      made.addEventListener("click", () => this.open(citation, made));
      return h("li", {}, made);
    })));
  }

  againButton() {
    return h("button", { type: "button", class: "quiet", on: { click: () => {
      if (this.turn.answer?.trace_id) this.tell({ kind: "regenerate" });
      this.again(this.turn.question);
    } } }, icon("again"), "Ask again");
  }

  actions(answer) {
    const box = h("div");
    const told = h("span", { class: "small soft", role: "status" });
    const thumbs = { up: 1, down: -1 };
    const buttons = Object.entries(thumbs).map(([name, value]) => h("button", {
      type: "button", class: "quiet icon", "aria-pressed": String(this.turn.thumbs === value), "aria-label": value === 1 ? "Good answer" : "Bad answer",
      on: { click: async (event) => {
        const pressed = event.currentTarget;
        try {
          await this.tell({ kind: "thumbs", value }, { quiet: false });
        } catch (error) {
          told.textContent = error.message;
          return;
        }
        this.turn.thumbs = value;
        this.element.dispatchEvent(new Event("kept", { bubbles: true }));
        for (const one of buttons) one.setAttribute("aria-pressed", String(one === pressed));
        told.textContent = "Thank you.";
        if (value === -1) box.replaceChildren(this.correction(told, box));
      } },
    }, icon(name)));
    const copy = h("button", { type: "button", class: "quiet", on: { click: async () => {
      try {
        await navigator.clipboard.writeText(answer.answer);
        told.textContent = "Copied.";
      } catch {
        told.textContent = "The browser does not let this page copy.";
      }
    } } }, icon("copy"), "Copy");
    const correct = h("button", { type: "button", class: "quiet", on: { click: () => box.replaceChildren(this.correction(told, box)) } }, "Correct it");
    return h("div", { class: "stack" }, h("div", { class: "row" }, ...buttons, this.againButton(), copy, correct, told), box);
  }

  correction(told, box) {
    const text = h("textarea", { rows: "3", required: true, maxlength: "4000", id: `correction-${this.turn.answer.trace_id}` });
    const form = h("form", { class: "correction" }, h("label", { for: text.id }, "What would have been right?"), text,
      h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Send"), h("button", { type: "button", class: "quiet", on: { click: () => box.replaceChildren() } }, "Not now")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await this.tell({ kind: "correction", text: text.value }, { quiet: false });
        box.replaceChildren();
        told.textContent = "Kept for those who look after the documents. Thank you.";
      } catch (error) {
        told.textContent = error.message;
      }
    });
    requestAnimationFrame(() => {
      text.focus({ preventScroll: true });
      form.scrollIntoView({ block: "nearest" });
    });
    return form;
  }
}

/** The words that an answer leans on, on a line: without headings and signs of Markdown. */
const leanedOn = ({ snippet = "" }) => snippet.replace(/^\s*#{1,6}\s.*$|^\s*\|?[\s:|-]+\|\s*$|^\s*[-*>]\s/gm, " ").replace(/\*\*|__|`|\|/g, " ").replace(/\s+/g, " ").trim();

function notesOf(answer) {
  return [
    answer.truncated ? note("warn", "The answer was cut off: the model reached its longest output.") : null,
    ...answer.warnings.map((warning) => note("warn", warning)),
    answer.citations.some((citation) => citation.status === "superseded") ? note("warn", "A source of this answer has been replaced by a newer version.") : null,
  ].filter(Boolean);
}

function facts(answer) {
  const { usage, route, cache } = answer;
  const cost = usage.priced ? usd(usage.usd, usage.simulated) : `${usd(usage.usd)} or more`;
  const rows = [
    ["Outcome", answer.refused ? "refused" : answer.degraded ? "passages only" : ""],
    ["Confidence", answer.confidence === null || answer.confidence === undefined ? "" : percent(answer.confidence)],
    ["Model", answer.model],
    ["Route", route?.tier],
    ["Time", milliseconds(answer.milliseconds)],
    ["Cost", cost],
    ["Remembered", answer.cached ? `${cache?.kind || "yes"}${cache && cache.kind !== "exact" ? `, ${percent(cache.similarity)} alike` : ""}` : ""],
    ["Release", short(answer.release)],
    ["Role", answer.role === "stable" ? "" : answer.role],
  ].filter(([, value]) => value);
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", name === "Release" ? { title: answer.release, class: "mono" } : {}, value))));
}
