// Gradients of E_q[f(z)], q = N(mu, sigma^2), by two ways: through the sample (pathwise) and through its density (score).

import { erf } from "../../core/math.js";

const phi = (x) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const Phi = (x) => 0.5 * (1 + erf(x / Math.SQRT2));

/** The x, w, s of "Jensen and the ELBO" at its start. */
export const LINEAR = { x: 1.5, w: 1, s: 0.7 };

/** name -> {title, f, slope, exact(mu, sigma, c): [value, d/dmu, d/dsigma], best(c): a mean with the least value, python} */
export const FUNCTIONS = {
  square: {
    title: "z²",
    f: (z) => z * z,
    slope: (z) => 2 * z,
    exact: (m, s) => [m * m + s * s, 2 * m, 2 * s],
    best: () => 0,
    python: () => "z**2",
  },
  shifted: {
    title: "(z − c)²",
    f: (z, c) => (z - c) ** 2,
    slope: (z, c) => 2 * (z - c),
    exact: (m, s, c) => [(m - c) ** 2 + s * s, 2 * (m - c), 2 * s],
    best: (c) => c,
    python: (c) => `(z - ${c}) ** 2`,
  },
  sine: {
    title: "sin 3z",
    f: (z) => Math.sin(3 * z),
    slope: (z) => 3 * Math.cos(3 * z),
    python: () => "torch.sin(3 * z)",
    best: () => -Math.PI / 6,
    exact: (m, s) =>
      [1, 3, -9 * s].map((k, i) => k * [Math.sin(3 * m), Math.cos(3 * m), Math.sin(3 * m)][i] * Math.exp(-4.5 * s * s)),
  },
  step: {
    title: "step: z > c",
    f: (z, c) => (z > c ? 1 : 0),
    slope: () => 0,
    python: (c) => `(z > ${c}).double() + 0 * z`,
    best: null,
    exact: (m, s, c) => [Phi((m - c) / s), phi((m - c) / s) / s, (-phi((m - c) / s) * (m - c)) / (s * s)],
  },
  elbo: {
    title: "−log p(x, z)",
    f: (z) =>
      0.5 * ((LINEAR.x - LINEAR.w * z) / LINEAR.s) ** 2 + 0.5 * z * z + Math.log(LINEAR.s) + Math.log(2 * Math.PI),
    slope: (z) => (-LINEAR.w * (LINEAR.x - LINEAR.w * z)) / LINEAR.s ** 2 + z,
    best: () => (LINEAR.w * LINEAR.x) / (LINEAR.w ** 2 + LINEAR.s ** 2),
    python: () =>
      `-Normal(${LINEAR.w} * z, ${LINEAR.s}).log_prob(torch.tensor(${LINEAR.x})) - Normal(0.0, 1.0).log_prob(z)`,
    exact: (m, s) => {
      const { x, w, s: noise } = LINEAR;
      const value =
        0.5 * (((x - w * m) ** 2 + w * w * s * s) / noise ** 2 + m * m + s * s) +
        Math.log(noise) +
        Math.log(2 * Math.PI);
      return [value, (-w * (x - w * m)) / noise ** 2 + m, s * ((w / noise) ** 2 + 1)];
    },
  },
};

export const ESTIMATORS = ["pathwise", "score", "baseline"];

/**
 * One gradient for each draw: {pathwise, score, baseline} -> [d/dmu, d/dsigma] arrays. The baseline is the mean of f over
 * the other draws, which keeps the estimator unbiased.
 * @param {import("../../core/types.js").State} state
 * @param {ArrayLike<number>} eps
 */
export function gradients({ fn, mu, sigma, c }, eps) {
  const { f, slope } = FUNCTIONS[fn];
  const count = eps.length;
  const both = () => /** @type {[Float64Array, Float64Array]} */ ([new Float64Array(count), new Float64Array(count)]);
  const made = { pathwise: both(), score: both(), baseline: both() };
  const values = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[i] = f(mu + sigma * eps[i], c);
  for (let i = 0; i < count; i++) {
    const e = eps[i];
    const d = slope(mu + sigma * e, c);
    const others = count > 1 ? (sum - values[i]) / (count - 1) : 0;
    made.pathwise[0][i] = d;
    made.pathwise[1][i] = d * e;
    made.score[0][i] = (values[i] * e) / sigma;
    made.score[1][i] = (values[i] * (e * e - 1)) / sigma;
    made.baseline[0][i] = ((values[i] - others) * e) / sigma;
    made.baseline[1][i] = ((values[i] - others) * (e * e - 1)) / sigma;
  }
  return made;
}

/** f = a (z - b)^2 + k of the functions that are of that kind, as [a, b, k]. */
const QUADRATIC = {
  square: () => [1, 0, 0],
  shifted: (c) => [1, c, 0],
  elbo: () => {
    const best = FUNCTIONS.elbo.best();
    return [0.5 * ((LINEAR.w / LINEAR.s) ** 2 + 1), best, FUNCTIONS.elbo.f(best)];
  },
};

/**
 * The variances of one draw of d/dmu for a quadratic f, from the moments of the normal; null for other f.
 * @param {import("../../core/types.js").State} state
 */
export function variances({ fn, mu, sigma, c }) {
  if (!(fn in QUADRATIC)) return null;
  const [a, b, k] = QUADRATIC[fn](c);
  const m = mu - b;
  const v = sigma * sigma;
  // f = p + q eps + r eps^2
  const [p, q, r] = [a * m * m + k, 2 * a * m * sigma, a * v];
  const score = (p * p + 3 * q * q + 6 * p * r + 15 * r * r) / v - (2 * a * m) ** 2;
  return { pathwise: 4 * a * a * v, score };
}

/** d/dpi of E[(b - 0.45)^2], b ~ Bernoulli(pi), by relaxing b at a temperature. @returns {number[]} one for each draw */
export function relaxed(pi, temperature, random, count) {
  return Array.from({ length: count }, () => {
    const u = random.uniform() || 1e-12;
    const logit = Math.log(pi) - Math.log1p(-pi);
    const b = 1 / (1 + Math.exp(-(logit + Math.log(u) - Math.log1p(-u)) / temperature));
    return (2 * (b - 0.45) * b * (1 - b)) / temperature / (pi * (1 - pi));
  });
}
