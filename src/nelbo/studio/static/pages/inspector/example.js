// One picture of the data as people look at it, and what differs from another.

import { h } from "../../core/dom.js";
import { drawDifference, drawErrors, drawImage } from "./pixels.js";

/**
 * @param {HTMLElement} parent
 * @param {import("../../core/types.js").Source} source
 * @param {string} caption
 * @returns {ExampleView}
 *
 * @typedef {Object} ExampleView
 * @property {HTMLElement} element
 * @property {(text: string) => void} say
 * @property {(values: ArrayLike<number>) => void} show
 * @property {(a: ?ArrayLike<number>, b: ArrayLike<number>) => void} difference lays |a - b| over it; null takes it away
 * @property {(errors: ?ArrayLike<number>) => void} heat lays what each pixel costs over it; null takes it away
 */
export function exampleView(parent, source, caption) {
  const event = source.info.event;
  const words = h("figcaption", {}, caption);
  const canvas = h("canvas", { class: "pixels", role: "img", "aria-label": caption });
  const over = h("canvas", { class: "pixels difference", hidden: true, "aria-hidden": "true" });
  const costs = h("canvas", { class: "pixels difference", hidden: true, "aria-hidden": "true" });
  const element = h("figure", { class: "example" }, h("div", { class: "pix" }, canvas, over, costs), words);
  for (const one of [canvas, over, costs]) one.style.aspectRatio = `${event[2]} / ${event[1]}`;
  parent.append(element);
  return {
    element,
    say(text) {
      words.textContent = text;
      canvas.setAttribute("aria-label", text);
    },
    show: (values) => drawImage(canvas, values, event, source.range),
    difference(a, b) {
      over.hidden = !a;
      if (a) drawDifference(over, a, b, event, source.range, "#d0400a");
    },
    heat(errors) {
      costs.hidden = !errors;
      element.classList.toggle("costs", Boolean(errors));
      if (errors) drawErrors(costs, errors, event);
    },
  };
}
