// The colours of all points of a run at once, by a label, a term of the loss, or what a search found.

import { CLASSES, scaleColour } from "./pixels.js";
import { channels } from "../../core/raster.js";

/** @import { Source } from "../../core/types.js" */
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
  const sorted = Float32Array.from(values).sort();
  const [low, high] = [sorted[Math.floor(0.02 * sorted.length)], sorted[Math.floor(0.98 * (sorted.length - 1))]];
  const palette = Array.from({ length: STEPS }, (_, i) => scaleColour(i / (STEPS - 1)));
  const step = (STEPS - 1) / (high - low || 1);
  const of = Uint8Array.from(values, (v) => Math.min(STEPS - 1, Math.max(0, Math.round((v - low) * step))));
  return { of, palette, found };
}
