// Sums over pairs of distributions of counts.

import { logAdd } from "./math.js";
import { divergenceSums } from "./special.js";

/** @import { Density } from "./densities.js" */

/** The counts that matter to p or q, from the first to the last. @param {Density} p @param {Density} q @returns {number[]} */
function countsOf(p, q) {
  const ends = [p, q].map(({ parts: [[m, s]], far, support }) => [
    Math.max(support[0], Math.floor(m - far * s - 40)),
    Math.min(support[1], Math.ceil(m + far * s + 40)),
  ]);
  const first = Math.min(ends[0][0], ends[1][0]);
  return Array.from({ length: Math.max(ends[0][1], ends[1][1]) - first + 1 }, (_, i) => first + i);
}

/** All numbers of the explorer for two distributions of counts. */
export function sums(p, q) {
  const sum = divergenceSums();
  let tv = 0;
  for (const k of countsOf(p, q)) {
    const [lp, lq] = [p.log(k), q.log(k)];
    sum.add(lp, lq);
    tv += 0.5 * Math.abs(Math.exp(lp) - Math.exp(lq));
  }
  return sum.total(tv);
}

/** Wasserstein's distance of order 2: equal quantiles lie together. */
export function countsW2(p, q) {
  const counts = countsOf(p, q);
  let [i, j] = [0, 0];
  let [left, right] = [Math.exp(p.log(counts[0])), Math.exp(q.log(counts[0]))];
  let sum = 0;
  while (i < counts.length && j < counts.length) {
    const moved = Math.min(left, right);
    sum += moved * (counts[i] - counts[j]) ** 2;
    [left, right] = [left - moved, right - moved];
    if (left <= right) left = ++i < counts.length ? Math.exp(p.log(counts[i])) : 0;
    else right = ++j < counts.length ? Math.exp(q.log(counts[j])) : 0;
  }
  return Math.sqrt(sum);
}

/** Logarithms of the masses [of p, of q] of the counts between edges, the first and the last bin reaching to infinity. */
export function logMassesOfCounts(p, q, edges) {
  const logs = Array.from({ length: edges.length + 1 }, () => [-Infinity, -Infinity]);
  for (const k of countsOf(p, q)) {
    const bin = edges.findIndex((edge) => k < edge);
    const mass = logs[bin < 0 ? edges.length : bin];
    mass[0] = logAdd(mass[0], p.log(k));
    mass[1] = logAdd(mass[1], q.log(k));
  }
  return logs;
}
