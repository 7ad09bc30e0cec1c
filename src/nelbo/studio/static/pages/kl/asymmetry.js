// KL(p || q) - KL(q || p) of two distributions of one family of location and scale, over the distance d of their places
// in units of the geometric mean of their widths, and the log ratio t of the widths.

import { cauchyKL, laplaceKL } from "../../core/families.js";
import { klAsymmetry } from "../../core/math.js";
import { logGammaHalfStep } from "../../core/special.js";

/** @typedef {(d: number, t: number) => number} Asymmetry */

const STEP = 0.1;

/** Student's: log(1 + z^2/nu) averaged over draws, by the trapezoid rule in u, x = sinh u. @returns {Asymmetry} */
function ofStudent(nu) {
  const far = Math.asinh(Math.sqrt(nu) * 10 ** (4 / nu));
  const count = Math.ceil(far / STEP);
  const top = logGammaHalfStep(nu / 2) - 0.5 * Math.log(nu * Math.PI);
  const nodes = Array.from({ length: 2 * count + 1 }, (_, i) => Math.sinh((i - count) * STEP));
  const weights = nodes.map((x) => STEP * Math.hypot(1, x) * Math.exp(top - 0.5 * (nu + 1) * Math.log1p((x * x) / nu)));
  const mean = (place, width) =>
    nodes.reduce((sum, x, i) => sum + weights[i] * Math.log1p((place + width * x) ** 2 / nu), 0);
  // the means of log p over p and of log q over q are equal, and cancel
  return (d, t) => {
    const [wide, narrow] = [Math.exp(t / 2), Math.exp(-t / 2)];
    return 0.5 * (nu + 1) * (mean(d / narrow, wide / narrow) - mean(d / wide, narrow / wide)) - 2 * t;
  };
}

/** Bilinear between the points of a coarse grid of the corner d >= 0, t >= 0; odd in t, even in d. @returns {Asymmetry} */
function between(f, [width, height], [columns, rows]) {
  const values = Array.from({ length: columns + 1 }, (_, i) =>
    Array.from({ length: rows + 1 }, (__, j) => f((width * i) / columns, (height * j) / rows)),
  );
  return (d, t) => {
    const [x, y] = [(Math.abs(d) / width) * columns, (Math.abs(t) / height) * rows];
    const [i, j] = [Math.min(columns - 1, Math.floor(x)), Math.min(rows - 1, Math.floor(y))];
    const [a, b] = [x - i, y - j];
    const low = values[i][j] * (1 - a) + values[i + 1][j] * a;
    const high = values[i][j + 1] * (1 - a) + values[i + 1][j + 1] * a;
    return Math.sign(t) * (low * (1 - b) + high * b);
  };
}

/**
 * @param {string} family
 * @param {number} nu of Student's
 * @param {[number, number]} size largest d and t asked for
 * @returns {Asymmetry}
 */
export function asymmetry(family, nu, size) {
  const difference = (kl) => (d, t) => {
    const [wide, narrow] = [Math.exp(t / 2), Math.exp(-t / 2)];
    return kl(d, wide, 0, narrow) - kl(0, narrow, d, wide);
  };
  if (family === "normal") return (d, t) => klAsymmetry(d, Math.exp(t / 2), 0, Math.exp(-t / 2));
  if (family === "laplace") return difference(laplaceKL);
  if (family === "cauchy" || nu === 1) return difference(cauchyKL);
  return between(ofStudent(nu), size, [24, 18]);
}

/** Where KL is the same both ways, in words, and why. */
export const ZERO = {
  normal:
    "KL(p‖q) − KL(q‖p) = (sinh 2t − 2t) + δ² sinh t: both terms have the sign of t, so it is 0 exactly where σp = σq.",
  laplace: "0 exactly where bp = bq: at δ = 0 it is 2 sinh t − 2t, which has the sign of t, and it only grows with δ.",
  cauchy: "0 everywhere: KL = log(((γp + γq)² + Δµ²) / (4 γp γq)) stays the same when p and q trade places.",
  exponential:
    "Two exponentials: with s = ln of rate q over rate p it is 2 sinh s − 2s, which is 0 only where the rates are equal.",
  bernoulli:
    "Two coins: it is 0 where they are equal, and where one is the other turned over, P(1) of p + P(1) of q = 1.",
  poisson: "Two Poissons: it is (λp + λq) ln(λp/λq) − 2 (λp − λq), which is 0 only where the rates are equal.",
};

/** Student's zero set, for its degrees of freedom. */
export const ofDegrees = (nu) =>
  nu === 1
    ? `Student’s t with ν = 1 is Cauchy’s: ${ZERO.cauchy}`
    : `0 where σp = σq, by reflection, and nowhere else on this map (computed). For ν ${nu < 1 ? "below 1 the direction that averages over the narrower one is the larger" : "above 1 the direction that averages over the wider one is the larger; at ν = 1, Cauchy’s, they are equal everywhere"}.`;
