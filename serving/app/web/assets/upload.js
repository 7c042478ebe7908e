// Sends files, two at a time, and tells how far each is.

import { authorization, askForKey, Problem, unreachable } from "./api.js";

const AT_ONCE = 2;

/** One file on its way. `state`: waiting, sending, then what the server says, or failed. */
export class Upload extends EventTarget {
  constructor(file, fields) {
    super();
    this.file = file;
    this.fields = fields;
    this.state = "waiting";
    this.sent = 0; // share of its bytes
    this.document = null;
    this.reason = "";
    this.http = null;
  }

  change(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }

  cancel() {
    if (this.state === "waiting") this.change({ state: "cancelled" });
    else this.http?.abort();
  }

  /** Sends it; the end is in `state`. */
  async run() {
    try {
      for (let tried = 0; tried < 3; tried += 1) {
        const { status, body } = await this.send();
        if (status === 200 || status === 202) {
          this.change({ state: body.duplicate ? "duplicate" : body.state, document: body, reason: body.reason ?? "", sent: 1 });
          return;
        }
        if (status !== 401 || !(await askForKey("Uploading needs a key with the scope ingest."))) throw Problem.of(body, status);
      }
      throw new Problem(401, "unauthenticated", "No valid key was given.");
    } catch (error) {
      if (this.state !== "cancelled") this.change({ state: "failed", reason: error.message });
    }
  }

  send() {
    const form = new FormData();
    for (const [name, value] of this.fields) if (value || name === "groups") form.append(name, value); // an empty group: everyone
    form.append("file", this.file, this.file.name);
    const http = new XMLHttpRequest(); // fetch tells nothing of how far a body is
    this.http = http;
    this.change({ state: "sending", sent: 0 });
    return new Promise((resolve, reject) => {
      http.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) this.change({ sent: event.loaded / event.total });
      });
      http.addEventListener("load", () => resolve({ status: http.status, body: parsed(http.responseText) }));
      http.addEventListener("error", () => reject(unreachable()));
      http.addEventListener("abort", () => { this.change({ state: "cancelled" }); reject(new Error("cancelled")); });
      http.open("POST", "/v1/documents");
      for (const [name, value] of Object.entries(authorization())) http.setRequestHeader(name, value);
      http.send(form);
    });
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Uploads in their order. */
export class UploadQueue {
  constructor() {
    this.waiting = [];
    this.running = 0;
  }

  add(upload) {
    this.waiting.push(upload);
    this.next();
  }

  async next() {
    if (this.running >= AT_ONCE) return;
    const upload = this.waiting.shift();
    if (!upload) return;
    this.running += 1;
    if (upload.state === "waiting") await upload.run();
    this.running -= 1;
    this.next();
  }
}
