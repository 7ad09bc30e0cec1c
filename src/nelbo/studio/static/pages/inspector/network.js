// Small dense networks and the likelihoods on top of them, computed in the page: a picture takes under a millisecond.

import { floats } from "../../core/store.js";

const ACTIVATIONS = {
  relu: (v) => (v > 0 ? v : 0),
  leaky_relu: (v) => (v > 0 ? v : 0.01 * v),
  tanh: Math.tanh,
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  silu: (v) => v / (1 + Math.exp(-v)),
  elu: (v) => (v > 0 ? v : Math.expm1(v)),
  softplus: (v) => (v > 20 ? v : Math.log1p(Math.exp(v))),
  log1p: Math.log1p,
  gelu: (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)),
};

/**
 * A network from the answer to "inspect.weights".
 * @param {{steps: Array[]}} content steps as ["dense", outputs, inputs] or [activation]
 * @param {DataView[]} buffers weight and bias of each dense step, float32
 * @returns {(input: ArrayLike<number>) => Float32Array} its result is overwritten by the next call
 */
export function network(content, buffers) {
  let next = 0;
  const steps = content.steps.map(([kind, outputs, inputs]) => {
    if (kind !== "dense") return { activate: ACTIVATIONS[kind] };
    return { weight: floats(buffers[next++]), bias: floats(buffers[next++]), out: new Float32Array(outputs), inputs };
  });
  return (input) => {
    let h = Float32Array.from(input); // what is handed in stays as it is
    for (const step of steps) {
      if (step.activate) {
        for (let i = 0; i < h.length; i++) h[i] = step.activate(h[i]);
        continue;
      }
      const { weight, bias, out, inputs } = step;
      for (let o = 0, at = 0; o < out.length; o++) {
        let sum = bias[o];
        for (let i = 0; i < inputs; i++) sum += weight[at++] * h[i];
        out[o] = sum;
      }
      h = out;
    }
    return h;
  };
}

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
      error: (r, x) => Math.exp(Math.min(20, r)) - x * Math.min(20, r) + logFactorial(x),
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
    /** -log p(x|z), nats. */
    error(outputs, x) {
      const n = count(outputs);
      let sum = 0;
      for (let i = 0; i < n; i++) sum += family.error(outputs[i], x[i], outputs, i, n);
      return sum;
    },
  };
}

function softplus(v) {
  return Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
}

/** log((exp(l) - 1) / l), the continuous Bernoulli's. */
function normalizer(l) {
  const a = Math.abs(l);
  const tail = a < 1e-2 ? a * (a / 24 - 0.5) : Math.log(-Math.expm1(-a) / a);
  return Math.max(l, 0) + tail;
}

function logFactorial(n) {
  if (n < 16) {
    let product = 1;
    for (let k = 2; k <= n; k++) product *= k;
    return Math.log(product);
  }
  return (n + 0.5) * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * n) - 1 / (360 * n ** 3);
}

/** Abramowitz & Stegun 7.1.26 has 1e-7, as float32 weights do. */
function erf(v) {
  const t = 1 / (1 + 0.3275911 * Math.abs(v));
  const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(v) * (1 - tail * Math.exp(-v * v));
}

const HERMITE = {
  // nodes and weights for the standard normal
  3: [
    [-Math.sqrt(3), 0, Math.sqrt(3)],
    [1 / 6, 2 / 3, 1 / 6],
  ],
  5: [
    [-2.8569700138728056, -1.3556261799742659, 0, 1.3556261799742659, 2.8569700138728056],
    [0.011257411327720693, 0.2220759220056126, 0.5333333333333333, 0.2220759220056126, 0.011257411327720693],
  ],
};

/**
 * E[f(z)] for z normal in two dimensions (one, if sd has one entry), by Gauss and Hermite.
 * @param {(offsets: number[]) => number} f of the offsets from the mean
 * @param {number[][]} root lower triangular root of the covariance
 */
export function expectation(f, root, nodes) {
  const [at, weight] = HERMITE[nodes];
  let sum = 0;
  if (root.length === 1) {
    at.forEach((a, i) => (sum += weight[i] * f([root[0][0] * a])));
    return sum;
  }
  at.forEach((a, i) =>
    at.forEach((b, j) => (sum += weight[i] * weight[j] * f([root[0][0] * a, root[1][0] * a + root[1][1] * b]))),
  );
  return sum;
}
