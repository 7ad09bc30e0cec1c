// q(z|x) from an encoder's outputs, and its KL to a standard normal prior.

import { root } from "./normal.js";

/** @import { Normal } from "../../core/types.js" */

/**
 * The families are those of `Posterior.browser_form`, and a point.
 * @param {{family: string, log_scale?: number[]}} form
 * @param {Float32Array} outputs of the encoder, for one example
 * @param {number} n latent units
 * @returns {Normal}
 */
export function posterior(form, outputs, n) {
  const mean = outputs.slice(0, n);
  const l = Array.from({ length: n }, () => new Array(n).fill(0));
  const inside = (v) => Math.min(form.log_scale[1], Math.max(form.log_scale[0], v));
  if (form.family === "diagonal_normal") for (let d = 0; d < n; d++) l[d][d] = Math.exp(inside(outputs[n + d] / 2));
  if (form.family === "full_covariance_normal") {
    let at = 2 * n;
    for (let r = 0; r < n; r++) {
      l[r][r] = Math.exp(inside(outputs[n + r]));
      for (let c = 0; c < r; c++) l[r][c] = outputs[at++];
    }
  }
  return { mean, root: l };
}

/** A normal by its mean and its covariance. @param {ArrayLike<number>} mean @param {number[][]} covariance @returns {Normal} */
export const normalOf = (mean, covariance) => ({ mean: Float32Array.from(mean), root: root(covariance) });

/** The covariance, flat. @param {Normal} q */
export function covarianceOf({ root: l }) {
  const n = l.length;
  return Float32Array.from({ length: n * n }, (_, i) => {
    const [r, c] = [Math.floor(i / n), i % n];
    return l[r].reduce((sum, v, k) => sum + v * l[c][k], 0);
  });
}

/** KL(q || N(0, I)) in nats; null, for infinite, where q has no extent in some direction. @param {Normal} q @returns {?number} */
export function klToStandardNormal({ mean, root: l }) {
  let kl = 0;
  for (let d = 0; d < l.length; d++) {
    if (!(l[d][d] > 0)) return null;
    const log = Math.log(l[d][d]);
    kl += 0.5 * (mean[d] ** 2 + Math.expm1(2 * log) - 2 * log);
    for (let c = 0; c < d; c++) kl += 0.5 * l[d][c] ** 2;
  }
  return kl;
}
