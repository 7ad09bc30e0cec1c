// Integrals over pairs of densities on the line, by Gauss-Legendre on panels between which both are smooth. Where p has
// a heavy tail and -log q grows like a power, what lies beyond the panels is added in closed form.

import { logAdd } from "./math.js";
import { divergenceSums } from "./special.js";

/** @import { Density } from "./densities.js" */

// Gauss-Legendre, 16 nodes from left to right
const HALF = [
  0.0950125098376374, 0.2816035507792589, 0.4580167776572274, 0.6178762444026438, 0.755404408355003, 0.8656312023878318,
  0.9445750230732326, 0.9894009349916499,
];
const WEIGHTS_OF_HALF = [
  0.1894506104550685, 0.1826034150449236, 0.1691565193950025, 0.1495959888165767, 0.1246289712555339,
  0.0951585116824928, 0.0622535239386479, 0.0271524594117541,
];
const NODES = [...HALF.map((x) => -x).reverse(), ...HALF];
const WEIGHTS = [...WEIGHTS_OF_HALF.slice().reverse(), ...WEIGHTS_OF_HALF];
const STEPS = [0, 0.7, 1.4, 2.1, 2.8, 3.6, 4.5, 5.5, 7, 9, 12, 16, 22, 30, 38, 48, 60];
const BEYOND = 1e8; // scales; from here on, a power law is what it tends to, to the last digit

const isHeavy = (d) => Number.isFinite(d.moments);

/** A distance next to which those between the bumps are small. */
function spread(p, q) {
  const parts = [...p.parts, ...q.parts];
  const centres = parts.map(([m]) => m);
  return Math.max(...parts.map(([, s]) => s), Math.max(...centres) - Math.min(...centres));
}

/** How far out the panels of d go, in its widths, so that E_d of what -log of the other grows with is there. */
function farOf(d, other, size) {
  if (!isHeavy(d) || outweighs(d, other)) return d.far;
  return Math.max(d.far, Math.min((BEYOND * size) / d.sigma, Math.sqrt(d.nu) * 10 ** (20 / (d.nu - other.needs))));
}

/** Distances of panels' ends: multiples of the width, beyond them powers of 3 as far as the other has structure. */
function stepsOf(s, far, size) {
  const steps = STEPS.filter((k) => k <= far).map((k) => k * s);
  for (let y = 3 * steps[steps.length - 1]; y < Math.min(far * s, 100 * size); y *= 3) steps.push(y);
  return steps;
}

/** Points between which both densities are smooth: at multiples of every width, and at the ends of the supports. */
function panels(p, q, from, to) {
  const size = spread(p, q);
  const points = [from, to, ...p.support, ...q.support];
  for (const [d, other] of [
    [p, q],
    [q, p],
  ]) {
    const far = farOf(d, other, size);
    for (const [m, s] of d.parts) for (const y of stepsOf(s, far, size)) points.push(m - y, m + y);
  }
  const centre = p.parts[0][0];
  for (let y = 100 * size; y < Math.max(to - centre, centre - from); y *= 3) points.push(centre - y, centre + y);
  const inside = points.filter((x) => Number.isFinite(x) && x >= from && x <= to).sort((a, b) => a - b);
  return inside.filter((x, i) => i === 0 || x - inside[i - 1] > 1e-12 * (1 + Math.abs(x)));
}

/** Integrate between two points, where both densities are smooth. @param {Function} f (lp, lq, weight, x) adds to its sums */
function panel(p, q, left, right, f) {
  const half = (right - left) / 2;
  const middle = (right + left) / 2;
  for (let j = 0; j < 16; j++) {
    const x = middle + half * NODES[j];
    f(p.log(x), q.log(x), WEIGHTS[j] * half, x);
  }
}

/** Where p or q has mass at all. @param {Density} p @param {Density} q @returns {[number, number]} */
export function reach(p, q) {
  const size = spread(p, q);
  const ends = [
    [p, q],
    [q, p],
  ].map(([d, other]) => {
    const far = farOf(d, other, size);
    const low = Math.min(...d.parts.map(([m, s]) => m - far * s));
    const high = Math.max(...d.parts.map(([m, s]) => m + far * s));
    return [Math.max(low, d.support[0]), Math.min(high, d.support[1])];
  });
  // a density cut off in the far tail of its parent has its mass at the cut
  return [Math.min(ends[0][0], ends[1][0]), Math.max(ends[0][1], ends[1][1])];
}

/** Whether p has mass outside of q's support. */
export const escapes = (p, q) => p.support[0] < q.support[0] || p.support[1] > q.support[1];
/** Whether E_p[-log q] is infinite because p's tail is too heavy for q's. */
export const outweighs = (p, q) => q.needs > 0 && p.moments <= q.needs;

/** The integral of p log(p/q) - p beyond the panels, where p falls like a power and -log q grows like one. */
function tails(p, q, from, to) {
  if (!isHeavy(p) || !q.tail || outweighs(p, q)) return 0;
  const { mu, sigma, nu } = p;
  const logTop = p.log(mu) + Math.log(sigma) + 0.5 * (nu + 1) * Math.log(nu); // p dx = exp(logTop) z^(-nu-1) dz
  let sum = 0;
  for (const [side, end] of [
    [-1, from],
    [1, to],
  ]) {
    const z = (side * (end - mu)) / sigma;
    const [square, linear, constant, log] = q.tail(side, mu);
    const logZ = Math.log(z);
    // the integrals of z^(k-nu-1) from z on are z^(k-nu) / (nu - k), that of log z times it has one term more
    const power = (k) => Math.exp(logTop + (k - nu) * logZ) / (nu - k);
    if (square) sum += square * sigma * sigma * power(2);
    sum += linear * sigma * power(1);
    sum += (constant + (log - 1) * Math.log(sigma) + logTop - 1) * power(0);
    sum += (log - nu - 1) * (logZ + 1 / nu) * power(0);
  }
  return sum;
}

/** Points x and weights for means over d: the mean of f is the sum of weights times f(x). @param {Density} d */
export function nodesOf(d) {
  const [from, to] = reach(d, d);
  const points = panels(d, d, from, to);
  /** @type {{x: number, weight: number}[]} */
  const nodes = [];
  for (let i = 1; i < points.length; i++)
    panel(d, d, points[i - 1], points[i], (log, _, w, x) => nodes.push({ x, weight: w * Math.exp(log) }));
  return nodes;
}

/** All numbers of the explorer by quadrature, in nats. @param {Density} p @param {Density} q */
export function quadrature(p, q) {
  const sum = divergenceSums();
  let tv = 0;
  const [from, to] = reach(p, q);
  const points = panels(p, q, from, to);
  for (let i = 1; i < points.length; i++) {
    let gap = 0;
    const ends = [points[i - 1], points[i]].map((x) => p.log(x) - q.log(x));
    let above = ends.some((r) => r > 0);
    let below = ends.some((r) => r < 0);
    panel(p, q, points[i - 1], points[i], (lp, lq, w) => {
      sum.add(lp, lq, w);
      gap += w * (Math.exp(lp) - Math.exp(lq));
      if (lp > lq) above = true;
      if (lp < lq) below = true;
    });
    // |p - q| has a corner where the densities cross
    tv += 0.5 * (above && below ? acrossCrossings(p, q, points[i - 1], points[i]) : Math.abs(gap));
  }
  const total = sum.total(tv);
  return {
    ...total,
    pq: escapes(p, q) || outweighs(p, q) ? Infinity : total.pq + tails(p, q, from, to),
    qp: escapes(q, p) || outweighs(q, p) ? Infinity : total.qp + tails(q, p, from, to),
  };
}

/** The integral of |p - q| over a panel in which the densities cross, piece by piece between the crossings. */
function acrossCrossings(p, q, left, right) {
  const sign = (x) => Math.sign(p.log(x) - q.log(x)) || 0;
  const places = [-1, ...NODES, 1].map((node) => (right + left) / 2 + ((right - left) / 2) * node);
  const signs = places.map(sign);
  const cuts = [left];
  for (let j = 1; j < places.length; j++) {
    if (signs[j] * signs[j - 1] >= 0) continue;
    let [low, high] = [places[j - 1], places[j]];
    for (let n = 0; n < 50; n++) {
      const middle = (low + high) / 2;
      if (sign(middle) === signs[j - 1]) low = middle;
      else high = middle;
    }
    cuts.push((low + high) / 2);
  }
  cuts.push(right);
  let total = 0;
  for (let i = 1; i < cuts.length; i++) {
    let piece = 0;
    panel(p, q, cuts[i - 1], cuts[i], (lp, lq, w) => (piece += w * (Math.exp(lp) - Math.exp(lq))));
    total += Math.abs(piece);
  }
  return total;
}

/**
 * Logarithms of the masses [of p, of q] in the bins between edges, the first and the last reaching to infinity.
 * @param {Density} p
 * @param {Density} q
 * @param {number[]} edges
 */
export function logMassesBetween(p, q, edges) {
  const [from, to] = reach(p, q);
  const ends = [Math.min(from, edges[0] - 1), ...edges, Math.max(to, edges[edges.length - 1] + 1)];
  return ends.slice(1).map((end, i) => {
    const logs = [-Infinity, -Infinity];
    const points = panels(p, q, ends[i], end);
    for (let k = 1; k < points.length; k++)
      panel(p, q, points[k - 1], points[k], (lp, lq, w) => {
        const width = Math.log(w);
        logs[0] = logAdd(logs[0], lp + width);
        logs[1] = logAdd(logs[1], lq + width);
      });
    return logs;
  });
}
