// Lines of equal height through values on a grid, and the heights that hold given shares of a density.

/**
 * Marching squares, the crossing on each cell's edge by linear interpolation.
 * @param {ArrayLike<number>} values rows from the top down, n x n
 * @param {number} n
 * @param {number} level
 * @param {(column: number, row: number) => [number, number]} place grid to picture
 * @returns {string} path data
 */
export function contour(values, n, level, place) {
  let path = "";
  const cross = (a, b) => (level - a) / (b - a);
  for (let r = 0; r + 1 < n; r++) {
    for (let c = 0; c + 1 < n; c++) {
      const at = r * n + c;
      const [a, b, d, e] = [values[at], values[at + 1], values[at + n], values[at + n + 1]];
      const above = (a > level ? 1 : 0) | (b > level ? 2 : 0) | (e > level ? 4 : 0) | (d > level ? 8 : 0);
      if (above === 0 || above === 15) continue;
      const top = () => place(c + cross(a, b), r);
      const right = () => place(c + 1, r + cross(b, e));
      const bottom = () => place(c + cross(d, e), r + 1);
      const left = () => place(c, r + cross(a, d));
      for (const [from, to] of SEGMENTS[above]({ top, right, bottom, left })) {
        const [p, q] = [from(), to()];
        path += `M${p[0].toFixed(1)} ${p[1].toFixed(1)}L${q[0].toFixed(1)} ${q[1].toFixed(1)}`;
      }
    }
  }
  return path;
}

const one = (from, to) => (edge) => [[edge[from], edge[to]]];
const two = (a, b, c, d) => (edge) => [[edge[a], edge[b]], [edge[c], edge[d]]];
const SEGMENTS = {
  1: one("left", "top"), 2: one("top", "right"), 3: one("left", "right"), 4: one("right", "bottom"),
  5: two("left", "top", "right", "bottom"), 6: one("top", "bottom"), 7: one("left", "bottom"), 8: one("left", "bottom"),
  9: one("top", "bottom"), 10: two("top", "right", "left", "bottom"), 11: one("right", "bottom"), 12: one("left", "right"),
  13: one("top", "right"), 14: one("left", "top"),
};

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
