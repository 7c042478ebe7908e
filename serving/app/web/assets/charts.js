// Charts by hand: SVG elements, each with its numbers in a table beside it.

import { h, svg } from "./dom.js";

const HEIGHT = 176;
const LEFT = 58;
const RIGHT = 6;
const TOP = 8;
const BOTTOM = 20;

/** A round number at or above a value. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function legend(series) {
  return h("ul", { class: "legend" }, series.map((one, number) => h("li", {},
    svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2, class: `c${one.colour ?? number + 1}` })), one.name)));
}

/** A figure that is drawn anew when its width changes. */
function figure({ title, labels, series, format, head }, draw) {
  const plot = h("div", { class: "plot" });
  const table = h("table", {}, h("caption", { class: "unseen" }, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, head), series.map((one) => h("th", { scope: "col", class: "num" }, one.name)))),
    h("tbody", {}, labels.map((label, number) => h("tr", {}, h("th", { scope: "row" }, label), series.map((one) => h("td", { class: "num" }, one.values[number] === null ? "–" : format(one.values[number])))))));
  const made = h("figure", { class: "card" }, h("figcaption", {}, title, series.length > 1 ? legend(series) : null), plot,
    h("details", { class: "inside" }, h("summary", {}, `Numbers of “${title}”`), h("div", { class: "scroll" }, table)));
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (!now || now === width) return;
    width = now;
    plot.replaceChildren(svg("svg", { width, height: HEIGHT, role: "img", "aria-label": `${title}; its numbers are in the table below` }, draw(width)));
  }).observe(plot);
  return made;
}

function frame(width, most, { format, axis = format, labels }) {
  const inner = HEIGHT - TOP - BOTTOM;
  const lines = [0, 0.5, 1].flatMap((part) => {
    const y = TOP + inner * (1 - part);
    return [svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }), svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, axis(most * part))];
  });
  const room = Math.max(2, Math.floor((width - LEFT) / 110));
  const every = Math.max(1, Math.ceil(labels.length / room));
  const step = (width - LEFT - RIGHT) / labels.length;
  const below = labels.flatMap((label, number) => (number % every ? [] : [svg("text", { x: LEFT + step * number, y: HEIGHT - 5 }, label)]));
  return [...lines, ...below];
}

/** Bars that stand on each other, one for each label. */
export function stackedBars(chart) {
  const { labels, series, format } = chart;
  const sums = labels.map((_, number) => series.reduce((sum, one) => sum + (one.values[number] ?? 0), 0));
  const most = ceiling(Math.max(0, ...sums));
  return figure(chart, (width) => {
    const step = (width - LEFT - RIGHT) / labels.length;
    const scale = (HEIGHT - TOP - BOTTOM) / most;
    const bars = labels.map((label, number) => {
      let y = HEIGHT - BOTTOM;
      const parts = series.map((one, order) => {
        const tall = (one.values[number] ?? 0) * scale;
        y -= tall;
        return svg("rect", { class: `c${one.colour ?? order + 1}`, x: LEFT + step * number + step * 0.12, width: step * 0.76, y, height: tall });
      });
      const words = series.map((one) => `${one.name}: ${format(one.values[number] ?? 0)}`).join(", ");
      return svg("g", {}, svg("title", {}, `${label}. ${words}`), svg("rect", { x: LEFT + step * number, y: TOP, width: step, height: HEIGHT - TOP - BOTTOM, fill: "transparent" }), parts);
    });
    return [...frame(width, most, chart), ...bars];
  });
}

/** Lines through the values that are there. */
export function lines(chart) {
  const { labels, series, format } = chart;
  const most = ceiling(Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0))));
  return figure(chart, (width) => {
    const step = (width - LEFT - RIGHT) / labels.length;
    const at = (number, value) => [LEFT + step * (number + 0.5), TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most)];
    const drawn = series.flatMap((one, order) => {
      const colour = `c${one.colour ?? order + 1}`;
      const points = one.values.flatMap((value, number) => (value === null ? [] : [[number, value]]));
      const path = points.map(([number, value], place) => `${place && points[place - 1][0] === number - 1 ? "L" : "M"}${at(number, value).join(" ")}`).join("");
      const dots = points.map(([number, value]) => {
        const [cx, cy] = at(number, value);
        return svg("circle", { class: colour, cx, cy, r: 3 }, svg("title", {}, `${labels[number]}. ${one.name}: ${format(value)}`));
      });
      return [svg("path", { class: `line ${colour}`, d: path }), ...dots];
    });
    return [...frame(width, most, chart), ...drawn];
  });
}

/** Horizontal bars as a table, which it is for everybody. `rows`: name, value, and the cells to show. */
export function bars({ title, head, columns, rows, colour = 1 }) {
  const most = Math.max(...rows.map((row) => row.value), 1e-9);
  const body = rows.length
    ? h("table", { class: "bars" }, h("caption", { class: "unseen" }, title),
      h("thead", { class: "unseen" }, h("tr", {}, [head, "Share", ...columns].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row", title: row.full ?? row.name }, row.name), h("td", {}, bar(row.value / most, row.colour ?? colour)), row.cells.map((cell) => h("td", { class: "num" }, cell))))))
    : h("p", { class: "empty" }, "Nothing yet.");
  return h("figure", { class: "card" }, h("figcaption", {}, title), h("div", { class: "scroll" }, body));
}

/** A bar of a share. */
export function bar(part, colour = 1, start = 0) {
  return svg("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 1000, height: 10 }), svg("rect", { class: `c${colour}`, x: start * 1000, width: Math.max(part * 1000, 4), height: 10 }));
}

/** A table with its head, or words in its place. */
export function table(caption, head, rows, empty, kind = "numbers") {
  if (!rows.length) return h("div", { class: "card" }, h("p", { class: "soft small" }, empty));
  return h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", { class: kind }, h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col", class: name.startsWith("#") ? "num" : "" }, name.replace(/^#/, ""))))),
    h("tbody", {}, rows))));
}
