// Talks to the server: the key of this tab, problems in plain words, events of a stream.

import { ask, field, h } from "./dom.js";

const KEY = "touchstone.key"; // of this tab alone, gone when it is closed
const WORDS = {
  "not-ready": "No release is ready to answer yet. The server is loading one, or nothing was promoted.",
  "too-busy": "Many questions are being answered at the moment. Try again in a few seconds.",
  outage: "Something that this service stands on does not answer. Try again shortly.",
  throttled: "The model is being asked too often at the moment. Try again shortly.",
  timeout: "The answer took too long. Ask again, or ask less at once.",
  unauthenticated: "A valid API key is needed. Give yours by the button at the top of the page.",
  failure: "Something failed on the server. Its log has the details.",
};

/** A failure, in words for people. */
export class Problem extends Error {
  constructor(status, kind, detail, requestId = "") {
    super(WORDS[kind] ?? detail);
    this.status = status;
    this.kind = kind;
    this.requestId = requestId;
  }

  static of(body, status, requestId = "") {
    const kind = typeof body?.type === "string" ? body.type.replace("urn:touchstone:problem:", "") : "";
    return new Problem(status, kind, typeof body?.detail === "string" ? body.detail : `The server answered with ${status}.`, requestId);
  }
}

export function unreachable() {
  dispatchEvent(new Event("unreachable")); // the line that tells what is served looks at once
  return new Problem(0, "unreachable", "The server cannot be reached. Is it running, and are you online?");
}

export const key = {
  get value() { return sessionStorage.getItem(KEY) ?? ""; },
  set value(text) {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
    dispatchEvent(new Event("key"));
  },
};

let asking = null;

/** Asks for a key, one dialog at a time; whether there is one now. */
export function askForKey(why = "") {
  asking ??= (async () => {
    const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", value: key.value });
    const given = await ask({
      title: "API key",
      fields: [why ? h("p", { class: "note warn" }, why) : null, field("Key", input, "Kept in this tab until you close it. Leave it empty to forget it.")],
      submit: "Use this key",
      read: () => ({ key: input.value.trim() }),
    });
    if (given) key.value = given.key;
    asking = null;
    return given !== null && given.key !== "";
  })();
  return asking;
}

export const authorization = () => (key.value ? { Authorization: `Bearer ${key.value}` } : {});

/** A response, or a Problem; asks for a key when one is needed, and tries once more. */
export async function request(path, { method = "GET", json, headers = {}, signal, keepalive = false, quiet = false } = {}) {
  const body = json === undefined ? undefined : JSON.stringify(json);
  for (let tried = 0; ; tried += 1) {
    const sent = { ...authorization(), ...(body ? { "Content-Type": "application/json" } : {}), ...headers };
    let response;
    try {
      response = await fetch(path, { method, headers: sent, body, signal, keepalive, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw unreachable();
    }
    if (response.ok) return response;
    if (response.status === 401 && !quiet && tried < 3) {
      if (await askForKey(key.value ? "This key is not valid here, or it has expired." : "This server wants to know who asks.")) continue;
    }
    throw Problem.of(await response.json().catch(() => null), response.status, response.headers.get("X-Request-ID") ?? "");
  }
}

export const getJson = async (path, options) => (await request(path, options)).json();

/** What belongs into an address for a document's id; null for one that a browser would read as another address. */
export function documentPath(id) {
  const parts = id.split("/");
  return parts.some((part) => part === "." || part === ".." || part === "") ? null : `/v1/documents/${parts.map(encodeURIComponent).join("/")}`;
}

// A line "name: value"; a comment has no name. Not by a pattern: its dot stops at U+2028, which is no end of a line here.
function line(text) {
  const at = text.indexOf(":");
  return [text.slice(0, at), text.slice(at + 1).replace(/^ /, "")];
}

/** The events of a stream as they come. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map(line));
      if (fields.has("event")) yield { name: fields.get("event"), data: JSON.parse(fields.get("data")) };
    }
  }
}
