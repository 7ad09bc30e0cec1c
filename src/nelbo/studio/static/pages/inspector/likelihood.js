// The likelihoods on top of a decoder's outputs: the mean of p(x|z), and -log p(x|z).

import { softplus } from "../../core/math.js";
import { logGamma } from "../../core/special.js";

/**
 * p(x|z) from a decoder's outputs: its mean, and -log p(x|z) in nats. The families are those of `Likelihood.browser_form`.
 * @param {{family: string, scale?: number|number[]|null}} picture
 */
export function likelihood(picture) {
  const scaleOf = (outputs, i, n) => {
    if (picture.scale === null) return Math.exp(Math.min(20, Math.max(-7, outputs[n + i])));
    return Array.isArray(picture.scale) ? picture.scale[i] : picture.scale;
  };
  const families = {
    bernoulli: { mean: (l) => 1 / (1 + Math.exp(-l)), error: (l, x) => softplus(l) - x * l },
    continuous_bernoulli: {
      mean: (l) => (Math.abs(l) < 1e-2 ? 0.5 + l / 12 : -1 / Math.expm1(-l) - 1 / l),
      error: (l, x) => normalizer(l) - x * l,
    },
    poisson: {
      mean: (r) => Math.exp(Math.min(20, r)),
      error: (r, x) => Math.exp(Math.min(20, r)) - x * Math.min(20, r) + logGamma(x + 1),
    },
    normal: {
      mean: (m) => m,
      error: (m, x, outputs, i, n) => {
        const scale = scaleOf(outputs, i, n);
        return 0.5 * ((x - m) / scale) ** 2 + Math.log(scale) + 0.5 * Math.log(2 * Math.PI);
      },
    },
  };
  const family = families[picture.family];
  const count = (outputs) =>
    picture.family === "normal" && picture.scale === null ? outputs.length / 2 : outputs.length;
  return {
    /** The mean of p(x|z). @returns {Float32Array} */
    mean(outputs) {
      const n = count(outputs);
      const result = new Float32Array(n);
      for (let i = 0; i < n; i++) result[i] = family.mean(outputs[i]);
      return result;
    },
    /** -log p(x|z), nats; its terms, of each feature, are added to `sums` by a weight. */
    error(outputs, x, sums = null, weight = 1) {
      const n = count(outputs);
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const error = family.error(outputs[i], x[i], outputs, i, n);
        sum += error;
        if (sums) sums[i] += weight * error;
      }
      return sum;
    },
  };
}

/** log((exp(l) - 1) / l), the continuous Bernoulli's. */
function normalizer(l) {
  const a = Math.abs(l);
  const tail = a < 1e-2 ? a * (a / 24 - 0.5) : Math.log(-Math.expm1(-a) / a);
  return Math.max(l, 0) + tail;
}
