// Markdown as elements. Every character keeps its place in the source, so that a span of the source can be marked in what is shown.
// HTML in the source is shown as the text that it is; pictures are their words; links lead to http, https and mailto alone.

import { h } from "./dom.js";

const DEEPEST = 8;

/** A piece of text in which every character knows where in the source it stood. */
class Piece {
  constructor(text, places) {
    this.text = text;
    this.places = places;
  }

  slice(from, to = this.text.length) {
    return new Piece(this.text.slice(from, to), this.places.slice(from, to));
  }

  trim() {
    const start = this.text.length - this.text.trimStart().length;
    return this.slice(start, Math.max(start, this.text.trimEnd().length));
  }

  static join(pieces) {
    const places = [];
    const texts = [];
    pieces.forEach((piece, number) => {
      if (number) {
        texts.push("\n");
        places.push(places.length ? places[places.length - 1] + 1 : 0);
      }
      texts.push(piece.text);
      for (const place of piece.places) places.push(place);
    });
    return new Piece(texts.join(""), places);
  }
}

function lines(text) {
  const found = [];
  let start = 0;
  for (const line of text.split("\n")) {
    found.push(new Piece(line.replace(/\r$/, ""), Array.from({ length: line.length }, (_, number) => start + number)));
    start += line.length + 1;
  }
  return found;
}

/** Where the characters from `start` to `end` (as Python counts them) lie in a JavaScript string. */
export function unitSpan(text, start, end) {
  let points = 0;
  let from = text.length;
  let to = text.length;
  for (let unit = 0; unit <= text.length; points += 1) {
    if (points === start) from = unit;
    if (points === end) { to = unit; break; }
    unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
  }
  return { start: from, end: to };
}

/** A text as elements; `cite(n)` makes the element of a `[n]`, `mark` is the span of the source to stand out, `core` what of it stands out most. */
export function markdown(text, { cite = null, mark = null, core = mark } = {}) {
  const context = { cite, mark, core, marked: 0 };
  const out = document.createDocumentFragment();
  blocks(lines(text), out, context, 0);
  return out;
}

/** A text as it is, with its span marked. */
export function plainText(text, { mark = null, core = mark } = {}) {
  const out = document.createDocumentFragment();
  const context = { cite: null, mark, core, marked: 0 };
  write(out, new Piece(text, Array.from({ length: text.length }, (_, number) => number)), context);
  return out;
}

/** Text, with what lies in the marked span in a <mark>. */
function write(parent, piece, context) {
  const { mark, core } = context;
  if (!mark) {
    if (piece.text) parent.append(piece.text);
    return;
  }
  const within = (place, span) => place >= span.start && place < span.end;
  const kindAt = (number) => (within(piece.places[number], core) ? "core" : within(piece.places[number], mark) ? "around" : "");
  let from = 0;
  while (from < piece.text.length) {
    const kind = kindAt(from);
    let to = from + 1;
    while (to < piece.text.length && kindAt(to) === kind) to += 1;
    const part = piece.text.slice(from, to);
    parent.append(kind && part.trim() ? h("mark", kind === "around" ? { class: "around" } : context.marked++ ? {} : { id: "cited" }, part) : part);
    from = to;
  }
}

const FENCE = /^ {0,3}(```+|~~~+)/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const ITEM = /^( {0,12})([-*+]|\d{1,9}[.)])(?:[ \t]+|$)/;
const QUOTE = /^ {0,3}> ?/;
const DIVIDER = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const isTable = (all, at) => all[at].text.includes("|") && at + 1 < all.length && all[at + 1].text.includes("-") && all[at + 1].text.length < 2000 && DIVIDER.test(all[at + 1].text);
const begins = (all, at) => {
  const { text } = all[at];
  return !text.trim() || FENCE.test(text) || HEADING.test(text) || RULE.test(text) || ITEM.test(text) || QUOTE.test(text) || isTable(all, at);
};

function blocks(all, out, context, depth) {
  let at = 0;
  while (at < all.length) {
    const { text } = all[at];
    if (!text.trim()) at += 1;
    else if (FENCE.test(text)) at = fence(all, at, out, context);
    else if (HEADING.test(text)) at = heading(all, at, out, context);
    else if (RULE.test(text)) { out.append(h("hr")); at += 1; }
    else if (QUOTE.test(text) && depth < DEEPEST) at = quote(all, at, out, context, depth);
    else if (ITEM.test(text) && depth < DEEPEST) at = list(all, at, out, context, depth);
    else if (isTable(all, at)) at = table(all, at, out, context);
    else at = paragraph(all, at, out, context);
  }
}

function fence(all, at, out, context) {
  const sign = FENCE.exec(all[at].text)[1];
  let end = at + 1;
  while (end < all.length && !all[end].text.trimStart().startsWith(sign)) end += 1;
  const code = h("code");
  write(code, Piece.join(all.slice(at + 1, end)), context);
  out.append(h("pre", { tabindex: "0" }, code));
  return end + 1;
}

function heading(all, at, out, context) {
  const found = HEADING.exec(all[at].text);
  const made = h(`h${Math.min(5, found[1].length + 2)}`);
  inline(all[at].slice(found[0].length).trim(), made, context);
  out.append(made);
  return at + 1;
}

function quote(all, at, out, context, depth) {
  const inner = [];
  for (; at < all.length && QUOTE.test(all[at].text); at += 1) inner.push(all[at].slice(QUOTE.exec(all[at].text)[0].length));
  const made = h("blockquote");
  blocks(inner, made, context, depth + 1);
  out.append(made);
  return at;
}

function list(all, at, out, context, depth) {
  const first = ITEM.exec(all[at].text);
  const ordered = /\d/.test(first[2]);
  const made = h(ordered ? "ol" : "ul", ordered && parseInt(first[2], 10) !== 1 ? { start: parseInt(first[2], 10) } : {});
  while (at < all.length) {
    const found = ITEM.exec(all[at].text);
    if (!found || found[1].length > first[1].length + 1 || found[1].length < first[1].length || /\d/.test(found[2]) !== ordered) break;
    const inner = [all[at].slice(found[0].length)];
    for (at += 1; at < all.length; at += 1) {
      const { text } = all[at];
      const indent = text.length - text.trimStart().length;
      if (!text.trim()) {
        const next = all[at + 1]?.text ?? "";
        if (!next.trim() || next.length - next.trimStart().length <= first[1].length) break;
        inner.push(all[at]);
      } else if (indent > first[1].length) inner.push(all[at].slice(Math.min(indent, found[0].length)));
      else if (begins(all, at)) break;
      else inner.push(all[at]);
    }
    const item = h("li");
    const whole = h("div");
    blocks(inner, whole, context, depth + 1);
    for (const child of [...whole.childNodes]) item.append(...(child.nodeName === "P" && child === whole.firstChild ? [...child.childNodes] : [child]));
    made.append(item);
    while (at < all.length && !all[at].text.trim() && ITEM.test(all[at + 1]?.text ?? "")) at += 1;
  }
  out.append(made);
  return at;
}

function cells(line) {
  const found = [];
  let row = line.trim();
  if (row.text.startsWith("|")) row = row.slice(1);
  let start = 0;
  for (let at = 0; at <= row.text.length; at += 1) {
    if (at === row.text.length ? row.text.slice(start).trim() || !found.length : row.text[at] === "|" && row.text[at - 1] !== "\\") {
      found.push(row.slice(start, at).trim());
      start = at + 1;
    }
  }
  return found;
}

function table(all, at, out, context) {
  const head = cells(all[at]);
  const row = (kind, line) => h("tr", {}, head.map((_, column) => {
    const made = h(kind, kind === "th" ? { scope: "col" } : {});
    if (line[column]) inline(line[column], made, context);
    return made;
  }));
  const rows = [];
  for (at += 2; at < all.length && all[at - 1] && all[at].text.includes("|") && all[at].text.trim(); at += 1) rows.push(all[at]);
  const made = h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, rows.map((line) => row("td", cells(line)))));
  out.append(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, made));
  return at;
}

function paragraph(all, at, out, context) {
  const found = [all[at]];
  for (at += 1; at < all.length && !begins(all, at); at += 1) found.push(all[at]);
  const made = h("p");
  inline(Piece.join(found.map((line) => line.trim())), made, context);
  out.append(made);
  return at;
}

const MARKER = /^\[(\d{1,3}(?:, ?\d{1,3})*)\]/;
const LINK = /^!?\[([^\]\n]{1,300})\]\(([^()\s]{1,1000})\)/;
const SAFE = /^(?:https?:\/\/|mailto:)/i;
const WORD = /[\p{L}\p{N}]/u;

function inline(piece, out, context, depth = 0) {
  const { text } = piece;
  const gone = new Set(); // signs that have no end further on
  let from = 0;
  let at = 0;
  const flush = () => { write(out, piece.slice(from, at), context); };
  while (at < text.length) {
    const sign = text[at];
    let end = -1;
    if (sign === "\\" && /[\\`*_[\]|#>-]/.test(text[at + 1] ?? "")) {
      flush();
      from = at + 1;
      at += 2;
    } else if (sign === "`") {
      const run = /`+/y;
      run.lastIndex = at;
      const ticks = run.exec(text)[0];
      end = gone.has(ticks) ? -1 : codeEnd(text, ticks, at + ticks.length);
      if (end > 0) {
        flush();
        const code = h("code");
        write(code, piece.slice(at + ticks.length, end), context);
        out.append(code);
        from = at = end + ticks.length;
      } else {
        gone.add(ticks);
        at += ticks.length;
      }
    } else if ((sign === "*" || sign === "_") && depth < DEEPEST && (end = emphasis(text, at, gone)) > 0) {
      const double = text[at + 1] === sign;
      flush();
      const made = h(double ? "strong" : "em");
      inline(piece.slice(at + (double ? 2 : 1), end), made, context, depth + 1);
      out.append(made);
      from = at = end + (double ? 2 : 1);
    } else if (sign === "[" || (sign === "!" && text[at + 1] === "[")) {
      const used = bracket(piece, at, out, context, flush);
      if (used) from = at = at + used;
      else at += 1;
    } else {
      at += 1;
    }
  }
  flush();
}

/** Where code ends that as many ticks began; -1 where it does not. */
function codeEnd(text, ticks, from) {
  for (let end = text.indexOf(ticks, from); end >= 0; end = text.indexOf(ticks, end)) {
    let after = end;
    while (text[after] === "`") after += 1;
    if (after - end === ticks.length) return end;
    end = after;
  }
  return -1;
}

/** Where an emphasis that begins here ends; -1 where none does. */
function emphasis(text, at, gone) {
  const sign = text[at];
  const mark = text[at + 1] === sign ? sign + sign : sign;
  const after = text[at + mark.length] ?? " ";
  if (gone.has(mark) || !after.trim() || (sign === "_" && WORD.test(text[at - 1] ?? " "))) return -1;
  for (let end = text.indexOf(mark, at + mark.length + 1); end > 0; end = text.indexOf(mark, end + 1)) {
    const whole = text[end - 1].trim() && (mark.length === 2 || (text[end + 1] !== sign && text[end - 1] !== sign));
    if (whole && !(sign === "_" && WORD.test(text[end + mark.length] ?? " "))) return end;
  }
  gone.add(mark);
  return -1;
}

/** A citation, a link or a picture; how many characters it took, 0 where it is none. */
function bracket(piece, at, out, context, flush) {
  const rest = piece.text.slice(at, at + 1400);
  const marker = MARKER.exec(rest);
  if (marker && context.cite) {
    const made = marker[1].split(",").map((number) => context.cite(parseInt(number, 10)));
    if (made.every(Boolean)) {
      flush();
      out.append(...made);
      return marker[0].length;
    }
  }
  if (context.cite && rest.startsWith("[unsupported]")) {
    flush();
    out.append(h("span", { class: "unsupported", title: "No passage supports this" }, "unsupported"));
    return "[unsupported]".length;
  }
  const link = LINK.exec(rest);
  if (!link) return 0;
  flush();
  const label = piece.slice(at + link[0].indexOf("[") + 1, at + link[0].indexOf("[") + 1 + link[1].length);
  const safe = !link[0].startsWith("!") && SAFE.test(link[2]);
  const made = safe ? h("a", { href: link[2], target: "_blank", rel: "noopener noreferrer nofollow", title: link[2] }) : h("span", { title: link[2] });
  write(made, label, context);
  out.append(made);
  return link[0].length;
}
