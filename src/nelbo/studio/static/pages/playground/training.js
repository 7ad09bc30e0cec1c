// One training, step by step: the same seed and the same settings repeat the same numbers, however fast it runs.

import { meanAndError, randomness } from "../../core/math.js";
import { COUNT, FEATURES, pixels, TRAINING } from "./digits.js";
import { adam, untrained, vae } from "./vae.js";

export const HIDDEN = 64;
export const LATENT = 2;
const HELD_OUT = COUNT - TRAINING;
const PARTS = 4; // of an epoch: after each the held-out digits are measured

/** @typedef {{reconstruction: number, kl: number}} TermsOf means over examples, nats */
/**
 * @typedef {Object} Measured
 * @property {number} epoch
 * @property {number} beta
 * @property {TermsOf} held means over the held-out digits, two draws of z each
 * @property {TermsOf} errors their standard errors
 * @property {number[]} units KL of each unit
 * @property {?TermsOf} train means over the batches since the point before; null where there was none
 */
/**
 * @typedef {Object} Batch what happened in one step
 * @property {number[]} rows
 * @property {TermsOf} before
 * @property {TermsOf} after with the same noise
 * @property {number} beta
 * @property {number} rate
 * @property {[number, number]} slopes norms of the gradient: of the encoder's weights, of the decoder's
 * @property {number} moved the mean change of a weight
 * @property {Float64Array} mean of q(z|x) of each digit, before the step
 * @property {Float64Array} sd
 * @property {Float64Array} z
 * @property {Float64Array} moves means after the step
 * @property {number} number of the batch in its epoch, from 1
 */

export const network = vae({ features: FEATURES, hidden: HIDDEN, latent: LATENT });
const mean = Array.from({ length: FEATURES }, (_, i) => {
  let sum = 0;
  for (let row = 0; row < TRAINING; row++) sum += pixels[row * FEATURES + i];
  return sum / TRAINING;
});
// the same draws for every training, so that trainings can be compared
const noise = Float64Array.from({ length: HELD_OUT * LATENT }, randomness(1).normal);

/** @param {{seed: number, batch: number}} settings */
export function training({ seed, batch }) {
  const random = randomness(seed);
  const weights = untrained(network, random.uniform, mean);
  const move = adam(network.count);
  const gradient = new Float64Array(network.count);
  const order = Array.from({ length: TRAINING }, (_, i) => i);
  const batches = Math.ceil(TRAINING / batch);
  const pause = Math.ceil(batches / PARTS);
  let steps = 0;
  let sums = { reconstruction: 0, kl: 0, steps: 0 };

  /** The next batch and its noise. */
  function draw() {
    const at = steps % batches;
    if (at === 0) {
      for (let i = TRAINING - 1; i > 0; i--) {
        const j = Math.floor(random.uniform() * (i + 1));
        [order[i], order[j]] = [order[j], order[i]];
      }
    }
    const rows = order.slice(at * batch, (at + 1) * batch);
    return { rows, eps: Float64Array.from({ length: rows.length * LATENT }, random.normal) };
  }

  /**
   * One step.
   * @param {{beta: number, rate: number}} now
   * @param {boolean} [isTold] whether to tell what happened in it
   * @returns {?Batch}
   */
  function step({ beta, rate }, isTold = false) {
    const { rows, eps } = draw();
    const codes = isTold ? codesOf(rows) : null;
    const before = network.loss(weights, pixels, rows, eps, beta, gradient);
    const old = isTold ? weights.slice() : null;
    move(weights, gradient, rate);
    steps++;
    sums = {
      reconstruction: sums.reconstruction + before.reconstruction,
      kl: sums.kl + before.kl,
      steps: sums.steps + 1,
    };
    if (!isTold) return null;
    const border = network.layers[2].weight;
    let moved = 0;
    for (let i = 0; i < weights.length; i++) moved += Math.abs(weights[i] - old[i]) / weights.length;
    return {
      rows,
      before,
      after: network.loss(weights, pixels, rows, eps, beta),
      beta,
      rate,
      slopes: [norm(gradient.subarray(0, border)), norm(gradient.subarray(border))],
      moved,
      ...codes,
      z: codes.mean.map((m, i) => m + codes.sd[i] * eps[i]),
      moves: codesOf(rows).mean,
      number: ((steps - 1) % batches) + 1,
    };
  }

  /** q(z|x) of some digits. @param {number[]} rows */
  function codesOf(rows) {
    const [means, sds] = [new Float64Array(rows.length * LATENT), new Float64Array(rows.length * LATENT)];
    rows.forEach((row, r) => {
      const [mu, sigma] = network.posterior(weights, pixels, row * FEATURES);
      means.set(mu, r * LATENT);
      sds.set(sigma, r * LATENT);
    });
    return { mean: means, sd: sds };
  }

  /** The held-out digits; changes nothing. @param {number} beta @returns {Measured} */
  function measure(beta) {
    const [errors, kls] = [new Float64Array(HELD_OUT), new Float64Array(HELD_OUT)];
    const units = new Array(LATENT).fill(0);
    const z = new Float64Array(LATENT);
    for (let i = 0; i < HELD_OUT; i++) {
      const start = (TRAINING + i) * FEATURES;
      const [mu, sigma] = network.posterior(weights, pixels, start);
      for (let k = 0; k < LATENT; k++) {
        kls[i] += network.klOf(k);
        units[k] += network.klOf(k) / HELD_OUT;
      }
      for (const sign of [1, -1]) {
        for (let k = 0; k < LATENT; k++) z[k] = mu[k] + sign * sigma[k] * noise[i * LATENT + k];
        errors[i] += network.errorAt(weights, z, pixels, start) / 2;
      }
    }
    const [reconstruction, kl] = [meanAndError(errors), meanAndError(kls)];
    return {
      epoch: steps / batches,
      beta,
      held: { reconstruction: reconstruction.mean, kl: kl.mean },
      errors: { reconstruction: reconstruction.error, kl: kl.error },
      units,
      train: sums.steps ? { reconstruction: sums.reconstruction / sums.steps, kl: sums.kl / sums.steps } : null,
    };
  }

  return {
    weights,
    step,
    codesOf,
    measure,
    /** Measured where a point of the curves is due: at the start and PARTS times an epoch. @param {number} beta */
    point(beta) {
      const at = steps % batches;
      if (at !== 0 && at % pause !== 0) return null;
      const found = measure(beta);
      sums = { reconstruction: 0, kl: 0, steps: 0 };
      return found;
    },
    get epoch() {
      return steps / batches;
    },
  };
}

const norm = (values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
