// Examples as a table, sorted by a term of their loss; a click pins one.

import { h, set } from "../../core/dom.js";
import { meanAndError } from "../../core/math.js";
import { write } from "../../core/store.js";
import { NAMES, told } from "./numbers.js";
import { drawImage, isImage } from "./pixels.js";
import { TERMS } from "./terms.js";

/** @import { Slots, Source, Term } from "../../core/types.js" */

const SHOWN = 12;

/**
 * @param {Slots} slots
 * @param {Source} source
 * @param {(row: number) => void} pin
 */
export function examplesTable(slots, source, pin) {
  const { model } = slots;
  const { loss, info } = source;
  /** @type {Term[]} */
  const terms = info.is_point ? ["reconstruction_error"] : TERMS;
  let by = terms[terms.length - 1];
  let largest = true;
  let start = 0;
  /** @type {?number[]} */
  let selected = null; // rows within the lasso, or that were found
  let how = "";
  let newest = 0;
  let gone = false;
  const names = info.label_names ?? [];
  const label = h(
    "select",
    { "aria-label": "Class", onchange: () => restart() },
    h("option", { value: "" }, "all classes"),
    ...names.map((name, i) => h("option", { value: i }, name)),
  );
  label.hidden = !names.length;
  const body = h("tbody");
  const sorter = (term) =>
    h(
      "button",
      {
        type: "button",
        class: "sorter",
        onclick() {
          largest = by === term ? !largest : true;
          by = term;
          restart();
        },
      },
      NAMES[term],
    );
  const heads = terms.map((term) => h("th", { scope: "col", "aria-sort": "none" }, sorter(term)));
  const position = h("span", { class: "caption" });
  const means = h("p", { class: "caption", "data-selection": "", hidden: true });
  const all = h(
    "button",
    { type: "button", class: "chip", hidden: true, onclick: () => write(model, { lasso: [], search: "" }) },
    "All examples",
  );
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
  const head = h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "example"), ...heads));
  const table = h("table", { class: "examples" }, head, body);
  const element = h(
    "section",
    { class: "panel" },
    h("h2", {}, "Examples by their loss"),
    h("div", { class: "pick-row" }, label, turn(-1), turn(1), position, all),
    means,
    h("div", { class: "scroll" }, table),
  );
  const restart = () => {
    start = 0;
    show();
  };

  /** In the order as far as it is known, and once more when those in front were looked at closely. */
  async function show() {
    const mine = ++newest;
    const wanted = label.value === "" ? null : Number(label.value);
    const all_ = selected ?? Array.from({ length: source.n }, (_, i) => i);
    const rows = wanted === null ? [...all_] : all_.filter((row) => source.labels[row] === wanted);
    start = Math.max(0, Math.min(start, Math.floor(Math.max(0, rows.length - 1) / SHOWN) * SHOWN));
    draw(loss.sort(rows, by, largest, start + SHOWN));
    fill();
    set(table, { "aria-busy": true });
    if (rows.slice(0, start + SHOWN).some(loss.isRough)) position.textContent += ", being looked at more closely …";
    await loss.ranked(rows, by, largest, start + SHOWN, () => mine === newest && !gone);
    if (mine !== newest || gone) return;
    set(table, { "aria-busy": false });
    draw(rows);
    fill();
  }

  let drawn = { rows: [], cells: [] };
  function draw(rows) {
    const some = rows.slice(start, start + SHOWN);
    position.textContent = rows.length
      ? `${start + 1}–${start + some.length} of ${rows.length.toLocaleString("en")}${selected ? ` ${how}` : ""}`
      : "none";
    all.hidden = means.hidden = !selected;
    means.textContent = selected && rows.length ? meansOf(rows) : "";
    heads.forEach((one, i) =>
      one.setAttribute("aria-sort", terms[i] === by ? (largest ? "descending" : "ascending") : "none"),
    );
    const focused = body.querySelector(":focus")?.getAttribute("data-pin");
    const cells = some.map((row) => terms.map((term) => h("td", { "data-cell": `${row} ${term}` })));
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
                "data-pin": row,
                onclick: () => pin(row),
              },
              ...(isImage(info.event) ? pictures(row) : []),
              `${source.className(row) ?? ""} #${row}`,
            ),
          ),
          ...cells[i],
        ),
      ),
    );
    if (focused) /** @type {?HTMLElement} */ (body.querySelector(`[data-pin="${focused}"]`))?.focus();
    drawn = { rows: some, cells };
    tellNumbers();
  }

  function tellNumbers() {
    const unit = model.get("unit");
    drawn.rows.forEach((row, i) =>
      terms.forEach(
        (term, k) => (drawn.cells[i][k].textContent = told(loss.values[term][row], loss.errors[term][row], unit)),
      ),
    );
  }

  function meansOf(rows) {
    const unit = model.get("unit");
    const each = terms.map((term) => `${NAMES[term]} ${told(...meanOf(rows, loss.values[term]), unit)}`);
    return `Their means: ${each.join(", ")} ${unit}.`;
  }

  /** @type {Map<number, HTMLCanvasElement[]>} */
  const known = new Map(); // input and reconstruction of the rows that were shown
  function pictures(row) {
    if (!known.has(row))
      known.set(
        row,
        [0, 1].map(() => h("canvas", { class: "pixels tiny", "aria-hidden": "true" })),
      );
    return known.get(row);
  }

  async function fill() {
    const some = drawn.rows;
    if (!isImage(info.event) || !some.length) return;
    try {
      const pairs = await source.glance(some);
      some.forEach((row, i) =>
        pictures(row).forEach((canvas, k) => drawImage(canvas, pairs[i][k], info.event, source.range)),
      );
    } catch {
      some.flatMap(pictures).forEach((canvas) => canvas.remove()); // a file without Python
    }
  }

  model.on("change:unit", show);
  const leaveTerms = loss.listen(tellNumbers);
  show();
  return {
    element,
    /** Show some examples only; null is all. @param {?number[]} rows @param {string} [words] how they were chosen */
    select(rows, words = "") {
      if (!rows && !selected) return;
      [selected, how] = [rows, words];
      restart();
    },
    remove() {
      gone = true;
      leaveTerms();
      model.off("change:unit", show);
    },
  };
}

/** Mean over some examples and its standard error. @returns {[number, number]} */
function meanOf(rows, values) {
  const { mean, error } = meanAndError(rows, (row) => values[row]);
  return [mean, rows.length > 1 ? error : 0];
}
