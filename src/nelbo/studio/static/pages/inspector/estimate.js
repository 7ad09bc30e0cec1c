// E_q[-log p(x|z)] in the page, and of each feature: by few nodes while a hand moves, and over the draws that Python takes
// when it rests.

import { meanAndError } from "../../core/math.js";
import { keyOf, normals } from "./draws.js";

/** @import { Normal } from "../../core/types.js" */

const MANY = 1024; // draws, as for any example that is looked at
const AT_ONCE = 16; // draws decoded together
const SLICE = 8; // ms of work, between which the page is drawn
const BUDGET = 5; // ms that an estimate may take while a hand moves
const [LEAST, FEW] = [4, 64]; // decodings for it, however long they take, and however short

const ROOT3 = Math.sqrt(3);
/** Nodes and weights of Gauss and Hermite for a standard normal number. @type {Record<number, number[][]>} */
const HERMITE = {
  3: [
    [-ROOT3, 0, ROOT3],
    [1 / 6, 2 / 3, 1 / 6],
  ],
  5: [
    [-2.8569700138728056, -1.3556261799742659, 0, 1.3556261799742659, 2.8569700138728056],
    [0.011257411327720693, 0.2220759220056126, 0.5333333333333333, 0.2220759220056126, 0.011257411327720693],
  ],
};

/**
 * Nodes and weights for n independent standard normal numbers, as many as can be afforded; null where that is too few.
 * @param {number} n
 * @param {number} most
 * @returns {?{nodes: number[][], weights: number[]}}
 */
export function quadrature(n, most) {
  const degree = [5, 3].find((nodes) => n <= 2 && nodes ** n <= most);
  if (!degree) return rules(n).find(({ nodes }) => nodes.length <= most) ?? null;
  const [at, weight] = HERMITE[degree];
  if (n === 1) return { nodes: at.map((v) => [v]), weights: weight };
  return { nodes: at.flatMap((a) => at.map((b) => [a, b])), weights: weight.flatMap((a) => weight.map((b) => a * b)) };
}

/**
 * Nodes along the axes and between them, exact up to degree 5, and fewer, up to degree 3. Beyond four units the first has
 * negative weights.
 *
 * Source: Stroud 1971, "Approximate calculation of multiple integrals", E_n^{r^2} 5-2 and 3-1.
 */
function rules(n) {
  const signs = [1, -1];
  const along = (far) =>
    Array.from({ length: 2 * n }, (_, i) =>
      Array.from({ length: n }, (__, d) => (d === i >> 1 ? signs[i % 2] * far : 0)),
    );
  const third = { nodes: along(Math.sqrt(n)), weights: new Array(2 * n).fill(1 / (2 * n)) };
  if (n < 2 || n > 4) return [third];
  const far = Math.sqrt((n + 2) / 2);
  const between = [];
  for (let a = 0; a < n; a++)
    for (let b = 0; b < a; b++)
      for (const i of signs)
        for (const j of signs)
          between.push(Array.from({ length: n }, (_, d) => (d === a ? i * far : d === b ? j * far : 0)));
  const fifth = {
    nodes: [new Array(n).fill(0), ...along(Math.sqrt(n + 2)), ...between],
    weights: [
      2 / (n + 2),
      ...new Array(2 * n).fill((4 - n) / (2 * (n + 2) ** 2)),
      ...between.map(() => 1 / (n + 2) ** 2),
    ],
  };
  return [fifth, third];
}

/**
 * @param {(codes: Float32Array, count: number, x: Float32Array, weights: ArrayLike<number>, sums: Float64Array) => Float64Array} errors
 *   -log p(x|z) of codes, one after the other; those of each feature are added to the sums, by the weights
 * @param {number} n latent units
 */
export function estimator(errors, n) {
  let cost = Infinity; // ms of a decoding: the least that was seen, as a machine that is busy only adds to it

  function timed(codes, count, x, weights, sums) {
    const start = performance.now();
    const found = errors(codes, count, x, weights, sums);
    cost = Math.min(cost, Math.max(0.01, (performance.now() - start) / count));
    return found;
  }

  /** @param {Normal} q @param {ArrayLike<number>[]} eps @returns {Float32Array} codes, one after the other */
  const placed = ({ mean, root }, eps) => {
    const codes = new Float32Array(eps.length * n);
    eps.forEach((one, i) => {
      for (let d = 0; d < n; d++) {
        let by = 0;
        for (let k = 0; k <= d; k++) by += root[d][k] * one[k];
        codes[i * n + d] = mean[d] + by;
      }
    });
    return codes;
  };

  const isPoint = ({ root }) => root.every((row, d) => row[d] === 0);
  function exactly(q, x) {
    const sums = new Float64Array(x.length);
    return { value: timed(Float32Array.from(q.mean), 1, x, [1], sums)[0], error: 0, errors: sums, draws: MANY };
  }

  return {
    /** Within a frame. @param {Float32Array} x @param {Normal} q @returns {{value: number, error: ?number, errors: Float64Array, how: string}} */
    quickly(x, q) {
      if (isPoint(q)) return { ...exactly(q, x), how: "" };
      const most = Math.max(LEAST, Math.floor(BUDGET / (cost === Infinity ? 1 : cost)));
      const rule = quadrature(n, most);
      const sums = new Float64Array(x.length);
      if (!rule) {
        const key = keyOf(x);
        const eps = Array.from({ length: Math.min(FEW, most) }, (_, i) => normals(key, i, n));
        const found = timed(placed(q, eps), eps.length, x, equally(eps.length, eps.length), sums);
        return { ...averaged(found), errors: sums, how: `${eps.length} draws.` };
      }
      const found = timed(placed(q, rule.nodes), rule.nodes.length, x, rule.weights, sums);
      const value = rule.weights.reduce((sum, weight, i) => sum + weight * found[i], 0);
      return { value, error: null, errors: sums, how: `Quadrature with ${rule.nodes.length} nodes.` };
    },
    /**
     * Over as many draws as Python takes, and the same ones; null as soon as it need not go on.
     * @param {Float32Array} x
     * @param {Normal} q
     * @param {() => boolean} goesOn
     * @returns {Promise<?{value: number, error: number, errors: Float64Array, draws: number}>}
     */
    async closely(x, q, goesOn) {
      if (isPoint(q)) return exactly(q, x);
      const key = keyOf(x);
      const all = new Float64Array(MANY);
      const sums = new Float64Array(x.length);
      const weights = equally(AT_ONCE, MANY);
      for (let draw = 0; draw < MANY;) {
        for (const until = performance.now() + SLICE; draw < MANY && performance.now() < until; draw += AT_ONCE) {
          const eps = Array.from({ length: AT_ONCE }, (_, i) => normals(key, draw + i, n));
          all.set(timed(placed(q, eps), AT_ONCE, x, weights, sums), draw);
        }
        await new Promise((done) => setTimeout(done));
        if (!goesOn()) return null;
      }
      return { ...averaged(all), errors: sums, draws: MANY };
    },
  };
}

const equally = (count, all) => new Array(count).fill(1 / all);

/** @param {Float64Array} values */
function averaged(values) {
  const { mean, error } = meanAndError(values);
  return { value: mean, error };
}
