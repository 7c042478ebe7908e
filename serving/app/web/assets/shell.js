// What every page has: the key, and what is served.

import { askForKey, key, request } from "./api.js";
import { $, h } from "./dom.js";
import { short } from "./format.js";

const SLOW_MS = 30_000;
const SOON_MS = 2_000;

async function state() {
  try {
    const response = await fetch("/readyz", { headers: key.value ? { Authorization: `Bearer ${key.value}` } : {}, cache: "no-store" });
    return await response.json();
  } catch {
    return null;
  }
}

function words(found) {
  if (!found) return ["bad", "Server cannot be reached", ""];
  if (!found.ready) return ["bad", "Not ready", found.reason];
  const release = `${found.channel} · ${short(found.loaded)}`;
  if (!found.current) return ["warn", release, `The channel names another release, which is not served: ${found.reason}`];
  if (found.candidate_broken) return ["warn", release, "The release that should be tried beside it cannot be loaded."];
  return ["good", release, found.candidate ? `${short(found.candidate)} is tried beside it` : ""];
}

/** Shows what is served until the page is closed. */
export function watchServing(line = $("serving")) {
  let last = "";
  let timer = 0;
  async function look() {
    clearTimeout(timer);
    const found = await state();
    const [kind, text, more] = words(found);
    if (`${kind}${text}${more}` !== last) {
      last = `${kind}${text}${more}`;
      line.replaceChildren(h("span", { class: `dot ${kind}`, "aria-hidden": "true" }),
        h("span", { title: more }, found?.ready ? h("span", { class: "long" }, "Serving ") : null, text, more ? h("span", { class: "unseen" }, `. ${more}`) : null));
    }
    clearTimeout(timer);
    timer = setTimeout(look, found?.ready ? SLOW_MS : SOON_MS);
  }
  addEventListener("unreachable", look);
  look();
}

export function mountShell() {
  const button = $("key");
  const tell = () => { button.textContent = key.value ? "API key set" : "API key"; };
  button.addEventListener("click", () => askForKey());
  addEventListener("key", tell);
  tell();
  watchServing();
}

/** Sends feedback; nobody waits for it, and a failure is told only where somebody said something. */
export async function sendFeedback(feedback, { keepalive = false, quiet = true } = {}) {
  try {
    return await (await request("/v1/feedback", { method: "POST", json: feedback, keepalive, quiet })).json();
  } catch (error) {
    if (!quiet) throw error;
    return null;
  }
}
