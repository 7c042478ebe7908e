// Numbers, money and times in words.

const COUNT = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const count = (value) => COUNT.format(value);
export const percent = (share, digits = 0) => `${(share * 100).toFixed(digits)} %`;
export const share = (part, whole) => (whole ? percent(part / whole, part && part / whole < 0.1 ? 1 : 0) : "–");

export function usd(value, simulated = false) {
  if (value === null || value === undefined) return "–";
  const digits = value === 0 || value >= 1 ? 2 : value >= 0.01 ? 3 : 6;
  return `$${value.toFixed(digits)}${simulated ? " (simulated)" : ""}`;
}

/** Money on an axis: no more digits than it needs. */
export const roundUsd = (value) => `$${Number(value.toPrecision(2)).toFixed(12).replace(/\.?0+$/, "")}`;

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 ms";
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return value >= 100 ? `${Math.round(value)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return `${value} B`;
  return value < 1_000_000 ? `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)} kB` : `${(value / 1_000_000).toFixed(1)} MB`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
export const clock = (text) => CLOCK.format(new Date(text));

export function time(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text || "–" : TIME.format(at);
}

/** How a digest is shown where there is little room. */
export const short = (digest) => (digest ? digest.slice(0, 8) : "–");
/** Why a file was not taken, as a sentence: it may come without the file's name, or with that of the field. */
export const fileReason = (text) => (text ?? "").replace(/^(file: )?(is|has|holds|cannot|was) /, "This file $2 ");
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
