// One example of the data as people look at it: a picture, or bars where it is none.

import { h, s, set } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { drawDifference, drawImage, isImage } from "./pixels.js";

const FEW = 40; // bars that can still be told apart

/**
 * @param {HTMLElement} parent
 * @param {import("../../core/types.js").Source} source
 * @param {string} caption
 * @returns {ExampleView}
 *
 * @typedef {Object} ExampleView
 * @property {HTMLElement} words
 * @property {(text: string) => void} say
 * @property {(values: ArrayLike<number>) => void} show
 * @property {(a: ?ArrayLike<number>, b: ArrayLike<number>) => void} difference lays |a - b| over it, or b beside it; null
 *   takes it away
 */
export function exampleView(parent, source, caption) {
  const event = source.info.event;
  const words = h("figcaption", {}, caption);
  const say = (text) => (words.textContent = text);
  if (isImage(event)) {
    const canvas = h("canvas", { class: "pixels", role: "img", "aria-label": caption });
    const over = h("canvas", { class: "pixels difference", hidden: true, "aria-hidden": "true" });
    parent.append(h("figure", { class: "example" }, h("div", { class: "pix" }, canvas, over), words));
    canvas.style.aspectRatio = over.style.aspectRatio = `${event[2]} / ${event[1]}`;
    return {
      words,
      say,
      show: (values) => drawImage(canvas, values, event, source.range),
      difference(a, b) {
        over.hidden = !a;
        if (a) drawDifference(over, a, b, event, source.range, "#d0400a");
      },
    };
  }
  const bars = s("svg", { class: "bars", role: "img", "aria-label": caption, preserveAspectRatio: "none" });
  const table = h("table", { class: "values" });
  parent.append(
    h(
      "figure",
      { class: "example" },
      bars,
      source.features <= FEW ? h("details", {}, h("summary", {}, "values"), table) : null,
      words,
    ),
  );
  const names = source.info.features ?? Array.from({ length: source.features }, (_, i) => `x${i + 1}`);
  const size = { width: 200, height: 150 };
  set(bars, { viewBox: `0 0 ${size.width} ${size.height}` });
  let against = null;
  let shown = null;
  const draw = () => {
    const [low, high] = [Math.min(0, source.info.range[0]), Math.max(0, source.info.range[1])];
    const y = (v) => 4 + (1 - (Math.min(high, Math.max(low, v)) - low) / (high - low || 1)) * (size.height - 8);
    const wide = size.width / source.features;
    /** @type {SVGElement[]} */
    const parts = [s("line", { x1: 0, x2: size.width, y1: y(0), y2: y(0), class: "axis" })];
    let path = "";
    for (let i = 0; i < source.features; i++) {
      path += `M${(i + 0.1) * wide} ${y(0)}H${(i + 0.9) * wide}V${y(shown[i])}H${(i + 0.1) * wide}Z`;
    }
    parts.push(s("path", { d: path, class: "bar" }));
    if (against && source.features <= 4 * FEW) {
      for (let i = 0; i < source.features; i++)
        parts.push(s("circle", { cx: (i + 0.5) * wide, cy: y(against[i]), r: Math.min(3, wide / 3), class: "input" }));
    }
    bars.replaceChildren(...parts);
    if (source.features > FEW) return;
    table.replaceChildren(
      ...Array.from({ length: source.features }, (_, i) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, names[i]),
          h("td", {}, number(shown[i], 3)),
          against ? h("td", { class: "input" }, number(against[i], 3)) : null,
        ),
      ),
    );
  };
  return {
    words,
    say,
    show(values) {
      shown = values;
      draw();
    },
    difference(a, b) {
      against = a ? b : null;
      if (shown) draw();
    },
  };
}
