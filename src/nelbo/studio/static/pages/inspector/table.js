// Examples as a table, sorted by a term of their loss; a click pins one.

import { ask, floats } from "../../core/store.js";
import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { drawImage, isImage } from "./raster.js";
import { NAMES } from "./numbers.js";
import { TERMS } from "./source.js";

const SHOWN = 12;

/** @param {(row: number) => void} pin */
export function examplesTable(slots, source, pin) {
  const terms = source.info.is_point ? ["reconstruction_error"] : TERMS;
  let by = terms[terms.length - 1];
  let largest = true;
  let start = 0;
  const names = source.info.label_names ?? [];
  const label = h("select", { "aria-label": "Class", onchange: () => ((start = 0), show()) }, h("option", { value: "" }, "all classes"), ...names.map((name, i) => h("option", { value: i }, name)));
  label.hidden = !names.length;
  const body = h("tbody");
  const heads = terms.map((term) => h("th", { scope: "col", "aria-sort": "none" }, h("button", {
    type: "button", class: "sorter",
    onclick() {
      largest = by === term ? !largest : true;
      by = term;
      start = 0;
      show();
    },
  }, NAMES[term])));
  const position = h("span", { class: "caption" });
  const turn = (step) => h("button", { type: "button", class: "quiet", "aria-label": step > 0 ? "Next examples" : "Previous examples", onclick: () => ((start += step * SHOWN), show()) }, step > 0 ? "›" : "‹");
  const element = h("section", { class: "panel" }, h("h2", {}, "Examples by their loss"),
    h("div", { class: "pick-row" }, label, turn(-1), turn(1), position),
    h("div", { class: "scroll" }, h("table", { class: "examples" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "example"), ...heads)), body)));
  let newest = 0;

  async function show() {
    const wanted = label.value === "" ? null : Number(label.value);
    const rows = Array.from({ length: source.n }, (_, i) => i).filter((row) => wanted === null || source.labels[row] === wanted);
    rows.sort((a, b) => (largest ? -1 : 1) * (source.terms[by][a] - source.terms[by][b]) || a - b);
    start = Math.max(0, Math.min(start, Math.floor(Math.max(0, rows.length - 1) / SHOWN) * SHOWN));
    const some = rows.slice(start, start + SHOWN);
    position.textContent = `${start + 1}–${start + some.length} of ${rows.length}`;
    heads.forEach((head, i) => head.setAttribute("aria-sort", terms[i] === by ? (largest ? "descending" : "ascending") : "none"));
    const canvases = some.map(() => [0, 1].map(() => h("canvas", { class: "pixels tiny", "aria-hidden": "true" })));
    body.replaceChildren(...some.map((row, i) => h("tr", {},
      h("td", {}, h("button", { type: "button", class: "quiet example-button", "aria-label": `Pin example ${row}`, onclick: () => pin(row) },
        ...(isImage(source.info.event) ? canvases[i] : []), `${source.className(row) ?? ""} #${row}`)),
      ...terms.map((term) => h("td", {}, nats(source.terms[term][row], slots.model.get("unit")))))));
    if (!isImage(source.info.event) || !some.length) return;
    const mine = ++newest;
    try {
      const { buffers } = await ask(slots.model, "inspect.pictures", { run: source.run, split: source.split, rows: some });
      if (mine !== newest) return;
      const [x, rebuilt] = buffers.map((buffer) => floats(buffer));
      canvases.forEach(([a, b], i) => {
        drawImage(a, x, source.info.event, source.range, i * source.features);
        drawImage(b, rebuilt, source.info.event, source.range, i * source.features);
      });
    } catch {
      canvases.flat().forEach((canvas) => canvas.remove()); // a file without Python
    }
  }
  slots.model.on("change:unit", show);
  show();
  return { element, remove: () => slots.model.off("change:unit", show) };
}
