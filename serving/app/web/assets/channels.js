// Channels: what each serves, who moved it and why, and moves with a reason.

import { getJson, request } from "./api.js";
import { announce, ask, chip, field, h, note, svg } from "./dom.js";
import { count, percent, short, time } from "./format.js";

const OWN = { "X-Touchstone-CSRF": "1" };
const MODES = ["canary", "shadow", "interleave", "blue-green"];

/** The cards of all channels; `moved` is called after a change, or after one that came too late. */
export function channelCards({ channels, may_move: mayMove }, releases, moved) {
  return channels.map((channel) => card(channel, releases, mayMove, moved));
}

function card(channel, releases, mayMove, moved) {
  const told = h("div", { role: "status" });
  const move = async (action, title, fields, submit, body, danger = false) => {
    const why = h("input", { required: true, maxlength: "500", autocomplete: "off" });
    const chosen = await ask({ title: `${title}: ${channel.name}`, fields: [...fields, field("Reason", why, "Kept in the channel's history, with your name.")], submit, danger, read: () => ({ why: why.value, ...body() }) });
    if (!chosen) return;
    try {
      await request(`/v1/admin/channels/${channel.name}/${action}`, { method: "POST", json: { revision: channel.revision, ...chosen }, headers: OWN });
      announce(`${channel.name} is changed.`);
      await moved(channel.name);
    } catch (error) {
      await moved(channel.name, error.message);
    }
  };
  const accepted = releases.filter((one) => one.channels.includes(channel.name) && one.digest !== channel.stable);
  const buttons = mayMove && !channel.problem ? actions(channel, accepted, releases, move) : [];
  const { candidate } = channel;
  return h("article", { class: "card channel", "aria-label": `Channel ${channel.name}`, dataset: { channel: channel.name } },
    h("div", { class: "row spread" }, h("h3", {}, channel.name), h("span", { class: "row" }, channel.served_here ? chip("served here", "good") : null, channel.needs_approval ? chip("needs approval") : null)),
    h("dl", {}, h("dt", {}, "Stable"), h("dd", { class: "mono", title: channel.stable }, channel.stable ? short(channel.stable) : channel.problem ? "not known" : "nothing yet"),
      h("dt", {}, "Since"), h("dd", {}, channel.updated_at ? `${time(channel.updated_at)}, revision ${channel.revision}` : "–"),
      candidate ? [h("dt", {}, "Candidate"), h("dd", {}, h("span", { class: "mono", title: candidate.release }, short(candidate.release)), `, ${candidate.mode}${candidate.weight ? ` ${percent(candidate.weight)}` : ""}`)] : null,
      channel.approved.length ? [h("dt", {}, "Approved"), h("dd", { class: "mono" }, channel.approved.map(short).join(", "))] : null),
    candidate?.weight ? svg("svg", { class: "weight", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": `The candidate has ${percent(candidate.weight)} of the questions` },
      svg("rect", { class: "c1", width: 100, height: 10 }), svg("rect", { class: "c2", x: 100 - candidate.weight * 100, width: candidate.weight * 100, height: 10 })) : null,
    candidate && mayMove ? judged(channel) : null,
    channel.problem ? note("bad", channel.problem) : null,
    buttons.length ? h("div", { class: "row" }, buttons) : null,
    mayMove && !channel.needs_proof && !releases.length ? h("p", { class: "soft small" }, "There is no release yet. Make one: touchstone promote") : null,
    mayMove && channel.needs_proof && !releases.some((one) => one.channels.includes(channel.name)) ? h("p", { class: "soft small" }, "No release here has passed the gate of this channel: there is nothing to promote.") : null,
    told,
    h("details", {}, h("summary", {}, `History (${channel.history.length})`), h("ol", { class: "history", tabindex: "0", "aria-label": `History of ${channel.name}` }, channel.history.map(change))));
}

const known = new Map(); // the newest verdict of each channel, to be shown until the next one comes
const KINDS = { worse: "bad", "no worse": "good", better: "good" };

/** What the traces say of the candidate; filled in when it comes, since thousands of them may have to be read. */
function judged(channel) {
  const before = known.get(channel.name);
  const shown = before?.revision === channel.revision ? verdict(before.found) : [h("p", { class: "soft small" }, "The verdict is being read from the traces …")];
  const place = h("div", { class: "verdict", role: "group", "aria-label": `Verdict on the candidate of ${channel.name}` }, shown);
  getJson(`/v1/admin/channels/${channel.name}/verdict`, { quiet: true }).then(
    (found) => {
      known.set(channel.name, { revision: channel.revision, found });
      const open = place.querySelector("details")?.open;
      place.replaceChildren(...verdict(found));
      place.querySelector("details").open = Boolean(open);
    },
    (error) => place.replaceChildren(h("p", { class: "soft small" }, error.message)),
  );
  return place;
}

function verdict(found) {
  const counted = `${count(found.candidate_callers)} of ${count(found.callers)} callers are the candidate's, with ${count(found.candidate_questions)} of ${count(found.questions)} questions.`;
  const told = (one) => h("li", {}, h("strong", {}, one.name), " ", chip(one.outcome, KINDS[one.outcome] ?? ""), h("p", { class: "small" }, one.reason));
  return [
    h("p", {}, h("strong", {}, "Candidate "), chip(found.verdict, KINDS[found.verdict] ?? "warn"), ` ${found.reason}`),
    ...found.notes.map((text) => h("p", { class: "soft small" }, text)),
    h("details", {}, h("summary", {}, "What was measured"), h("p", { class: "soft small" }, counted), h("ul", { class: "history", tabindex: "0", "aria-label": "What was measured" }, found.measures.map(told))),
  ];
}

function actions(channel, accepted, releases, move) {
  const button = (label, click, kind = "") => h("button", { type: "button", class: kind, on: { click } }, label);
  const select = (among) => h("select", { required: true }, among.map((one) => h("option", { value: one.digest }, `${short(one.digest)}${one.state ? `, ${one.gate}: ${one.state}` : ""}${one.created_at ? `, ${time(one.created_at)}` : ""}`)));
  const made = [];
  if (accepted.length) {
    made.push(button("Promote …", () => {
      const release = select(accepted);
      const said = channel.needs_approval ? note("info", "This channel takes a release that somebody has approved, or that it has served before.") : null;
      return move("promote", "Promote", [said, field("Release", release)], "Promote", () => ({ release: release.value }));
    }));
  }
  if (channel.rollback_to) {
    made.push(button("Roll back …", () => move("rollback", "Roll back", [h("p", {}, "Back to ", h("span", { class: "mono" }, short(channel.rollback_to)), ", which this channel served before.")], "Roll back", () => ({}), true), "danger"));
  }
  if (channel.needs_approval && releases.length) {
    made.push(button("Approve …", () => {
      const release = select(releases.filter((one) => !one.problem));
      const hours = h("input", { type: "number", min: "1", max: "2160", value: "72", required: true });
      return move("approve", "Approve", [field("Release", release), field("For so many hours", hours)], "Approve", () => ({ release: release.value, hours: Number(hours.value) }));
    }));
  }
  if (channel.candidate) {
    made.push(button("Switch to candidate …", () => move("switch", "Make the candidate stable", [], "Switch", () => ({}))));
    made.push(button("Stop candidate …", () => move("withdraw", "Stop the candidate", [], "Stop it", () => ({}), true)));
  } else if (channel.stable && accepted.length) {
    made.push(button("Try a candidate …", () => {
      const release = select(accepted);
      const mode = h("select", {}, MODES.map((one) => h("option", {}, one)));
      const weight = h("input", { type: "number", min: "1", max: "100", value: "10", required: true });
      return move("candidate", "Try beside the stable release", [field("Release", release), field("How", mode, "canary answers its share; shadow is asked too, unseen; interleave mixes both searches; blue-green is only made ready."), field("Percent of the questions", weight)], "Begin", () => ({ release: release.value, mode: mode.value, weight: Number(weight.value) / 100 }));
    }));
  }
  return made;
}

function change(one) {
  const what = {
    stable: `${one.before ? short(one.before) : "nothing"} → ${short(one.to)}`,
    candidate: `${one.mode} ${percent(one.weight ?? 0)} ${short(one.to)}`,
    withdrawal: "candidate stopped",
    approval: `approved ${short(one.to)} until ${time(one.until)}`,
  }[one.kind];
  return h("li", {}, h("strong", {}, what), h("span", { class: "soft" }, ` ${time(one.at)}, ${one.who}`), one.why ? h("p", {}, one.why) : null);
}
