// One example under the model at a place of the series: original, reconstruction, and the three numbers of its loss.

import { h, tell } from "../../core/dom.js";
import { nats, number } from "../../core/format.js";
import { FEW, namesOf } from "../inspector/columns.js";
import { COLOURS, NAMES, told } from "../inspector/numbers.js";
import { drawImage, isImage } from "../inspector/pixels.js";
import { TERMS } from "../inspector/terms.js";
import { between, mixed, mixedInto } from "./along.js";
import { nameOf } from "./series.js";

/** @import { Opened, Seen } from "./series.js" */

/**
 * @param {HTMLElement} parent
 * @param {Opened} series
 * @param {() => string} unit
 */
export function exampleView(parent, series, unit) {
  const [first] = series.sources;
  const picture = isImage(first.info.event);
  const title = h("h2", {});
  const caption = h("figcaption", {});
  const side = (words) => {
    const canvas = h("canvas", { class: "pixels", role: "img" });
    const [, height, width] = first.info.event;
    if (picture) canvas.style.aspectRatio = `${width} / ${height}`;
    return { canvas, element: h("figure", { class: "example" }, h("div", { class: "pix" }, canvas), words) };
  };
  const [original, rebuilt] = [side(h("figcaption", {}, "original x")), side(caption)];
  const body = h("tbody");
  const heads = ["column", "x", "reconstruction"].map((text) => h("th", { scope: "col" }, text));
  const table = h("table", { class: "columns-of" }, h("thead", {}, h("tr", {}, heads)), body);
  const terms = TERMS.map((term) => {
    const value = h("output", { class: "value", "data-term": term });
    const label = term === "nelbo" ? "= total loss" : `${term === "kl" ? "+ " : ""}${NAMES[term]}`;
    const element = h("div", { class: `term ${COLOURS[term]}` }, h("span", { class: "label" }, label), value);
    return { term, value, element };
  });
  const note = h("p", { class: "terms-note" });
  parent.append(
    h(
      "section",
      { class: `beta-example ${picture ? "" : "of-values"}` },
      title,
      ...(picture ? [original.element, rebuilt.element] : [h("div", { class: "scroll" }, table)]),
      h("div", { class: "terms" }, ...terms.map(({ element }) => element), note),
    ),
  );
  const blend = new Float32Array(first.features);

  /** @param {number} at @param {Seen[]} seen @param {number} row */
  function draw(at, seen, row) {
    const { i, t } = between(seen.length, at);
    const name = first.className(row);
    tell(title, name === null ? `Example ${row}` : `${name}, example ${row}`);
    const x = seen[0].example.x;
    const words = t === 0 ? `reconstruction, ${nameOf(series.entries[i])}` : "between two reconstructions";
    tell(caption, words);
    mixedInto(
      seen.map(({ example }) => example.reconstruction),
      at,
      blend,
    );
    if (picture) {
      drawImage(original.canvas, x, first.info.event, first.range);
      drawImage(rebuilt.canvas, blend, first.info.event, first.range);
      original.canvas.setAttribute("aria-label", "original x");
      rebuilt.canvas.setAttribute("aria-label", words);
    } else drawTable(x);
    for (const { term, value } of terms) tell(value, textOf(term, seen, i, t, at));
    const isPoint = seen[i].example.kl === null;
    const between_ = `≈: between ${nameOf(series.entries[i])} and ${nameOf(series.entries[Math.min(i + 1, seen.length - 1)])}; no model was trained here.`;
    tell(
      note,
      t > 0
        ? between_
        : isPoint
          ? "q(z|x) is a point: its KL to the prior is infinite."
          : `Averaged over ${seen[i].example.draws.toLocaleString("en")} draws of z.`,
    );
  }

  function textOf(term, seen, i, t, at) {
    const { example } = seen[i];
    if (t === 0) return example[term] === null ? "∞" : told(example[term], example.standard_errors[term], unit());
    const values = seen.map((one) => one.example[term] ?? Infinity);
    return Number.isFinite(mixed(values, at)) ? `≈ ${nats(mixed(values, at), unit())}` : "∞";
  }

  function drawTable(x) {
    const names = namesOf(first).slice(0, FEW);
    body.replaceChildren(
      ...names.map((name, k) =>
        h(
          "tr",
          {},
          h("th", { scope: "row", title: name }, name),
          h("td", {}, number(x[k], 3)),
          h("td", {}, number(blend[k], 3)),
        ),
      ),
    );
  }
  return { draw };
}
