// What a normal q descends to p: four divergences over its mean and the logarithm of its standard deviation.

import { logAdd, normalLogPdf } from "../../core/math.js";
import { nodesOf } from "../../core/quadrature.js";

/** @import { Density } from "../../core/densities.js" */
/** @typedef {[number, number]} Place mean and log standard deviation of q */
/** @typedef {(m: number, ls: number) => number} Objective */

export const GOALS = [
  { name: "KL(p‖q)", key: "pq", colour: "p", dash: "" },
  { name: "KL(q‖p)", key: "qp", colour: "q", dash: "7 4" },
  { name: "Jensen–Shannon", key: "js", colour: "kl", dash: "2 3" },
  { name: "Hellinger²", key: "hellinger", colour: "recon", dash: "10 3 2 3" },
];
/** Families of p that a normal can be fitted to both ways: positive everywhere, with tails that are not heavy. */
export const FITTED = ["normal", "laplace", "skew", "mixture"];

const RATE = 0.06;
const ENOUGH = 600; // steps
const STEP = 0.09375;
const ACROSS = Array.from({ length: 193 }, (_, i) => STEP * (i - 96)); // of q, in its standard deviations
const WEIGHTS = ACROSS.map((z) => STEP * Math.exp(normalLogPdf(z, 0, 1)));

/**
 * The divergences between p, which stays, and N(m, exp(2 ls)): KL(p || q) from p's first two moments, the others by
 * means over points of q, and of p.
 * @param {Density} p
 * @returns {Objective[]} in the order of GOALS
 */
export function objectives(p) {
  const nodes = nodesOf(p)
    .filter(({ weight }) => weight > 1e-15)
    .map(({ x, weight }) => ({ x, weight, log: p.log(x) }));
  const meanOf = (f) => nodes.reduce((sum, node) => sum + node.weight * f(node), 0);
  const mean = meanOf(({ x }) => x);
  const variance = meanOf(({ x }) => (x - mean) ** 2);
  const minusEntropy = meanOf(({ log }) => log);
  const overP = (f, m, s) => meanOf(({ x, log }) => f(log, normalLogPdf(x, m, s)));
  const overQ = (f, m, s) => {
    let sum = 0;
    for (let i = 0; i < ACROSS.length; i++) {
      const x = m + s * ACROSS[i];
      sum += WEIGHTS[i] * f(p.log(x), normalLogPdf(x, m, s));
    }
    return sum;
  };
  const half = (lp, lq) => 0.5 / Math.cosh(0.5 * (lp - lq)); // sqrt(p q) / (p + q)
  const mixed = (lp, lq) => logAdd(lp, lq) - Math.LN2;
  const values = [
    (m, s) => minusEntropy - normalLogPdf(mean, m, s) + (0.5 * variance) / (s * s),
    (m, s) => overQ((lp, lq) => lq - lp, m, s),
    (m, s) => 0.5 * (overQ((lp, lq) => lq - mixed(lp, lq), m, s) + overP((lp, lq) => lp - mixed(lp, lq), m, s)),
    (m, s) => 1 - overQ(half, m, s) - overP(half, m, s),
  ];
  return values.map((value) => (m, ls) => value(m, Math.exp(ls)));
}

/** One q on its way down, by Adam; its steps shrink so that it does not circle where it arrives. @param {Place} start */
export function racer(start) {
  let [m, v] = [
    [0, 0],
    [0, 0],
  ];
  let age = 0; // steps since p last changed
  const self = {
    at: start,
    steps: 0,
    /** @type {Place[]} */
    trail: [start],
    /** @param {Objective} value */
    step(value) {
      const [a, b] = self.at;
      const d = 1e-4;
      const gradient = [(value(a + d, b) - value(a - d, b)) / (2 * d), (value(a, b + d) - value(a, b - d)) / (2 * d)];
      self.steps++;
      age++;
      const rate = RATE / Math.sqrt(1 + age / 60);
      m = m.map((old, k) => 0.9 * old + 0.1 * gradient[k]);
      v = v.map((old, k) => 0.99 * old + 0.01 * gradient[k] ** 2);
      const sizes = m.map((now, k) => now / (1 - 0.9 ** age) / (Math.sqrt(v[k] / (1 - 0.99 ** age)) + 1e-8));
      self.at = [a - rate * sizes[0], b - rate * sizes[1]];
      self.trail.push(self.at);
      if (self.trail.length > 4000) self.trail.splice(0, 1000);
    },
    /** p is another now: set out from here with steps as long as at first. */
    refresh() {
      [m, v] = [
        [0, 0],
        [0, 0],
      ];
      age = 0;
    },
    hasArrived: () => age >= ENOUGH,
  };
  return self;
}

/**
 * All local minima that a coarse grid shows, refined by halving steps.
 * @param {Objective} value
 * @param {{x: [number, number], y: [number, number]}} box
 * @returns {{at: Place, value: number}[]}
 */
export function minimaOf(value, { x, y }) {
  const [nx, ny] = [24, 16];
  /** @returns {Place} */
  const at = (a, b) => [x[0] + ((x[1] - x[0]) * (a + 0.5)) / nx, y[0] + ((y[1] - y[0]) * (b + 0.5)) / ny];
  const values = Array.from({ length: nx }, (_, a) => Array.from({ length: ny }, (__, b) => value(...at(a, b))));
  const isLeast = (a, b) =>
    [-1, 0, 1].every((da) => [-1, 0, 1].every((db) => !(values[a + da]?.[b + db] < values[a][b])));
  const found = [];
  for (let a = 0; a < nx; a++) {
    for (let b = 0; b < ny; b++) {
      if (!isLeast(a, b)) continue;
      const place = refined(value, at(a, b));
      if (!found.some((f) => Math.hypot(f.at[0] - place[0], f.at[1] - place[1]) < 0.05))
        found.push({ at: place, value: value(...place) });
    }
  }
  return found;
}

/** @param {Objective} value @param {Place} start @returns {Place} */
function refined(value, start) {
  let [x, y] = start;
  let best = value(x, y);
  for (let size = 0.3; size > 1e-3; size *= 0.5) {
    for (let n = 0; n < 12; n++) {
      const around = [
        [x + size, y],
        [x - size, y],
        [x, y + size],
        [x, y - size],
      ];
      const next = around.find(([u, v]) => value(u, v) < best);
      if (!next) break;
      [x, y] = next;
      best = value(x, y);
    }
  }
  return [x, y];
}
