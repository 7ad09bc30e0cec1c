// Examples as a table, sorted by a term of their loss; a click pins one.

import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { drawImage, isImage } from "./pixels.js";
import { write } from "../../core/store.js";
import { NAMES } from "./numbers.js";
import { TERMS } from "./source.js";

const SHOWN = 12;

/**
 * @param {import("../../core/types.js").Slots} slots
 * @param {import("../../core/types.js").Source} source
 * @param {(row: number) => void} pin
 */
export function examplesTable(slots, source, pin) {
  const terms = source.info.is_point ? ["reconstruction_error"] : TERMS;
  let by = terms[terms.length - 1];
  let largest = true;
  let start = 0;
  const names = source.info.label_names ?? [];
  const label = h(
    "select",
    { "aria-label": "Class", onchange: () => ((start = 0), show()) },
    h("option", { value: "" }, "all classes"),
    ...names.map((name, i) => h("option", { value: i }, name)),
  );
  label.hidden = !names.length;
  const body = h("tbody");
  const heads = terms.map((term) =>
    h(
      "th",
      { scope: "col", "aria-sort": "none" },
      h(
        "button",
        {
          type: "button",
          class: "sorter",
          onclick() {
            largest = by === term ? !largest : true;
            by = term;
            start = 0;
            show();
          },
        },
        NAMES[term],
      ),
    ),
  );
  const position = h("span", { class: "caption" });
  const means = h("p", { class: "caption", "data-selection": "", hidden: true });
  const all = h(
    "button",
    { type: "button", class: "chip", hidden: true, onclick: () => write(slots.model, { lasso: [] }) },
    "All examples",
  );
  let selected = null; // rows within the lasso
  const turn = (step) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": step > 0 ? "Next examples" : "Previous examples",
        onclick: () => ((start += step * SHOWN), show()),
      },
      step > 0 ? "›" : "‹",
    );
  const element = h(
    "section",
    { class: "panel" },
    h("h2", {}, "Examples by their loss"),
    h("div", { class: "pick-row" }, label, turn(-1), turn(1), position, all),
    means,
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "examples" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "example"), ...heads)),
        body,
      ),
    ),
  );
  let newest = 0;

  async function show() {
    const wanted = label.value === "" ? null : Number(label.value);
    const rows = (selected ?? Array.from({ length: source.n }, (_, i) => i)).filter(
      (row) => wanted === null || source.labels[row] === wanted,
    );
    rows.sort((a, b) => (largest ? -1 : 1) * (source.terms[by][a] - source.terms[by][b]) || a - b);
    start = Math.max(0, Math.min(start, Math.floor(Math.max(0, rows.length - 1) / SHOWN) * SHOWN));
    const some = rows.slice(start, start + SHOWN);
    position.textContent = rows.length
      ? `${start + 1}–${start + some.length} of ${rows.length}${selected ? " in the lasso" : ""}`
      : "none";
    all.hidden = means.hidden = !selected;
    if (selected && rows.length)
      means.textContent = `Their means: ${terms.map((term) => `${NAMES[term]} ${nats(mean(rows, source.terms[term]), slots.model.get("unit"))}`).join(", ")} ${slots.model.get("unit")}.`;
    else means.textContent = "";
    heads.forEach((head, i) =>
      head.setAttribute("aria-sort", terms[i] === by ? (largest ? "descending" : "ascending") : "none"),
    );
    const canvases = some.map(() => [0, 1].map(() => h("canvas", { class: "pixels tiny", "aria-hidden": "true" })));
    body.replaceChildren(
      ...some.map((row, i) =>
        h(
          "tr",
          {},
          h(
            "td",
            {},
            h(
              "button",
              {
                type: "button",
                class: "quiet example-button",
                "aria-label": `${source.className(row) ?? ""} #${row}: pin this example`.trim(),
                onclick: () => pin(row),
              },
              ...(isImage(source.info.event) ? canvases[i] : []),
              `${source.className(row) ?? ""} #${row}`,
            ),
          ),
          ...terms.map((term) => h("td", {}, nats(source.terms[term][row], slots.model.get("unit")))),
        ),
      ),
    );
    if (!isImage(source.info.event) || !some.length) return;
    const mine = ++newest;
    try {
      const pairs = await source.glance(some);
      if (mine !== newest) return;
      canvases.forEach((pair, i) =>
        pair.forEach((canvas, k) => drawImage(canvas, pairs[i][k], source.info.event, source.range)),
      );
    } catch {
      canvases.flat().forEach((canvas) => canvas.remove()); // a file without Python
    }
  }
  slots.model.on("change:unit", show);
  show();
  const select = (rows) => {
    if (!rows && !selected) return;
    selected = rows;
    start = 0;
    show();
  };
  return { element, select, remove: () => slots.model.off("change:unit", show) };
}

const mean = (rows, values) => rows.reduce((sum, row) => sum + values[row], 0) / rows.length;
