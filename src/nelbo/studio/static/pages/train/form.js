// The settings of a new training: fields from Python's signatures, and presets. A value that its field cannot hold
// stays as it was typed, is marked, and no training starts from it.

import { h } from "../../core/dom.js";
import { PAGES } from "../../core/pages.js";
import { ask, write } from "../../core/store.js";
import { expected } from "./pace.js";

const BASE = PAGES.train.defaults.settings;
export const PRESETS = [
  { name: "healthy", title: "a VAE on real digits: both terms do their work", settings: BASE },
  {
    name: "collapse",
    title: "β = 100: the KL costs so much that no information passes",
    settings: { ...BASE, recipe: "beta_vae", beta: 100 },
  },
  {
    name: "β = 0",
    title: "no KL term: codes drift apart, and samples from the prior are garbage",
    settings: { ...BASE, recipe: "beta_vae", beta: 0 },
  },
  {
    name: "warm-up",
    title: "β rises to 1 over the first 10 epochs",
    settings: { ...BASE, recipe: "beta_vae", beta: 1, warm_up: 10 },
  },
  {
    name: "free bits",
    title: "ten units that may each use half a nat at no cost",
    settings: { ...BASE, recipe: "free_bits_vae", floor: 0.5, latent: 10 },
  },
  {
    name: "small and quick",
    title: "8x8 digits, seconds",
    settings: { data: "digits", binarize: "threshold", recipe: "vae", latent: 2, hidden: [64], epochs: 40 },
  },
];
const LABELS = {
  learning_rate: "learning rate",
  batch_size: "batch size",
  warm_up: "β warm-up, epochs",
  floor: "free nats per unit",
  beta: "β",
  hidden: "hidden widths",
  learning_rate_warm_up: "lr warm-up, epochs",
  weight_decay: "weight decay",
  schedule: "lr schedule",
};

/**
 * @param {import("../../core/types.js").Slots} slots
 * @param {(settings: Record<string, any>) => Promise<void>} start
 */
export function settingsForm(slots, start) {
  const { model } = slots;
  const fields = new Map();
  const shown = h("div", { class: "form-fields" });
  const more = h("div", { class: "form-fields" });
  const told = h("p", { class: "caption" });
  const takes = h("p", { class: "caption takes" });
  /** @type {import("../../core/types.js").RunEntry[]} */
  let entries = [];
  const go = h(
    "button",
    {
      type: "button",
      class: "primary",
      "data-do": "start",
      async onclick() {
        const wrong = [...fields.values()].map(({ row }) => row).find((row) => row.refused() && !row.element.hidden);
        if (wrong) {
          wrong.focus();
          return slots.say(wrong.refused());
        }
        go.disabled = true; // one click, one training
        try {
          await start(settings());
        } catch (error) {
          slots.say(error.message);
        } finally {
          go.disabled = false;
        }
      },
    },
    "Start training",
  );
  const presets = h(
    "div",
    { class: "presets", role: "group", "aria-label": "Presets" },
    ...PRESETS.map((preset) =>
      h(
        "button",
        { type: "button", class: "chip", title: preset.title, onclick: () => load(preset.settings) },
        preset.name,
      ),
    ),
  );
  const element = h(
    "div",
    { class: "group train-form" },
    h("h2", {}, "New training"),
    presets,
    shown,
    told,
    h("details", {}, h("summary", {}, "More settings"), more),
    takes,
    go,
  );
  slots.presets = PRESETS.map((preset) => ({ name: preset.name, state: { settings: preset.settings } }));

  const settings = () => model.get("settings");
  function load(next) {
    write(model, { settings: structuredClone(next) });
  }
  function change(name, value) {
    const next = { ...settings() };
    if (value === undefined) delete next[name];
    else next[name] = value;
    write(model, { settings: next });
  }

  async function build() {
    const { content } = await ask(model, "train.form");
    for (const field of content.fields) {
      const row = fieldRow(field, (value) => change(field.name, value));
      fields.set(field.name, { field, row });
      (field.more ? more : shown).append(row.element);
    }
    show();
  }

  function show() {
    const now = settings();
    const recipe = now.recipe ?? "vae";
    for (const { field, row } of fields.values()) {
      row.element.hidden = Boolean(field.recipes && !field.recipes.includes(recipe));
      row.show(now[field.name] ?? field.defaults?.[recipe] ?? field.default, recipe);
    }
    told.textContent = fields.get("recipe")?.field.told[recipe] ?? "";
    showTime();
  }
  const showTime = () => {
    const epochs = fields.get("epochs")?.field;
    takes.textContent = expected({ epochs: epochs?.default, ...settings() }, entries);
  };
  model.on("change:settings", show);
  const built = build().catch((error) => slots.say(error.message));
  /** Take the runs there are, to tell by them how long a training takes. */
  const compare = (listed) => {
    entries = listed;
    showTime();
  };
  return { element, built, compare, remove: () => model.off("change:settings", show) };
}

/** A field: its value goes to `change` where it is one; else the field says why not. */
function fieldRow(field, change) {
  const label = LABELS[field.name] ?? field.name.replaceAll("_", " ");
  let input;
  let shown = null; // the value of the state, as text
  const text = (value) =>
    value === null || value === undefined ? "" : Array.isArray(value) ? value.join(" ") : String(value);
  if (field.kind === "choice") {
    input = h(
      "select",
      { onchange: () => change(input.value === "" ? undefined : input.value) },
      ...field.choices.map((choice) => h("option", { value: choice ?? "" }, choice ?? "none")),
    );
  } else if (field.kind === "flag") {
    input = h("input", { type: "checkbox", onchange: () => change(input.checked) });
  } else {
    const list = field.suggestions && `list-${field.name}`;
    input = h("input", {
      type: "text",
      inputmode: field.kind === "text" ? "text" : "decimal",
      list,
      autocomplete: "off",
      onchange: () => take(),
    });
    if (list)
      input.suggestions = h("datalist", { id: list }, ...field.suggestions.map((value) => h("option", { value })));
  }
  input.dataset.setting = field.name;
  input.setAttribute("aria-label", label);

  const why = h("span", { class: "refused", id: `why-${field.name}`, role: "alert", hidden: true });
  /** @param {string} reason why the value cannot be used; "" where it can */
  const refuse = (reason) => {
    why.textContent = reason;
    why.hidden = !reason;
    input.setAttribute("aria-invalid", String(Boolean(reason)));
    if (reason) input.setAttribute("aria-describedby", why.id);
    else input.removeAttribute("aria-describedby");
  };
  const [low, high] = field.limits ?? [-Infinity, Infinity];
  const range = high >= 2 ** 31 - 1 ? `at least ${low}` : `between ${low} and ${high}`;

  function take() {
    const raw = input.value.trim();
    refuse("");
    if (raw === "") return change(undefined);
    if (field.kind === "text") return change(raw);
    if (field.kind === "widths") {
      const widths = raw.split(/[\s,]+/).map(Number);
      if (widths.every((width) => Number.isInteger(width) && width > 0)) return change(widths);
      return refuse(`${label} must be positive integers such as 400 200, got “${raw.slice(0, 30)}”`);
    }
    const value = Number(raw.replace("−", "-").replace(",", "."));
    const kind = field.kind === "whole" ? "an integer" : "a number";
    const isOne = Number.isFinite(value) && (field.kind !== "whole" || Number.isInteger(value));
    if (!isOne || value < low || value > high)
      return refuse(`${label} must be ${kind}${field.limits ? ` ${range}` : ""}, got “${raw.slice(0, 20)}”`);
    change(value);
    input.value = text(value);
  }
  return {
    element: h(
      "label",
      { class: "control select", title: field.help },
      h("span", {}, label),
      input,
      input.suggestions ?? null,
      why,
    ),
    /** Why its value cannot be used, or "". */
    refused: () => why.textContent,
    focus() {
      const fold = /** @type {?HTMLDetailsElement} */ (input.closest("details"));
      if (fold) fold.open = true;
      input.focus();
    },
    show(value) {
      if (why.textContent && document.activeElement !== input) {
        // another setting changed, or a preset was taken: what was refused stays until its own value is set
        if (text(value) === shown) return;
        refuse("");
      }
      shown = text(value);
      if (field.kind === "flag") input.checked = Boolean(value);
      else if (document.activeElement !== input || field.kind === "choice") input.value = text(value);
    },
  };
}
