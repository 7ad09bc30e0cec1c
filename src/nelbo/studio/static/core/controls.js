// Controls that are twins of what is dragged: both write the same state.

import { coalesced, h, set, tell } from "./dom.js";
import { number } from "./format.js";
import { checked } from "./state.js";
import { write } from "./store.js";

/** @import { Child, Preset, Slots } from "./types.js" */

let count = 0;
const unique = (name) => `nelbo-${name}-${++count}`;

/**
 * A slider and a field for one number of the state.
 * @param {Slots} slots of the page
 * @param {{name: string, label: string, says?: string, log?: boolean, power?: number, step?: number, low?: number, high?: number,
 *   colour?: string}} options
 *   `low`, `high`: of the slider; the field takes what `page.limits` allow; `power`: of the way along it, for a value that
 *   starts at 0 and is set finely there
 */
export function slider(slots, { name, label, says, log = false, power = 1, step = 0.01, low, high, colour = "" }) {
  const { model, page } = slots;
  const limit = page.limits?.[name] ?? [-Infinity, Infinity];
  const from = low ?? limit[0];
  const to = high ?? limit[1];
  const into = log ? Math.log : (v) => v ** (1 / power);
  const back = log ? Math.exp : (v) => v ** power;
  const isBent = log || power !== 1;
  const id = unique(name);
  const range = h("input", {
    type: "range",
    id,
    min: into(from),
    max: into(to),
    step: log ? (into(to) - into(from)) / 400 : power !== 1 ? (into(to) - into(from)) / 400.001 : step, // the end counts
    "data-name": name,
    "aria-label": says ?? label,
    class: colour,
  });
  const field = h("input", {
    type: "text",
    inputmode: "decimal",
    "aria-label": `${says ?? label}, typed`,
    "data-field": name,
    autocomplete: "off",
  });
  const take = (raw) => {
    const [value, note] = checked(page, name, raw);
    if (note) slots.say(note);
    write(model, { [name]: value });
    show();
  };
  range.addEventListener("input", () => {
    const value = back(Number(range.value));
    write(model, {
      [name]: Math.min(limit[1], Math.max(limit[0], isBent ? Number(value.toPrecision(3)) : Number(value.toFixed(6)))),
    });
  });
  field.addEventListener("change", () => take(field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") take(field.value);
  });
  const show = () => {
    const value = model.get(name);
    range.value = String(into(value));
    range.setAttribute("aria-valuetext", number(value));
    if (document.activeElement !== field || Number(field.value) !== value)
      field.value = String(Number(value.toPrecision(6)));
  };
  model.on(`change:${name}`, coalesced(show)); // with the frame: a write in between would cost a layout of its own
  show();
  return h(
    "div",
    { class: `control slider ${colour}`, "data-sym": name },
    h("label", { for: id }, label),
    range,
    field,
  );
}

/**
 * A choice among a few: buttons that exclude each other.
 * @param {Slots} slots
 * @param {{name: string, label: string, options: string[][]}} options [value, text, title?] each
 */
export function choice(slots, { name, label, options }) {
  const { model } = slots;
  const buttons = options.map(([value, text, title]) =>
    h(
      "button",
      { type: "button", role: "radio", "data-value": value, title, onclick: () => write(model, { [name]: value }) },
      text,
    ),
  );
  const element = h("div", { class: "choice", role: "radiogroup", "aria-label": label }, ...buttons);
  element.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = (options.findIndex(([value]) => value === model.get(name)) + by + options.length) % options.length;
    write(model, { [name]: options[next][0] });
    buttons[next].focus();
  });
  const show = () =>
    buttons.forEach((button, i) => {
      const on = options[i][0] === model.get(name);
      set(button, { "aria-checked": on });
      button.tabIndex = on ? 0 : -1;
    });
  model.on(`change:${name}`, show);
  show();
  return element;
}

/**
 * A choice among many.
 * @param {Slots} slots
 * @param {{name: string, label: string, options: string[][], colour?: string}} options [value, text] each
 */
export function select(slots, { name, label, options, colour = "" }) {
  const { model } = slots;
  const id = unique(name);
  const box = h(
    "select",
    { id, "data-name": name, onchange: () => write(model, { [name]: box.value }) },
    ...options.map(([value, text]) => h("option", { value }, text)),
  );
  const show = () => (box.value = model.get(name));
  model.on(`change:${name}`, show);
  show();
  return h("div", { class: `control select ${colour}` }, h("label", { for: id }, label), box);
}

/** A switch for a layer. @param {Slots} slots @param {{name: string, label: string, title?: string}} options */
export function toggle(slots, { name, label, title }) {
  const { model } = slots;
  const box = h("input", {
    type: "checkbox",
    "data-name": name,
    onchange: () => write(model, { [name]: box.checked }),
  });
  const show = () => (box.checked = model.get(name));
  model.on(`change:${name}`, show);
  show();
  return h("label", { class: "toggle", title }, box, label);
}

/** Buttons that load a state; `[` and `]` step through them. @param {Slots} slots @param {Preset[]} presets */
export function presetButtons(slots, presets) {
  slots.presets = presets;
  return h(
    "div",
    { class: "presets", role: "group", "aria-label": "Presets" },
    ...presets.map((preset) =>
      h(
        "button",
        { type: "button", class: "chip", title: preset.title, onclick: () => slots.load(preset.state) },
        preset.name,
      ),
    ),
  );
}

/** A titled group of controls. @param {Child} title @param {...Child} children */
export function group(title, ...children) {
  return h("div", { class: "group" }, h("h2", {}, title), ...children);
}

/**
 * A number card.
 * @param {string} label
 * @param {{colour?: string, title?: string, name?: string}} [options]
 * @returns {{element: HTMLElement, show: (value: string, note?: string) => void}}
 */
export function card(label, { colour = "", title, name } = {}) {
  const value = h("output", { class: "value", "data-number": name });
  const note = h("span", { class: "note-text" });
  const element = h("div", { class: `card ${colour}`, title }, h("span", { class: "label", html: label }), value, note);
  return {
    element,
    show(text, extra = "") {
      tell(value, text);
      tell(note, extra);
    },
  };
}
