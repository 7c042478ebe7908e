// The page of documents: add, find, delete.

import { documentPath, getJson, request } from "./api.js";
import { $, announce, ask, chip, h, icon, note } from "./dom.js";
import { bytes, count, fileReason, percent, plural, short, time } from "./format.js";
import { mountShell } from "./shell.js";
import { Upload, UploadQueue } from "./upload.js";

const PAGE = 50;
const POLL_MS = 1_500;
const LONGEST_POLL_MS = 10_000;
const UNDER_WAY = ["waiting", "parsing", "indexing"];
const STATES = {
  waiting: ["info", "waiting"], sending: ["info", "sending"], parsing: ["info", "being parsed"], indexing: ["info", "being indexed"],
  ready: ["good", "ready"], failed: ["bad", "failed"], cancelled: ["", "cancelled"], duplicate: ["", "there already"], deleted: ["", "deleted"],
};
const chipOf = (state) => chip(...(STATES[state] ?? ["", state]).toReversed());

const queue = new UploadQueue();
const pending = new Map(); // uploads whose document is not ready yet, by its id
let documents = [];
let next = null;
let listing = 0;
let timer = 0;
let wait = POLL_MS;

async function load({ more = false } = {}) {
  const mine = (listing += 1);
  const asked = new URLSearchParams({ limit: PAGE });
  if (more && next) asked.set("cursor", next);
  if ($("q").value.trim()) asked.set("q", $("q").value.trim());
  try {
    const found = await getJson(`/v1/documents?${asked}`);
    if (mine !== listing) return;
    documents = more ? [...documents, ...found.documents] : found.documents;
    next = found.next ?? null;
    $("problem").replaceChildren();
    draw(found);
  } catch (error) {
    if (mine !== listing) return;
    $("problem").replaceChildren(note("bad", error.message));
    if (error.status === 401 || error.status === 403) { // what a key before showed is not this key's to see
      documents = [];
      next = null;
      draw({});
      $("empty").hidden = true;
    }
  }
  schedule();
}

function draw(found) {
  const parts = [];
  if (typeof found.release_documents === "number") parts.push(`${plural(found.release_documents, "document")} in the release`);
  if (typeof found.added === "number") parts.push(found.added ? `${plural(found.added, "document")} added since this release was proven` : "none added since this release was proven");
  if (found.corpus_version) parts.push(`corpus ${found.corpus_version.split("+").map(short).join(" + ")}`);
  $("corpus").textContent = parts.join(" · ");
  $("corpus").title = found.corpus_version ? `Corpus ${found.corpus_version}` : "";
  $("rows").replaceChildren(...documents.map(row));
  $("table").hidden = documents.length === 0;
  $("empty").hidden = documents.length > 0;
  $("empty").textContent = $("q").value.trim() ? "No added document is called that." : `Nothing was added yet. ${found.release_documents ? `The ${plural(found.release_documents, "document")} of the release are searched all the same.` : ""}`;
  $("more").hidden = next === null;
}

function row(found) {
  const access = [
    found.tenant && found.tenant !== "public" ? chip(found.tenant) : null,
    ...(found.groups ?? []).map((group) => chip(group, "gold")),
    found.groups?.length ? null : chip("everyone"),
    found.domain ? h("span", { class: "small soft" }, found.domain) : null,
  ];
  const remove = found.origin === "release" ? null : h("button", {
    type: "button", class: "quiet", "aria-label": `Delete ${found.title || found.name}`, on: { click: () => confirmDelete(found) },
  }, "Delete");
  return h("tr", { dataset: { id: found.id } },
    h("th", { scope: "row", class: "document" }, found.title || found.name, found.title && found.title !== found.name ? h("span", { class: "mono small" }, found.name) : null),
    h("td", {}, chipOf(found.state), found.state === "indexing" && found.progress ? h("span", { class: "small soft" }, ` ${percent(found.progress)}`) : null, found.state === "failed" && found.reason ? h("p", { class: "small soft" }, fileReason(found.reason)) : null),
    h("td", {}, found.version || null, found.status && found.status !== "current" ? [" ", chip(found.status, found.status === "superseded" ? "warn" : "")] : null),
    h("td", {}, h("div", { class: "access" }, access)),
    h("td", { class: "num" }, found.bytes ? bytes(found.bytes) : null),
    h("td", { class: "when" }, h("span", { title: found.uploader ? `by ${found.uploader}` : "" }, found.origin === "release" ? "with the release" : time(found.created_at))),
    h("td", { class: "num" }, remove));
}

async function confirmDelete(found) {
  const sure = await ask({
    title: "Delete this document?",
    fields: [h("p", {}, h("strong", {}, found.title || found.name)), h("p", { class: "soft" }, "It is found no more, answers that were remembered go with it, and its words leave the traces. This cannot be undone.")],
    submit: "Delete it",
    danger: true,
  });
  if (!sure) return;
  try {
    const path = documentPath(found.id);
    if (!path) throw new Error("The name of this document is no address; delete it by the API.");
    await request(path, { method: "DELETE" });
    documents = documents.filter((one) => one.id !== found.id);
    announce(`${found.title || found.name} is deleted.`);
    await load();
    $("list-title").setAttribute("tabindex", "-1");
    $("list-title").focus();
  } catch (error) {
    $("problem").replaceChildren(note("bad", error.message));
    announce(error.message);
  }
}

/** Looks again while something is under way and somebody is there to see it. */
function schedule() {
  clearTimeout(timer);
  const moving = pending.size > 0 || documents.some((one) => UNDER_WAY.includes(one.state));
  if (!moving) { wait = POLL_MS; return; }
  timer = setTimeout(async () => {
    wait = Math.min(wait * 1.3, LONGEST_POLL_MS);
    if (!document.hidden) await follow();
    schedule();
  }, wait);
}

async function follow() {
  for (const [id, upload] of pending) {
    const path = documentPath(id);
    if (!path) { pending.delete(id); continue; }
    try {
      const found = await getJson(path, { quiet: true });
      if (found.state !== upload.state) upload.change({ state: found.state, reason: found.reason ?? "" });
      if (!UNDER_WAY.includes(found.state)) pending.delete(id);
    } catch (error) {
      upload.change({ state: "failed", reason: error.message });
      pending.delete(id);
    }
  }
  await load();
}

function watch(upload) {
  const bar = h("progress", { max: "1", value: "0", "aria-label": `Upload of ${upload.file.name}` });
  const state = h("span", {});
  const why = h("p", { class: "why", hidden: true });
  const end = h("button", { type: "button", class: "quiet icon", "aria-label": `Cancel ${upload.file.name}`, on: { click: () => {
    if (["waiting", "sending"].includes(upload.state) && !upload.document) upload.cancel();
    else line.remove();
  } } }, icon("close"));
  const line = h("li", {}, h("span", { class: "name", title: upload.file.name }, upload.file.name, " ", h("span", { class: "soft" }, bytes(upload.file.size))), state, end, bar, why);
  let told = "";
  upload.addEventListener("change", () => {
    const sending = upload.state === "sending";
    bar.hidden = !sending;
    bar.value = upload.sent;
    state.replaceChildren(sending ? h("span", { class: "soft num" }, percent(upload.sent)) : chipOf(upload.state));
    why.textContent = fileReason(upload.reason);
    why.hidden = !upload.reason;
    if (!sending) end.setAttribute("aria-label", `Remove ${upload.file.name} from this list`);
    if (upload.state !== told) {
      told = upload.state;
      if (!["waiting", "sending"].includes(told)) announce(`${upload.file.name}: ${(STATES[told] ?? ["", told])[1]}. ${fileReason(upload.reason)}`);
      if (upload.document && UNDER_WAY.includes(told)) pending.set(upload.document.id, upload);
      if (upload.document) { wait = POLL_MS; load(); }
    }
  });
  state.replaceChildren(chipOf("waiting"));
  bar.hidden = true;
  $("queue").prepend(line);
}

function add(files) {
  const readers = $("readers").value;
  const some = readers === "some" ? $("groups").value.split(",").map((one) => one.trim()).filter(Boolean) : [];
  if (readers === "some" && !some.length) {
    $("problem").replaceChildren(note("bad", "Name the groups that may read these files."));
    announce("Name the groups that may read these files.");
    $("groups").focus();
    return;
  }
  const groups = readers === "tenant" ? [""] : some; // none at all: the server takes those of the key
  const fields = [["domain", $("domain").value.trim()], ["version", $("version").value.trim()], ["status", $("status").value], ...groups.map((group) => ["groups", group])];
  for (const file of files) {
    const upload = new Upload(file, fields);
    watch(upload);
    queue.add(upload);
  }
  if (files.length) announce(`${count(files.length)} to upload.`);
}

$("readers").addEventListener("change", () => { $("some").hidden = $("readers").value !== "some"; });

const drop = $("drop");
$("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = ""; // the same file again is a change too
});
for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
}
addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", (event) => {
  drop.classList.remove("over");
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  add([...event.dataTransfer.files]);
});

let typing = 0;
$("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(), 250);
});
$("search").addEventListener("submit", (event) => { event.preventDefault(); load(); });
$("more").addEventListener("click", async () => {
  const shown = documents.length;
  await load({ more: true });
  const first = $("rows").children[shown]?.querySelector("th"); // the button is gone with the last page, and the focus with it
  first?.setAttribute("tabindex", "-1");
  first?.focus();
  announce(`${plural(documents.length, "document")} shown.`);
});
addEventListener("key", () => load());
document.addEventListener("visibilitychange", () => { if (!document.hidden) schedule(); });

mountShell();
load();
