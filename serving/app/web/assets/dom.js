// Builds elements. Text goes in as text: nothing here, and nothing on these pages, makes HTML of a string.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes, `on` with listeners, properties of `dataset`; strings among the children become text. */
export function h(name, { on = {}, dataset = {}, ...attributes } = {}, ...children) {
  return filled(document.createElement(name), on, dataset, attributes, children);
}

/** The same for SVG. */
export function svg(name, { on = {}, dataset = {}, ...attributes } = {}, ...children) {
  return filled(document.createElementNS(SVG, name), on, dataset, attributes, children);
}

function filled(made, on, dataset, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  Object.assign(made.dataset, dataset);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const $ = (id) => document.getElementById(id);

const PATHS = {
  up: "M5 8v7H3V8h2Zm2 0 3-6c1.2 0 2 .8 2 2l-.5 3H15c.8 0 1.3.7 1.1 1.5l-1.2 5c-.2.9-.8 1.5-1.7 1.5H7V8Z",
  down: "M5 8V1H3v7h2Zm2 0 3 6c1.2 0 2-.8 2-2l-.5-3H15c.8 0 1.3-.7 1.1-1.5l-1.2-5C14.700 1.600 14.100 1 13.200 1H7v7Z",
  again: "M13 3v4H9l1.600-1.600A4 4 0 1 0 12 9h2a6 6 0 1 1-2-4.500L13 3Z",
  copy: "M6 1h8v10h-2V3H6V1ZM2 5h8v10H2V5Zm2 2v6h4V7H4Z",
  close: "m4 2.600 4 4 4-4L13.400 4l-4 4 4 4-1.400 1.400-4-4-4 4L2.600 12l4-4-4-4L4 2.600Z",
};

/** A small picture beside a word, or on a button that has a label. */
export function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", fill: "currentColor", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** A word in a coloured pill. */
export const chip = (text, kind = "") => h("span", { class: `chip ${kind}` }, text);

/** A line that stands out. */
export const note = (kind, ...children) => h("p", { class: `note ${kind}` }, ...children);

/** Tells a screen reader something. */
export function announce(text) {
  const live = $("live");
  if (!live || !text.trim()) return;
  live.append(h("p", {}, text));
  while (live.childElementCount > 40) live.firstElementChild.remove();
}

/** A question with a form in a dialog; gives what `read` makes of it, or null when it was closed. */
export function ask({ title, fields = [], submit, danger = false, read = () => true }) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    let result = null;
    const heading = h("h2", { id: "dialog-title" }, title);
    const form = h("form", { method: "dialog" }, heading, ...fields, h("div", { class: "ends" },
      h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"),
      h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      result = read(form);
      dialog.close();
    });
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", on: { close: () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(result);
    } } }, form);
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("input, select, textarea") ?? form.querySelector("button")).focus();
  });
}

let labels = 0;

/** A labelled field for a form. */
export function field(label, control, hint = "") {
  control.id ||= `field-${++labels}`;
  const said = hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (said) control.setAttribute("aria-describedby", said.id);
  return h("div", {}, h("label", { for: control.id }, label), control, said);
}
