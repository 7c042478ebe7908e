// One question from its beginning to its end, in a dialog.

import { getJson } from "./api.js";
import { bar, table } from "./charts.js";
import { chip, h, icon, note } from "./dom.js";
import { count, milliseconds, percent, short, time, usd } from "./format.js";
import { markdown } from "./markdown.js";

const COLOURS = { guard: 3, cache: 4, retrieve: 1, route: 5, answer: 2 };

export async function openJourney(id) {
  const before = document.activeElement;
  const body = h("div", { class: "journey" }, h("p", { class: "soft", role: "status" }, "Reading the trace …"));
  const close = h("button", { type: "button", class: "quiet icon", "aria-label": "Close the trace", on: { click: () => dialog.close() } }, icon("close"));
  const dialog = h("dialog", { class: "journey", "aria-label": "The journey of a question", on: { close: () => {
    dialog.remove();
    if (before?.isConnected) before.focus();
  } } }, h("div", { class: "row spread" }, h("span", { class: "hint mono" }, id), close), body);
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
  try {
    body.replaceChildren(...parts(await getJson(`/v1/traces/${encodeURIComponent(id)}`)));
  } catch (error) {
    body.replaceChildren(note("bad", error.message));
  }
}

function parts(trace) {
  return [
    h("h2", {}, trace.query || "(not kept)"),
    trace.question && trace.question !== trace.query ? h("p", { class: "small soft" }, `Understood as: ${trace.question}`) : null,
    facts(trace),
    section("Time", waterfall(trace)),
    section("Answer", h("div", { class: "prose" }, markdown(trace.llm_response || "(not kept)")), ...trace.warnings.map((text) => note("warn", text))),
    trace.guard.length ? section("Guards", guards(trace.guard)) : null,
    section(`Retrieved: ${count(trace.retrieved_docs.length)}`, found(trace.retrieved_docs, "No passage was found, or none that you may see.")),
    section(`Read by the model: ${count(trace.reranked_docs.length)}, in its order`, found(trace.reranked_docs, "The model read no passage that you may see.")),
    trace.final_prompt ? section("Prompt", h("pre", { tabindex: "0", "aria-label": "Prompt" }, trace.final_prompt)) : null,
    trace.feedback.length ? section("Feedback", h("ul", { class: "stack" }, trace.feedback.map((one) => h("li", { class: "small" }, chip(said(one)), " ", time(one.at), one.text ? h("p", {}, one.text) : null)))) : null,
  ].filter(Boolean);
}

const section = (title, ...content) => h("section", {}, h("h3", {}, title), ...content);

/** A piece of feedback in a word or two. */
export function said(one) {
  if (one.kind === "thumbs") return one.value === 1 ? "thumbs up" : "thumbs down";
  return one.value === null || one.value === undefined ? one.kind : `${one.kind} ${one.value}`;
}

function facts(trace) {
  const rows = [
    ["When", time(trace.at)], ["Asked by", trace.principal], ["Release", short(trace.release)], ["Role", trace.role], ["Model", trace.model],
    ["Route", trace.route ? `${trace.route.tier}: ${trace.route.reason}` : ""], ["Time", milliseconds(trace.milliseconds)], ["Cost", usd(trace.usage.usd, trace.usage.simulated)],
    ["Tokens", `${count(trace.usage.input_tokens)} read, ${count(trace.usage.output_tokens)} written`],
    ["Confidence", trace.confidence === null ? "" : percent(trace.confidence)], ["Outcome", trace.refused ? "refused" : trace.degraded ? "passages only" : ""], ["Remembered", trace.cached ? "yes" : ""],
    ["Shadow of", trace.pair],
  ].filter(([, value]) => value);
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Each stage where it began and how long it took; they run one after the other. */
function waterfall(trace) {
  const whole = Math.max(trace.latency.reduce((sum, one) => sum + one.milliseconds, 0), 1e-9);
  let begun = 0;
  const rows = trace.latency.map((one) => {
    const start = begun;
    begun += one.milliseconds;
    return h("tr", {}, h("th", { scope: "row" }, one.stage), h("td", {}, bar(one.milliseconds / whole, COLOURS[one.stage] ?? 1, start / whole)),
      h("td", { class: "num" }, milliseconds(one.milliseconds)), h("td", { class: "num soft" }, `from ${milliseconds(start)}`));
  });
  return h("table", { class: "bars" }, h("caption", { class: "unseen" }, "Stages one after the other"), h("tbody", {}, rows));
}

function guards(verdicts) {
  return table("What checks decided", ["Side", "Check", "Action", "Rule", "Reason"], verdicts.map((one) => h("tr", {},
    h("td", {}, one.side), h("th", { scope: "row" }, one.check), h("td", {}, chip(one.action, one.action === "allow" ? "good" : one.action === "block" ? "bad" : "warn")),
    h("td", {}, one.rule || "–"), h("td", { class: "wrap" }, [one.reason, one.excerpt && `“${one.excerpt}”`].filter(Boolean).join(" ") || "–"))), "");
}

function found(passages, empty) {
  return table("Passages", ["#", "Document", "#Score", "Ranks", "Text"], passages.map((one, number) => h("tr", {},
    h("td", { class: "num" }, String(number + 1)), h("th", { scope: "row", class: "wrap" }, one.title || one.document, h("span", { class: "mono small soft" }, ` ${one.document} ${one.start}–${one.end}`)),
    h("td", { class: "num" }, one.score.toPrecision(3)), h("td", {}, Object.entries(one.sources).map(([name, rank]) => `${name} ${rank}`).join(", ") || "–"),
    h("td", { class: "wrap" }, h("details", {}, h("summary", {}, `${[...one.text].slice(0, 60).join("")} …`), h("p", { class: "passage small" }, one.text))))), empty);
}
