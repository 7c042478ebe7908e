// The page of administrators.

import { getJson } from "./api.js";
import { channelCards } from "./channels.js";
import { bars, lines, stackedBars, table } from "./charts.js";
import { $, announce, chip, h, note } from "./dom.js";
import { bytes, clock, count, milliseconds, percent, plural, roundUsd, share, short, time, usd } from "./format.js";
import { openJourney, said } from "./journey.js";
import { mountShell } from "./shell.js";

const EVERY_MS = 30_000;
let loading = 0;

/** A model without its provider. */
const modelName = (name) => (name.startsWith("local:") ? name : name.slice(name.indexOf(":") + 1));
const sum = (ones, of) => ones.reduce((total, one) => total + of(one), 0);

async function load({ quiet = false } = {}) {
  const mine = (loading += 1);
  const hours = $("hours").value;
  $("refresh").disabled = true;
  const wanted = { traffic: `/v1/admin/traffic?hours=${hours}`, replica: "/v1/admin/replica", channels: "/v1/admin/channels", releases: "/v1/admin/releases?limit=20", audit: "/v1/admin/audit?limit=30", traces: "/v1/traces?limit=50" };
  const problems = new Set();
  let refused = false;
  const found = {};
  const read = async ([name, path]) => {
    try {
      found[name] = await getJson(path, { quiet });
    } catch (error) {
      refused ||= error.status === 401 || error.status === 403;
      problems.add(error.message);
    }
  };
  const [first, ...others] = Object.entries(wanted);
  await read(first); // alone: it asks for a key where one is needed
  if (!refused) await Promise.all(others.map(read));
  if (mine !== loading) return;
  $("refresh").disabled = false;
  $("problem").replaceChildren(...[...problems].map((text) => note("bad", text)));
  for (const part of document.querySelectorAll("main > section, main > .two, .jump")) part.hidden = refused;
  if (refused) forget();
  if (found.traffic) drawTraffic(found.traffic, found.replica);
  if (found.channels) drawChannels(found.channels, found.releases?.releases ?? []);
  if (found.releases) drawReleases(found.releases);
  if (found.audit) drawAudit(found.audit);
  if (found.traces) drawTraces(found.traces.traces);
  if (found.replica) drawReplica(found.replica);
}

/** What a key before showed is not this key's to see. */
function forget() {
  for (const id of ["window", "traffic", "channel-cards", "release-table", "audit-note", "audit-table", "incident-table", "feedback-table", "trace-table", "replica-note", "replica-body"]) $(id).replaceChildren();
}

function tile(name, value, more, kind = "") {
  return h("div", { class: "card tile" }, h("dt", {}, name), h("dd", { class: kind }, value), h("dd", {}, more));
}

function drawTraffic(traffic, replica) {
  $("window").textContent = `${time(traffic.since)} to ${time(traffic.until)}, from the traces of all replicas${traffic.complete ? "" : `: only the newest ${count(traffic.traces)} were counted`}. Errors are of this replica since ${replica ? time(replica.started_at) : "it began"}.`;
  const { questions } = traffic;
  const asked = (replica?.routes ?? []).filter((one) => /^\/v1\/(query|chat|responses|mcp|dify|retrieve)/.test(one.route));
  const requests = sum(asked, (one) => one.requests);
  const errors = sum(asked, (one) => one.errors);
  const thumbs = Object.fromEntries(traffic.feedback_counts.map((one) => [one.name, one.count]));
  const up = thumbs["thumbs up"] ?? 0;
  const down = thumbs["thumbs down"] ?? 0;
  const tiles = h("dl", { class: "tiles" },
    tile("Questions", count(questions), `${share(traffic.refused, questions)} refused${traffic.degraded ? ` · ${count(traffic.degraded)} by passages only` : ""}`),
    tile("Median time", milliseconds(traffic.times?.p50_ms), `p95 ${milliseconds(traffic.times?.p95_ms)} · p99 ${milliseconds(traffic.times?.p99_ms)}`),
    tile("First words", milliseconds(traffic.first_token?.p50_ms), `p95 ${milliseconds(traffic.first_token?.p95_ms)}, streamed`),
    tile("Errors", share(errors, requests), `${count(errors)} of ${plural(requests, "request")}, this replica`, errors ? "bad" : ""),
    tile("Cost", usd(traffic.usd), traffic.simulated ? "simulated in part" : questions ? `${usd(traffic.usd / questions)} a question` : "–"),
    tile("Remembered", share(traffic.cached, questions), `${count(traffic.cached)} from the cache`),
    tile("Confidence", traffic.confidence === null ? "–" : percent(traffic.confidence), "mean, where it is told"),
    tile("Thumbs", `${count(up)} / ${count(down)}`, "up / down"));
  const labels = traffic.buckets.map((one) => (Number($("hours").value) <= 24 ? clock(one.at) : time(one.at)));
  const of = (name) => traffic.buckets.map((one) => one[name]);
  const written = traffic.buckets.map((one) => Math.max(0, one.questions - one.cached - one.refused - one.degraded));
  $("traffic").replaceChildren(tiles, h("div", { class: "charts" },
    stackedBars({ title: "Questions", head: "From", labels, format: (value) => count(Math.round(value * 10) / 10), series: [{ name: "answered", values: written }, { name: "remembered", values: of("cached"), colour: 4 }, ...(traffic.degraded ? [{ name: "passages only", values: of("degraded"), colour: 2 }] : []), { name: "refused", values: of("refused"), colour: 3 }] }),
    lines({ title: "Time", head: "From", labels, format: milliseconds, series: [{ name: "median", values: of("p50_ms") }, { name: "p95", values: of("p95_ms") }] }),
    stackedBars({ title: traffic.simulated ? "Cost (simulated in part)" : "Cost", head: "From", labels, format: (value) => usd(value), axis: roundUsd, series: [{ name: "dollars", values: of("usd"), colour: 2 }] })),
  h("div", { class: "parts" },
    bars({ title: "Stages, median and p95", head: "Stage", columns: ["Median", "p95"], rows: traffic.stages.map((one) => ({ name: one.stage, value: one.times.p50_ms, cells: [milliseconds(one.times.p50_ms), milliseconds(one.times.p95_ms)] })) }),
    bars({ title: "Routes", head: "Tier", columns: ["Questions", "Cost"], colour: 5, rows: traffic.routes.map((one) => ({ name: one.name, value: one.questions, cells: [count(one.questions), usd(one.usd)] })) }),
    bars({ title: "Cache", head: "Way", columns: ["Questions", "Share"], colour: 4, rows: traffic.cache.map((one) => ({ name: one.name, value: one.questions, cells: [count(one.questions), share(one.questions, questions)] })) }),
    bars({ title: traffic.simulated ? "Models by cost (simulated in part)" : "Models by cost", head: "Model", columns: ["Questions", "Cost"], colour: 2, rows: traffic.models.map((one) => ({ name: modelName(one.name), full: one.name, value: one.usd, cells: [count(one.questions), usd(one.usd)] })) })));
  $("traffic").append(h("div", { class: "under" }, h("h3", {}, "By release"), table("Releases in this window", ["Release", "Role", "#Questions", "#Refused", "#Median", "#p95", "#Cost", "#Thumbs"],
    traffic.releases.map((one) => h("tr", {}, h("th", { scope: "row", class: "mono", title: one.release }, short(one.release)), h("td", {}, chip(one.role, one.role === "stable" ? "good" : "gold")),
      h("td", { class: "num" }, count(one.questions)), h("td", { class: "num" }, share(one.refused, one.questions)), h("td", { class: "num" }, milliseconds(one.times?.p50_ms)), h("td", { class: "num" }, milliseconds(one.times?.p95_ms)),
      h("td", { class: "num" }, usd(one.usd)), h("td", { class: "num" }, `${one.thumbs_up} / ${one.thumbs_down}`))), "No release has answered in this window.")));
  drawIncidents(traffic);
  drawFeedback(traffic);
}

const opens = (id, text) => h("button", { type: "button", class: "link", on: { click: () => openJourney(id) } }, text);

function drawIncidents({ incidents, incident_counts: counts }) {
  $("incident-table").replaceChildren(
    counts.length ? bars({ title: "What fired", head: "Rule", columns: ["Times"], colour: 3, rows: counts.slice(0, 8).map((one) => ({ name: one.name, value: one.count, cells: [count(one.count)] })) }) : "",
    table("Newest guard incidents", ["When", "Side", "Check", "Rule", "Action", "Trace"], incidents.map((one) => h("tr", {}, h("td", {}, time(one.at)), h("td", {}, one.side), h("th", { scope: "row" }, one.check),
      h("td", { class: "wrap" }, one.rule || "–"), h("td", {}, chip(one.action, one.action === "block" ? "bad" : "warn")), h("td", {}, opens(one.trace_id, short(one.trace_id))))), "No check has stepped in."));
}

function drawFeedback({ feedback, feedback_counts: counts }) {
  $("feedback-table").replaceChildren(
    counts.length ? bars({ title: "What was said", head: "Kind", columns: ["Times"], rows: counts.map((one) => ({ name: one.name, value: one.count, cells: [count(one.count)] })) }) : "",
    table("Newest feedback", ["When", "What", "Words", "Trace"], feedback.map((one) => h("tr", {}, h("td", {}, time(one.at)), h("th", { scope: "row" }, said(one)), h("td", { class: "wrap" }, one.text || "–"), h("td", {}, opens(one.trace_id, short(one.trace_id))))), "Nobody has said anything of an answer yet."));
}

function drawChannels(channels, releases) {
  $("channel-cards").replaceChildren(...(channels.may_move ? [] : [note("", "Channels are everybody's: the administrators of the server's operator move them.")]), ...channelCards(channels, releases, async (name, problem = "") => {
    await load({ quiet: true });
    const card = document.querySelector(`[data-channel="${name}"]`);
    const told = card?.querySelector('[role="status"]');
    told?.replaceChildren(problem ? note("bad", problem) : note("good", "Done. Each server takes it up at its next look at the channel."));
    card?.querySelector("button")?.focus();
  }));
}

function drawReleases({ releases, total }) {
  const metric = (one) => `${one.metric} ${one.mean === null ? "unscored" : one.mean.toFixed(3)}${one.low !== null && one.high !== null ? ` [${one.low.toFixed(3)}, ${one.high.toFixed(3)}]` : ""}`;
  const more = total > releases.length ? h("p", { class: "soft small" }, `The newest ${releases.length} of ${total}.`) : "";
  $("release-table").replaceChildren(table("Releases, the newest first", ["Release", "Gate", "Accepted by", "Measured", "#Documents", "Evidence"], releases.map((one) => h("tr", {},
    h("th", { scope: "row", class: "mono", title: one.digest }, short(one.digest)),
    h("td", {}, one.problem ? chip("not whole", "bad") : one.state ? chip(`${one.gate}: ${one.state}`, one.state === "pass" ? "good" : "bad") : chip("no decision", "warn"), one.forced ? [" ", chip("forced", "warn")] : null),
    h("td", {}, one.channels.join(", ") || "–"),
    h("td", { class: "wrap" }, one.problem || (one.metrics.length ? h("details", {}, h("summary", {}, one.measured_on), h("ul", {}, one.metrics.map((measured) => h("li", { class: "mono small" }, metric(measured))))) : "–")),
    h("td", { class: "num" }, one.documents ? count(one.documents) : "–"), h("td", {}, one.evidence ? `${time(one.created_at)}${one.evidence > 1 ? `, the newest of ${one.evidence}` : ""}` : "–"))), "No release yet. Make one: touchstone promote"), more);
}

const ENDS = { done: "good", refused: "warn", failed: "bad" };

function drawAudit({ entries, next }) {
  const facts = (one) => Object.entries({ ...one.details, ...one.result }).filter(([, value]) => value !== "").map(([name, value]) => `${name} ${name === "sha256" ? short(value) : value}`).join(", ");
  $("audit-note").textContent = next ? `The newest ${entries.length}; older ones: touchstone audit.` : "";
  $("audit-table").replaceChildren(table("Acts, the newest first", ["When", "Who", "From", "What", "On", "Outcome", "Details"], entries.map((one) => h("tr", {},
    h("td", {}, time(one.at)), h("th", { scope: "row" }, one.who), h("td", {}, one.source), h("td", {}, one.action), h("td", { class: "wrap" }, one.subject),
    h("td", {}, chip(one.reason ? `${one.outcome}: ${one.reason}` : one.outcome, ENDS[one.outcome] ?? "gold")), h("td", { class: "wrap small" }, facts(one) || "–"))), "Nobody has done anything that is written down."));
}

function drawTraces(traces) {
  $("trace-table").replaceChildren(table("Recent questions, the newest first", ["When", "Question", "By", "Release", "Outcome", "#Time", "#Cost"], traces.map((one) => h("tr", {},
    h("td", {}, time(one.at)), h("th", { scope: "row", class: "wrap question" }, opens(one.id, [...(one.query || "(not kept)")].slice(0, 140).join(""))), h("td", {}, one.principal),
    h("td", {}, h("span", { class: "mono", title: one.release }, short(one.release)), one.role === "stable" ? null : [" ", chip(one.role, "gold")]),
    h("td", {}, one.refused ? chip("refused", "warn") : one.degraded ? chip("passages only", "warn") : one.cached ? chip("remembered") : chip("answered", "good")), h("td", { class: "num" }, milliseconds(one.milliseconds)), h("td", { class: "num" }, usd(one.usd)))), "Nobody has asked yet."));
}

function drawReplica(replica) {
  $("replica-note").textContent = `The process that answered this page, since ${time(replica.started_at)}; others have numbers of their own. Version ${replica.version}. Percentiles are estimated from histograms.`;
  const state = replica.ready;
  const tiles = h("dl", { class: "tiles" },
    tile("State", state.ready ? "ready" : "not ready", state.reason || `${state.channel}, ${short(state.loaded)}`, state.ready ? "" : "bad"),
    tile("In flight", count(replica.running), `${count(replica.waiting)} waiting · ${plural(replica.connections, "connection")}`),
    tile("Memory", bytes(replica.memory_bytes), "resident"),
    tile("Traces", replica.traces_lost ? `${count(replica.traces_lost)} lost` : "none lost", `${count(replica.traces_waiting)} waiting to be written`, replica.traces_lost ? "bad" : ""));
  const budgets = table("Budgets of today, in UTC", ["Account", "#Spent", "#Limit", "#Share"], replica.budgets.map((one) => h("tr", {}, h("th", { scope: "row" }, one.account), h("td", { class: "num" }, one.spent_usd === null ? "unknown" : usd(one.spent_usd)),
    h("td", { class: "num" }, usd(one.limit_usd)), h("td", { class: "num" }, one.spent_usd === null ? "–" : share(one.spent_usd, one.limit_usd)))), "No budget is set.");
  const routes = table("Requests by route", ["Route", "#Requests", "#Refused", "#Errors", "#Median", "#p95", "#p99"], replica.routes.filter((one) => one.route.startsWith("/v1/") || one.errors).map((one) => h("tr", {}, h("th", { scope: "row", class: "mono" }, one.route), h("td", { class: "num" }, count(one.requests)), h("td", { class: "num" }, count(one.refused)),
    h("td", { class: "num" }, one.errors ? chip(count(one.errors), "bad") : "0"), h("td", { class: "num" }, milliseconds(one.times?.p50_ms)), h("td", { class: "num" }, milliseconds(one.times?.p95_ms)), h("td", { class: "num" }, milliseconds(one.times?.p99_ms)))), "No request yet.");
  const counted = (title, ones, colour) => bars({ title, head: "What", columns: ["Times"], colour, rows: ones.map((one) => ({ name: one.name, value: one.count, cells: [count(one.count)] })) });
  $("replica-body").replaceChildren(tiles, h("div", { class: "parts" }, counted("Questions that failed", replica.failed, 3), counted("Cache misses", replica.cache_misses, 4),
    bars({ title: "Spending", head: "Model", columns: ["Cost"], colour: 2, rows: replica.spending.map((one) => ({ name: modelName(one.model), full: one.model, value: one.usd, cells: [usd(one.usd, one.simulated)] })) })),
  h("div", { class: "two under" }, h("div", {}, h("h3", {}, "Budgets today"), budgets), h("div", {}, h("h3", {}, "Requests to the API"), routes)));
}

$("hours").addEventListener("change", () => load());
$("refresh").addEventListener("click", async () => { await load(); announce("The numbers are new."); });
addEventListener("key", () => load({ quiet: true }));
setInterval(() => {
  // not while somebody reads or writes in what would be drawn anew
  const busy = document.querySelector("dialog[open], main details[open]") || $("main").contains(document.activeElement);
  if (!document.hidden && !busy) load({ quiet: true });
}, EVERY_MS);

mountShell();
load();
