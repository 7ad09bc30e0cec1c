// The directions that a latent plane is spanned by: two units, or the two principal components of the means.

const subscript = (i) => [...String(i + 1)].map((c) => "₀₁₂₃₄₅₆₇₈₉"[c]).join("");

/** The name of a latent unit. */
export const axisName = (unit) => `z${subscript(unit)}`;

/** @import { Axes, Code, Model, Source } from "../../core/types.js" */

/** The axes that the state wants of a source. @param {Model} model @param {Source} source @returns {Axes} */
export function axesOf(model, source, own = true) {
  if (model.get("projection") === "principal" && source.info.principal) {
    return {
      asked: "principal",
      w: source.info.principal,
      names: ["first principal component", "second principal component"],
    };
  }
  const chosen = own && model.get("axes").length ? model.get("axes") : source.info.axes;
  const w = chosen.map((axis) => Array.from({ length: source.latent }, (_, d) => Number(d === axis)));
  return { asked: String(chosen) === String(source.info.axes) ? null : chosen, w, names: chosen.map(axisName) };
}

/** @param {Code} a @param {Code} b */
const dot = (a, b) => {
  let sum = 0;
  for (let d = 0; d < a.length; d++) sum += a[d] * b[d];
  return sum;
};

/** A code's coordinates in the plane. @param {number[][]} w @param {Code} z */
export const along = (w, z) => w.map((direction) => dot(direction, z));

/**
 * The code with other coordinates in the plane; across it, it stays where it is.
 * @param {number[][]} w
 * @param {Code} z
 * @param {Code} coordinates
 * @returns {number[]}
 */
export function movedTo(w, z, coordinates) {
  const by = along(w, z).map((now, i) => coordinates[i] - now);
  return Array.from(z, (v, d) => by.reduce((sum, step, i) => sum + step * w[i][d], v));
}

/** A covariance in the plane. @param {number[][]} w @param {number[][]} covariance of the code */
export function acrossPlane(w, covariance) {
  const images = w.map((direction) => covariance.map((row) => dot(row, direction)));
  return w.map((direction) => images.map((image) => dot(direction, image)));
}

/**
 * The covariance with another standard deviation along one direction; what is across it stays.
 * @param {number[]} direction
 * @param {number[][]} covariance
 * @param {number} sd
 */
export function stretchedTo(direction, covariance, sd) {
  const image = covariance.map((row) => dot(row, direction));
  const factor = sd / Math.sqrt(dot(direction, image)) - 1;
  const half = covariance.map((row, r) => row.map((v, c) => v + factor * direction[r] * image[c]));
  return half.map((row) => {
    const by = factor * dot(row, direction);
    return row.map((v, c) => v + by * direction[c]);
  });
}

/** Flat covariance (n x n) as rows. @param {Float32Array} flat @param {number} n */
export const rowsOf = (flat, n) => Array.from({ length: n }, (_, r) => Array.from(flat.subarray(r * n, (r + 1) * n)));
