// Two models small enough for every term to be exact: z ~ N(0, 1) and x | z ~ N(g(z), s^2), with g(z) = w z (whose
// posterior is normal) or g(z) = w z^2 (whose posterior has two bumps, which no normal q can match).

import { elboChain, LOG_2PI, normalKL, normalLogPdf } from "../../core/math.js";

const GRID = 3200;
const REACH = 8;

export const decode = (state, z) => (state.model === "linear" ? state.w * z : state.w * z * z);

/** log p(x, z) */
export const logJoint = (state, z) => normalLogPdf(state.x, decode(state, z), state.s) + normalLogPdf(z, 0, 1);

/** -E_q[log p(x|z)] for q = N(m, v^2), from the moments of z. */
export function reconstructionError({ model, x, w, s }, m, v) {
  const second = m * m + v * v;
  const fourth = m ** 4 + 6 * m * m * v * v + 3 * v ** 4;
  const miss = model === "linear" ? (x - w * m) ** 2 + (w * v) ** 2 : x * x - 2 * x * w * second + w * w * fourth;
  return 0.5 * (LOG_2PI + 2 * Math.log(s) + miss / (s * s));
}

/** The ELBO at q = N(m, v^2). */
export const elboAt = (state, m, v) => -(reconstructionError(state, m, v) + normalKL(m, v, 0, 1));

const known = { key: "", value: 0 };

/** log p(x): closed for the linear model, by the trapezoid rule (spectrally accurate here) for the other. */
export function logEvidence(state) {
  if (state.model === "linear") return elboChain(state.x, 0, 1, state.w, state.s).logEvidence;
  const key = `${state.x},${state.w},${state.s}`;
  if (known.key === key) return known.value;
  const logs = Array.from({ length: GRID + 1 }, (_, i) => logJoint(state, -REACH + (2 * REACH * i) / GRID));
  const top = Math.max(...logs);
  known.key = key;
  known.value = top + Math.log(logs.reduce((sum, v) => sum + Math.exp(v - top), 0) * ((2 * REACH) / GRID));
  return known.value;
}

/** Every term, in nats. `gap` is KL(q || p(z|x)) by its own formula or integral, not by subtraction. */
export function terms(state) {
  const { m, v } = state;
  const evidence = logEvidence(state);
  const error = reconstructionError(state, m, v);
  const kl = normalKL(m, v, 0, 1);
  const elbo = -(error + kl);
  if (state.model === "linear")
    return { evidence, error, kl, elbo, gap: elboChain(state.x, m, v, state.w, state.s).gap };
  let gap = 0;
  const step = 20 / 640; // where the sum ends, at 10 widths, exp(-50) is left
  for (let i = 0; i <= 640; i++) {
    const z = m + v * (-10 + step * i);
    const lq = normalLogPdf(z, m, v);
    gap += Math.exp(lq) * (lq - logJoint(state, z) + evidence) * step * v;
  }
  return { evidence, error, kl, elbo, gap };
}

/**
 * The importance-weighted bound L_k = E[log mean w] for k = 1, 2, 4, ..., each repeat from the same `most` draws.
 * @returns {{add: (eps: Float64Array) => void, found: () => {k: number, mean: number, error: number}[]}} `add` takes the
 *   standard normal draws of one repeat, so that many repeats need not be done at once
 */
export function bounds(state, most) {
  const { model, x, w, s, m, v } = state;
  const linear = model === "linear";
  const start = Math.log(v / s) - 0.5 * LOG_2PI;
  const sums = [];
  for (let k = 1; k <= most; k *= 2) sums.push({ k, sum: 0, squares: 0 });
  let repeats = 0;
  return {
    add(eps) {
      repeats++;
      // the mean weight as exp(top) times a sum of ratios: one exponential a draw
      let [top, sum, next] = [-Infinity, 0, 0];
      for (let i = 0; i < most; i++) {
        const z = m + v * eps[i];
        const miss = (x - (linear ? w * z : w * z * z)) / s;
        const lw = start + 0.5 * (eps[i] * eps[i] - z * z - miss * miss);
        if (lw <= top) sum += Math.exp(lw - top);
        else [top, sum] = [lw, sum * Math.exp(top - lw) + 1];
        if (i + 1 === sums[next].k) {
          const value = top + Math.log(sum / (i + 1));
          sums[next].sum += value;
          sums[next].squares += value * value;
          next++;
        }
      }
    },
    found: () =>
      sums.map(({ k, sum, squares }) => {
        const mean = sum / repeats;
        return { k, mean, error: Math.sqrt(Math.max(0, squares / repeats - mean * mean) / (repeats - 1)) };
      }),
  };
}

/** Normalized weights of k draws, largest first, and their effective number. */
export function weights(state, random, k) {
  const logs = Array.from({ length: k }, () => {
    const e = random.normal();
    return logJoint(state, state.m + state.v * e) + 0.5 * e * e;
  });
  const top = Math.max(...logs);
  const raw = logs.map((l) => Math.exp(l - top));
  const sum = raw.reduce((a, b) => a + b, 0);
  const normal = raw.map((w) => w / sum).sort((a, b) => b - a);
  return { normal, effective: 1 / normal.reduce((a, w) => a + w * w, 0) };
}
