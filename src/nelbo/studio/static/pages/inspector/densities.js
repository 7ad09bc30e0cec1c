// Densities on a grid: as functions, and the heights that hold given shares of them.

/**
 * Values at the cells' centers, rows from the top down, as a function in data coordinates (bilinear).
 * @param {ArrayLike<number>} values n x n
 * @param {{n: number, low: number[], high: number[]}} plane
 * @returns {(x: number, y: number) => number}
 */
export function sampled(values, { n, low, high }) {
  const inside = (v) => Math.min(n - 1, Math.max(0, v));
  return (x, y) => {
    const c = inside(((x - low[0]) / (high[0] - low[0])) * n - 0.5);
    const r = inside(((high[1] - y) / (high[1] - low[1])) * n - 0.5);
    const [c0, r0] = [Math.min(n - 2, Math.floor(c)), Math.min(n - 2, Math.floor(r))];
    const [u, v] = [c - c0, r - r0];
    const at = (column, row) => values[row * n + column];
    return (
      (1 - v) * ((1 - u) * at(c0, r0) + u * at(c0 + 1, r0)) + v * ((1 - u) * at(c0, r0 + 1) + u * at(c0 + 1, r0 + 1))
    );
  };
}

/**
 * The log density above which each share of the mass lies: contours around the smallest regions that hold it.
 * @param {ArrayLike<number>} logs log densities on a grid that holds nearly all of the mass
 * @param {number[]} shares as in [0.39, 0.86]
 */
export function levels(logs, shares) {
  const sorted = Float64Array.from(logs).sort().reverse();
  const top = sorted[0];
  const mass = sorted.map((v) => Math.exp(v - top));
  const total = mass.reduce((sum, v) => sum + v, 0);
  return shares.map((share) => {
    let sum = 0;
    let i = 0;
    while (i < mass.length - 1 && (sum += mass[i]) < share * total) i++;
    return sorted[i];
  });
}

/** What ellipses at 1, 2 and 3 sigma of a normal in two dimensions hold. */
export const SIGMA_MASSES = [1, 2, 3].map((k) => 1 - Math.exp((-k * k) / 2));
