// The colours of all points of a run at once, by a label, a term of the loss, or what a search found.

import { CLASSES, scaleColour } from "./pixels.js";
import { channels } from "../../core/raster.js";

/** @import { Source, Term } from "../../core/types.js" */
/** @import { Inks } from "./cloud.js" */

const GREY = [111, 111, 111];
const STEPS = 128; // colours of a scale

/**
 * @param {Source} source
 * @param {string} by "label" or a term
 * @param {?Uint8Array} [found] 1 for the rows that stand out
 * @returns {Inks}
 */
export function inksOf(source, by, found = null) {
  const { info, labels, n } = source;
  if (by === "label" && info.label_names?.length) {
    return { of: Uint8Array.from(labels, (label) => label % CLASSES.length), palette: CLASSES.map(channels), found };
  }
  const isPlain = by === "label" ? !info.label_names : info.is_point && by !== "reconstruction_error";
  if (isPlain) return { of: new Uint8Array(n), palette: [GREY], found };
  const values = by === "label" ? labels : source.loss.values[by];
  const sorted = by === "label" ? Float32Array.from(labels).sort() : null;
  const [low, high] = [0.02, 0.98].map((share) =>
    sorted ? sorted[Math.floor(share * (n - 1))] : source.loss.quantile(/** @type {Term} */ (by), share),
  );
  const palette = Array.from({ length: STEPS }, (_, i) => scaleColour(i / (STEPS - 1)));
  const step = (STEPS - 1) / (high - low || 1);
  const of = new Uint8Array(n);
  for (let row = 0; row < n; row++) of[row] = Math.min(STEPS - 1, Math.max(0, Math.round((values[row] - low) * step)));
  return { of, palette, found };
}
