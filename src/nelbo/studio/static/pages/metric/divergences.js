// Divergences between normals as functions of (m, s, n, r), what is proven about each, and a simple witness where an
// axiom fails. The verdicts are those of nelbo.axioms.examine on the normal family.

import { normalJS } from "../../core/families.js";
import { fisherRao, normalHellinger, normalKL, normalTV, normalW2 } from "../../core/math.js";

const [GIBBS, EQUAL, DEFINITION] = [
  "Gibbs’ inequality",
  "equality in Jensen needs p = q",
  "p and q trade places freely",
];
/**
 * @typedef {[mean: number, deviation: number]} Normal
 * @typedef {{holds: boolean, reason: string, witness?: Normal[]}} Verdict
 * @typedef {Object} Divergence
 * @property {string} title
 * @property {(m: number, s: number, n: number, r: number) => number} f between N(m, s^2) and N(n, r^2)
 * @property {boolean} [nats] whether it can be told in bits
 * @property {boolean} [slow]
 * @property {Verdict[]} axioms for each of AXIOMS
 */

/** @type {Normal[]} */
const line = [
  [0, 1],
  [1, 1],
  [2, 1],
];
/** @type {Normal[]} */
const pair = [
  [0, 1],
  [0, 2],
  [1, 1],
];
/** @returns {Verdict} */
const yes = (reason) => ({ holds: true, reason });
/** @param {string} reason @param {Normal[]} witness @returns {Verdict} */
const no = (reason, witness) => ({ holds: false, reason, witness });
const metric = (triangle, norm = "a norm of a difference") => [
  yes(norm),
  yes("a norm is 0 only for equal arguments"),
  yes(DEFINITION),
  yes(triangle),
];

/** @type {Record<string, Divergence>} */
export const DIVERGENCES = {
  kl: {
    title: "KL",
    f: normalKL,
    nats: true,
    axioms: [yes(GIBBS), yes(EQUAL), no("unless σp = σq", pair), no("N(0,1), N(1,1), N(2,1): 2 > ½ + ½", line)],
  },
  jeffreys: {
    title: "Jeffreys",
    f: (m, s, n, r) => normalKL(m, s, n, r) + normalKL(n, r, m, s),
    nats: true,
    axioms: [yes(GIBBS), yes(EQUAL), yes(DEFINITION), no("at equal widths it is a squared distance", line)],
  },
  js: {
    title: "Jensen–Shannon",
    f: normalJS,
    nats: true,
    slow: true,
    axioms: [yes(GIBBS), yes(EQUAL), yes(DEFINITION), no("near p it grows like a squared distance", line)],
  },
  sqrtjs: {
    title: "√Jensen–Shannon",
    f: (m, s, n, r) => Math.sqrt(normalJS(m, s, n, r)),
    slow: true,
    axioms: [yes(GIBBS), yes(EQUAL), yes(DEFINITION), yes("Endres & Schindelin 2003")],
  },
  hellinger: { title: "Hellinger", f: normalHellinger, axioms: metric("Minkowski: |√p − √q| in L²") },
  tv: { title: "total variation", f: normalTV, axioms: metric("Minkowski: |p − q| in L¹") },
  w2: {
    title: "Wasserstein W₂",
    f: normalW2,
    axioms: metric("Euclid’s distance of (µ, σ)", "a distance in the plane"),
  },
  fisher: { title: "Fisher–Rao", f: fisherRao, axioms: metric("a geodesic distance", "the length of a shortest path") },
  sqrtkl: {
    title: "√KL",
    f: (m, s, n, r) => Math.sqrt(normalKL(m, s, n, r)),
    axioms: [
      yes(GIBBS),
      yes(EQUAL),
      no("unless σp = σq", pair),
      no("widths 2, 1, ½: 2.47 > 0.90 + 0.90", [
        [0, 2],
        [0, 1],
        [0, 0.5],
      ]),
    ],
  },
};

export const AXIOMS = ["never negative", "zero only if equal", "symmetric", "triangle inequality"];

/**
 * The three sides of a triple, and how far the direct way exceeds the detour.
 * @param {Divergence["f"]} f
 * @param {Normal[]} triple
 */
export function sides(f, [p, q, r]) {
  const [pq, qr, pr] = [f(...p, ...q), f(...q, ...r), f(...p, ...r)];
  return { pq, qr, pr, excess: pr - pq - qr };
}
