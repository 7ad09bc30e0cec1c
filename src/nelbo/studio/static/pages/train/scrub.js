// The epoch that all panels show: a slider from the first to the last, and back to the latest.

import { h, set } from "../../core/dom.js";
import { write } from "../../core/store.js";

/**
 * @param {import("../../core/types.js").Model} model its `epoch` is -1 for the latest
 * @param {(epoch: number) => void} goTo
 */
export function scrubber(model, goTo) {
  const range = h("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 1,
    "aria-label": "Epoch shown",
    oninput: () => goTo(Number(range.value)),
  });
  const text = h("output", {});
  const live = h("button", { type: "button", class: "chip", onclick: () => write(model, { epoch: -1 }) }, "latest");
  return {
    element: h("label", { class: "scrub" }, h("span", {}, "epoch"), range, text, live),
    /** @param {?number} epoch null is the latest @param {number} last */
    show(epoch, last) {
      range.max = String(Math.max(1, last));
      range.value = String(epoch ?? last);
      text.textContent = epoch === null ? `${last}` : `${epoch} of ${last}`;
      set(live, { "aria-pressed": epoch === null });
    },
  };
}
