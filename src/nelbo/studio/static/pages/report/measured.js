// What was measured on a run: a table for each question, with a small bar beside each number.

import { h } from "../../core/dom.js";
import { missingPart, sentence } from "./findings.js";

/** @param {any} report content of measure.json; null where there is none @param {string} missing why there is none */
export function measureParts(report, missing) {
  const heading = h("h2", { class: "report-part" }, "What was measured");
  if (!report) return [heading, missingPart(missing)];
  const facts = Object.entries(report.facts).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]);
  return [
    heading,
    h("dl", { class: "facts" }, ...facts),
    ...report.sections.map((section) =>
      h(
        "section",
        { class: "panel" },
        h("h3", {}, section.title),
        h("p", { class: "caption" }, section.finding),
        table(section),
        ...section.notes.map((note) => h("p", { class: "caption" }, sentence(note))),
      ),
    ),
  ];
}

/**
 * Where the bars of a section's numbers lie, by their unit: from 0, or from the least number, to the largest.
 * @param {any} section
 * @returns {Map<string, [number, number]>}
 */
export function scales(section) {
  const found = new Map();
  for (const { values } of section.rows)
    for (const { value, unit, standard_error: error } of Object.values(values)) {
      if (!Number.isFinite(value)) continue;
      const [low, high] = found.get(unit) ?? [0, 0];
      found.set(unit, [Math.min(low, value - (error ?? 0)), Math.max(high, value + (error ?? 0))]);
    }
  if (found.has("share")) found.set("share", [Math.min(0, found.get("share")[0]), Math.max(1, found.get("share")[1])]);
  return found;
}

/** A number as a bar from 0, with one standard error on each side; nothing where it is infinite. */
function bar({ value, unit, standard_error: error }, scale) {
  const [low, high] = scale.get(unit) ?? [0, 0];
  if (!Number.isFinite(value) || !(high > low)) return null;
  const at = (v) => (100 * (v - low)) / (high - low);
  const from = (a, b) => `left:${Math.min(a, b).toFixed(2)}%;width:${Math.abs(b - a).toFixed(2)}%`;
  return h(
    "div",
    { class: "number-bar", "aria-hidden": "true" },
    h("i", { class: "length", style: from(at(0), at(value)) }),
    error ? h("i", { class: "error", style: from(at(value - error), at(value + error)) }) : null,
    low < 0 ? h("i", { class: "zero", style: `left:${at(0)}%` }) : null,
  );
}

function table(section) {
  if (!section.rows.length) return null;
  const hasTraining = section.rows.some((one) => one.values.training);
  const scale = scales(section);
  const cell = (found) => h("td", {}, ...(found ? [h("span", {}, found.text), bar(found, scale)] : []));
  const heads = ["quantity", "held-out", ...(hasTraining ? ["training"] : [])];
  const lines = section.rows.map((one) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", title: one.meaning }, one.label),
      cell(one.values.held_out),
      hasTraining ? cell(one.values.training) : null,
    ),
  );
  return h(
    "div",
    { class: "scroll", role: "group", tabindex: 0, "aria-label": section.title },
    h(
      "table",
      { class: "measured-table" },
      h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...lines),
    ),
  );
}
