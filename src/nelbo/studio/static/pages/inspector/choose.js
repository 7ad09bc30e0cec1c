// Runs to choose from, what to colour by, which example to look at.

import { h, set } from "../../core/dom.js";
import { group } from "../../core/controls.js";
import { write } from "../../core/store.js";
import { hasLayer, LAYERS } from "./layers.js";
import { CLASSES, scaleColour } from "./pixels.js";
import { examplesFor } from "./search.js";

/** @import { RunEntry, Slots, Source, Term } from "../../core/types.js" */

/** A labelled drop-down whose options can change. @param {string} label @param {(value: string) => void} onchange */
export function dropDown(label, onchange) {
  const box = h("select", { "aria-label": label, onchange: () => onchange(box.value) });
  const element = h("label", { class: "control select" }, h("span", {}, label), box);
  return {
    element,
    box,
    /** @param {any[][]} options [value, text, disabled?] each @param {string} value */
    show(options, value) {
      box.replaceChildren(...options.map(([key, text, disabled]) => h("option", { value: key, disabled }, text)));
      box.value = value;
    },
  };
}

/** What a run is called in a list. @param {RunEntry} entry */
export function runLabel(entry) {
  const from = typeof entry.checkpoint === "number" ? `: checkpoint after epoch ${entry.checkpoint}` : "";
  const status = entry.status === "finished" || entry.status === "in memory" ? "" : ` (${entry.status}${from})`;
  return `${entry.title}${entry.latent ? `, latent ${entry.latent}` : ""}${status}`;
}

/**
 * The colour of each example's point, by the state's choice.
 * @param {Source} source
 * @param {string} by "label" or a term
 * @returns {(row: number) => string}
 */
export function colouring(source, by) {
  if (by === "label") {
    if (!source.info.label_names) return () => "#6f6f6f";
    if (source.info.label_names.length) return (row) => CLASSES[source.labels[row] % CLASSES.length];
    return scale(source.labels);
  }
  const values = source.terms[by];
  return source.info.is_point && by !== "reconstruction_error" ? () => "#6f6f6f" : scale(values);
}

function scale(values) {
  /** @type {?number[]} */
  let ends = null; // sought when a colour is asked for: of many examples that takes a while
  return (row) => {
    if (!ends) {
      const sorted = Float32Array.from(values).sort();
      ends = [0.02 * sorted.length, 0.98 * (sorted.length - 1)].map((at) => sorted[Math.floor(at)]);
    }
    const [low, high] = ends;
    return `rgb(${scaleColour((values[row] - low) / (high - low || 1))})`;
  };
}

/**
 * What the points of a run can be coloured by, as options of a drop-down.
 * @param {Source} source
 * @returns {string[][]}
 */
export function coloursOf({ info }) {
  const options = [
    ["label", "label", Boolean(info.label_names)],
    ["reconstruction_error", "reconstruction error", true],
    ["kl", "KL", !info.is_point],
    ["nelbo", "total loss", !info.is_point],
  ];
  return options.filter(([, , has]) => has).map(([value, text]) => [String(value), String(text)]);
}

/** The state's choice of a colour, or another where the run has no such thing. @param {Source} source @param {string} wanted */
export function colourOf(source, wanted) {
  const values = coloursOf(source).map(([value]) => value);
  return values.includes(wanted) ? wanted : values.at(-1);
}

/** Switches of the layers, for an array in the state. @param {Slots} slots */
export function layerSwitches(slots) {
  const boxes = Object.entries(LAYERS).map(([name, [label, title]]) => {
    const box = h("input", {
      type: "checkbox",
      "data-layer": name,
      onchange() {
        const shown = new Set(slots.model.get("layers"));
        box.checked ? shown.add(name) : shown.delete(name);
        write(slots.model, { layers: Object.keys(LAYERS).filter((one) => shown.has(one)) });
      },
    });
    return { name, box, element: h("label", { class: "toggle", title }, box, label) };
  });
  const said = h("p", { class: "caption" });
  const show = () => boxes.forEach(({ name, box }) => (box.checked = slots.model.get("layers").includes(name)));
  slots.model.on("change:layers", show);
  show();
  return {
    element: group("Layers", h("div", { class: "toggles" }, ...boxes.map((one) => one.element)), said),
    said,
    /** Offer those that a run has. @param {Source} source */
    refresh: (source) => boxes.forEach(({ name, element }) => (element.hidden = !hasLayer(name, source))),
  };
}

/**
 * Ways to pick an example: by its number, at random, by label, or the one with the most of a term; and to find several.
 * @param {Slots} slots
 * @param {() => ?Source} sourceOf
 * @param {(row: number) => void} pin
 * @param {(text: string) => void} find what is no number
 */
export function pickers(slots, sourceOf, pin, find) {
  const field = h("input", {
    type: "search",
    "aria-label": "Find examples: a number, a class, or a condition",
    placeholder: "number, class or kl > 10",
    maxlength: 80,
  });
  const take = () => {
    const source = sourceOf();
    const text = field.value.trim();
    if (!source) return;
    if (!/^#?\s*[-+]?[\d.]+$/.test(text)) return find(text);
    const wanted = Number(text.replace("#", ""));
    if (!Number.isInteger(wanted) || wanted < 0 || wanted >= source.n) {
      const nearest = Math.min(source.n - 1, Math.max(0, Math.round(wanted) || 0));
      slots.say(`Examples are 0 to ${source.n - 1}; “${text.slice(0, 12)}” is none. Shown: ${nearest}`);
      field.value = String(nearest);
      return pin(nearest);
    }
    pin(wanted);
  };
  field.addEventListener("keydown", (event) => event.key === "Enter" && take());
  field.addEventListener("search", () => field.value === "" && find("")); // its cross was clicked
  const show = () => (field.value = slots.model.get("search"));
  slots.model.on("change:search", show);
  show();
  const label = h("select", {
    "aria-label": "First example of a class",
    onchange: () => label.value && pin(firstOf(sourceOf(), Number(label.value), slots.model.get("pins"))),
  });
  /** @param {string} text @param {Term} term @param {boolean} largest */
  const most = (text, term, largest) =>
    h(
      "button",
      {
        type: "button",
        class: "chip",
        async onclick({ currentTarget }) {
          const source = sourceOf();
          if (!source) return;
          set(currentTarget, { "aria-busy": true });
          const row = await source.loss.extreme(source.info.is_point ? "reconstruction_error" : term, largest);
          currentTarget.removeAttribute("aria-busy");
          if (source === sourceOf()) pin(row);
        },
      },
      text,
    );
  const element = group(
    "Examples",
    h("div", { class: "pick-row" }, field, h("button", { type: "button", class: "quiet", onclick: take }, "Find")),
    h("div", { class: "pick-row" }, label),
    h(
      "div",
      { class: "presets" },
      h(
        "button",
        { type: "button", class: "chip", onclick: () => sourceOf() && pin(Math.floor(Math.random() * sourceOf().n)) },
        "any",
      ),
      most("largest loss", "nelbo", true),
      most("smallest loss", "nelbo", false),
      most("largest KL", "kl", true),
      most("worst reconstruction", "reconstruction_error", true),
    ),
  );
  return {
    element,
    remove: () => slots.model.off("change:search", show),
    /** @param {Source} source */
    refresh(source) {
      field.placeholder = examplesFor(source);
      const names = source.info.label_names ?? [];
      label.hidden = !names.length;
      label.replaceChildren(
        h("option", { value: "" }, "class …"),
        ...names.map((name, i) => h("option", { value: i }, name)),
      );
    },
  };
}

/** @param {Source} source @param {number} label @param {number[]} pins */
function firstOf(source, label, pins) {
  for (let row = 0; row < source.n; row++) if (source.labels[row] === label && !pins.includes(row)) return row;
  return 0;
}
