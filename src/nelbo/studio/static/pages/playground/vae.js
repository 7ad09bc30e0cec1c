// A small VAE in plain JavaScript: its loss, every gradient of it, and Adam. The tests hold each number to torch's.

import { softplus } from "../../core/math.js";

const [LOG_SCALE_MIN, LOG_SCALE_MAX] = [-10, 10]; // as nelbo.posteriors has them

/** @typedef {{inputs: number, outputs: number, weight: number, bias: number}} Layer where a layer's numbers begin */
/** @typedef {{reconstruction: number, kl: number}} TermsOf means over examples, nats */

/**
 * Dense layers as those of nelbo.recipes.vae: features, hidden, (µ, log σ²) and latent, hidden, logits of the features.
 * All weights lie in one array, in the order of the model's parameters in Python.
 * @param {{features: number, hidden: number, latent: number}} sizes
 */
export function vae({ features, hidden, latent }) {
  let count = 0;
  /** @returns {Layer} */
  const layer = (inputs, outputs) => {
    const one = { inputs, outputs, weight: count, bias: count + inputs * outputs };
    count += (inputs + 1) * outputs;
    return one;
  };
  const layers = [layer(features, hidden), layer(hidden, 2 * latent), layer(latent, hidden), layer(hidden, features)];
  const [e1, e2, d1, d2] = layers;
  // of the example under way
  const [he, out, hd, logits] = [hidden, 2 * latent, hidden, features].map((n) => new Float64Array(n));
  const [z, sigma] = [latent, latent].map((n) => new Float64Array(n));
  const [dLogits, dHd, dz, dOut, dHe] = [features, hidden, latent, 2 * latent, hidden].map((n) => new Float64Array(n));

  /** µ and log σ² of q(z|x) into `out`, σ into `sigma`. */
  function encode(w, x, start) {
    dense(w, e1, x, start, he);
    rectify(he);
    dense(w, e2, he, 0, out);
    for (let k = 0; k < latent; k++)
      sigma[k] = Math.exp(Math.min(LOG_SCALE_MAX, Math.max(LOG_SCALE_MIN, 0.5 * out[latent + k])));
  }
  /** The logits of p(x|z) into `logits`. */
  function decode(w, code, start) {
    dense(w, d1, code, start, hd);
    rectify(hd);
    dense(w, d2, hd, 0, logits);
  }
  /** -log p(x|z), nats, of the logits at hand. */
  function error(x, start) {
    let sum = 0;
    for (let i = 0; i < features; i++) sum += softplus(logits[i]) - x[start + i] * logits[i];
    return sum;
  }
  /** KL(q(z|x) || N(0, 1)) of one unit. */
  const klOf = (k) => 0.5 * (out[k] ** 2 + sigma[k] ** 2 - 1) - Math.log(sigma[k]);

  /** Add one example's gradient of error + beta KL, times `share`. */
  function backward(w, gradient, x, start, eps, at, beta, share) {
    for (let i = 0; i < features; i++) dLogits[i] = share * (1 / (1 + Math.exp(-logits[i])) - x[start + i]);
    back(w, gradient, d2, hd, 0, dLogits, dHd);
    blocked(dHd, hd);
    back(w, gradient, d1, z, 0, dHd, dz);
    for (let k = 0; k < latent; k++) {
      const half = 0.5 * out[latent + k];
      const isFree = half >= LOG_SCALE_MIN && half <= LOG_SCALE_MAX;
      dOut[k] = dz[k] + share * beta * out[k];
      dOut[latent + k] = isFree ? 0.5 * (dz[k] * eps[at + k] * sigma[k] + share * beta * (sigma[k] ** 2 - 1)) : 0;
    }
    back(w, gradient, e2, he, 0, dOut, dHe);
    blocked(dHe, he);
    back(w, gradient, e1, x, start, dHe, null);
  }

  /**
   * Both terms over a batch, and, where `gradient` is given, the gradient of their sum with KL times beta.
   * @param {Float64Array} w
   * @param {Float64Array} x examples one after the other
   * @param {ArrayLike<number>} rows which of them
   * @param {Float64Array} eps standard normal noise, latent numbers for each of the rows
   * @param {number} beta
   * @param {?Float64Array} [gradient] is overwritten
   * @returns {TermsOf}
   */
  function loss(w, x, rows, eps, beta, gradient = null) {
    gradient?.fill(0);
    let [reconstruction, kl] = [0, 0];
    for (let r = 0; r < rows.length; r++) {
      const start = rows[r] * features;
      encode(w, x, start);
      for (let k = 0; k < latent; k++) {
        z[k] = out[k] + sigma[k] * eps[r * latent + k];
        kl += klOf(k);
      }
      decode(w, z, 0);
      reconstruction += error(x, start);
      if (gradient) backward(w, gradient, x, start, eps, r * latent, beta, 1 / rows.length);
    }
    return { reconstruction: reconstruction / rows.length, kl: kl / rows.length };
  }

  return {
    features,
    hidden,
    latent,
    layers,
    count,
    loss,
    /** q(z|x) of an example, overwritten by the next: [µ, σ]. @returns {[Float64Array, Float64Array]} */
    posterior(w, x, start = 0) {
      encode(w, x, start);
      return [out.subarray(0, latent), sigma];
    },
    /** KL of each unit of the example that `posterior` was asked for last. @param {number} unit */
    klOf,
    /** The mean of p(x|z) into a place. */
    picture(w, code, into, at = 0) {
      decode(w, code, 0);
      for (let i = 0; i < features; i++) into[at + i] = 1 / (1 + Math.exp(-logits[i]));
    },
    /** -log p(x|z), nats. */
    errorAt(w, code, x, start) {
      decode(w, code, 0);
      return error(x, start);
    },
  };
}

/** y = W x + b, in four sums at a time, which a processor adds side by side. */
function dense(w, { inputs, outputs, weight, bias }, x, start, y) {
  const whole = inputs - (inputs % 4);
  for (let o = 0; o < outputs; o++) {
    const row = weight + o * inputs;
    let a = w[bias + o];
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0; i < whole; i += 4) {
      a += w[row + i] * x[start + i];
      b += w[row + i + 1] * x[start + i + 1];
      c += w[row + i + 2] * x[start + i + 2];
      d += w[row + i + 3] * x[start + i + 3];
    }
    for (let i = whole; i < inputs; i++) a += w[row + i] * x[start + i];
    y[o] = a + b + (c + d);
  }
}

/** The way back through it: adds to the gradient of its weights, and gives that of its input. */
function back(w, gradient, { inputs, outputs, weight, bias }, x, start, dy, dx) {
  dx?.fill(0);
  for (let o = 0; o < outputs; o++) {
    const d = dy[o];
    if (d === 0) continue; // behind a rectifier that is shut
    gradient[bias + o] += d;
    const row = weight + o * inputs;
    for (let i = 0; i < inputs; i++) gradient[row + i] += d * x[start + i];
    if (dx) for (let i = 0; i < inputs; i++) dx[i] += d * w[row + i];
  }
}

function rectify(h) {
  for (let i = 0; i < h.length; i++) if (!(h[i] > 0)) h[i] = 0;
}
function blocked(d, h) {
  for (let i = 0; i < h.length; i++) if (h[i] === 0) d[i] = 0;
}

/**
 * Where torch.nn.Linear starts, but for the outputs: no bias, and p(x|z) with the mean of the data, as nelbo.fit has it.
 * @param {ReturnType<typeof vae>} net
 * @param {() => number} uniform random numbers in [0, 1)
 * @param {number[]} mean of each feature
 */
export function untrained(net, uniform, mean) {
  const w = new Float64Array(net.count);
  net.layers.forEach(({ inputs, outputs, weight, bias }, l) => {
    const bound = 1 / Math.sqrt(inputs);
    const last = l % 2 === 1;
    for (let i = weight; i < bias + (last ? 0 : outputs); i++) w[i] = bound * (2 * uniform() - 1);
  });
  const { bias } = net.layers[3];
  mean.forEach((share, i) => {
    const p = Math.min(1 - 1e-3, Math.max(1e-3, share));
    w[bias + i] = Math.log(p / (1 - p));
  });
  return w;
}

/** Adam (Kingma and Ba 2015, algorithm 1), with the settings of torch. @param {number} count of the weights */
export function adam(count) {
  const [first, second] = [new Float64Array(count), new Float64Array(count)];
  let steps = 0;
  /** Move the weights by a gradient. @param {Float64Array} w @param {Float64Array} gradient @param {number} rate */
  return (w, gradient, rate) => {
    steps++;
    const size = rate / (1 - 0.9 ** steps);
    const root = Math.sqrt(1 - 0.999 ** steps);
    for (let i = 0; i < count; i++) {
      const g = gradient[i];
      first[i] += 0.1 * (g - first[i]);
      second[i] = 0.999 * second[i] + 0.001 * g * g;
      w[i] -= (size * first[i]) / (Math.sqrt(second[i]) / root + 1e-8);
    }
  };
}
