// Running means of the three estimators of KL(p || q) from draws of p.

/** @typedef {{x: number[], mean: number[], error: number[]}} Trace log10 of the number of draws, mean, standard error */

const PLACES = 80;

/**
 * log p/q at draws of p.
 * @param {import("../../core/densities.js").Density} p
 * @param {import("../../core/densities.js").Density} q
 * @param {{uniform: () => number, normal: () => number}} random
 * @param {number} count
 */
export function logRatios(p, q, random, count) {
  return Float64Array.from({ length: count }, () => {
    const x = p.draw(random);
    return p.log(x) - q.log(x);
  });
}

/** The three estimators at 80 places on a log axis from 10 draws to all. @param {Float64Array} ratios @returns {Trace[]} */
export function traces(ratios) {
  const last = Math.log10(ratios.length);
  const places = Array.from({ length: PLACES }, (_, i) => Math.round(10 ** (1 + ((last - 1) * i) / (PLACES - 1))));
  const sums = [0, 1, 2].map(() => ({ x: [], mean: [], error: [], sum: 0, squares: 0 }));
  let next = 0;
  ratios.forEach((r, i) => {
    [r, 0.5 * r * r, Math.expm1(-r) + r].forEach((v, k) => {
      sums[k].sum += v;
      sums[k].squares += v * v;
    });
    while (next < PLACES && places[next] <= i + 1) {
      const n = i + 1;
      for (const k of sums) {
        const mean = k.sum / n;
        k.x.push(Math.log10(n));
        k.mean.push(mean);
        k.error.push(Math.sqrt(Math.max(0, k.squares / n - mean * mean) / (n - 1)));
      }
      next++;
    }
  });
  return sums;
}

/** How far from the middle the figure reaches: some standard errors, and where the means end. */
export function extent(found, exact) {
  const finite = [exact, ...found.map((f) => f.mean)].filter(Number.isFinite);
  const errors = found.map((f) => 4 * f.error).filter(Number.isFinite);
  const spread = Math.max(1e-3, ...errors, ...finite.map((v) => 0.25 * Math.abs(v)));
  const middle = Number.isFinite(exact) ? exact : (finite[0] ?? 0);
  const ends = found.map((f) => f.mean).filter((mean) => Math.abs(mean - middle) < 8 * spread);
  return [Math.min(middle - spread, ...ends), Math.max(middle + spread, ...ends)];
}
