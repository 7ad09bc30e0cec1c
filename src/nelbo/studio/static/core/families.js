// What lies between two univariate distributions: closed forms, else integrals or sums, in nats.

import { countsW2, logMassesOfCounts, sums } from "./counts.js";
import { density } from "./densities.js";
import { logGap, normalHellinger, normalKL, normalLogPdf, normalTV, normalW2 } from "./math.js";
import { escapes, logMassesBetween, outweighs, quadrature } from "./quadrature.js";
import { excess, expGap, massGap, shannonTerm } from "./special.js";

export { density, isOfCounts } from "./densities.js";
export { reach } from "./quadrature.js";

/** @import { Density } from "./densities.js" */

/** Laplace's: r - 1 - log r + r (exp(-d) - 1 + d), r = b_p / b_q, d = |m_p - m_q| / b_p */
export const laplaceKL = (m, b, n, c) =>
  logGap((b - c) / c, Math.log(b) - Math.log(c)) + (b / c) * expGap(-Math.abs(m - n) / b);

/** Cauchy's: log(((b + c)^2 + (m - n)^2) / (4 b c)), which is the same both ways (Chyzak & Nielsen 2019) */
export const cauchyKL = (m, b, n, c) =>
  Math.log1p(0.25 * (((b - c) / b) * ((b - c) / c) + ((m - n) / b) * ((m - n) / c)));

/** Exponential: r - 1 - log r, r = rate_q / rate_p */
export const exponentialKL = (a, b) => logGap((b - a) / a, Math.log(b) - Math.log(a));

/** Poisson's: b - a + a log(a / b) */
export const poissonKL = (a, b) => massGap(a, b);

/** Of two coins: a log(a / b) + (1 - a) log((1 - a) / (1 - b)) */
export const bernoulliKL = (a, b) => massGap(a, b) + massGap(1 - a, 1 - b, a - b);

/** Jensen-Shannon of two normals: the trapezoid rule, which is spectrally accurate for them. */
export function normalJS(m, s, n, r) {
  const from = Math.min(m - 9 * s, n - 9 * r);
  const to = Math.max(m + 9 * s, n + 9 * r);
  const count = Math.ceil((6 * (to - from)) / Math.min(s, r));
  if (count > 4000)
    return quadrature(density({ family: "normal", mu: m, sigma: s }), density({ family: "normal", mu: n, sigma: r }))
      .js;
  const step = (to - from) / count;
  let sum = 0;
  for (let i = 0; i <= count; i++) {
    const x = from + i * step;
    sum += shannonTerm(normalLogPdf(x, m, s), normalLogPdf(x, n, r));
  }
  return Math.max(0, sum * step);
}

/** Both directions of a formula of (parameters of p, parameters of q). */
const both = (kl, a, b) => ({ pq: kl(...a, ...b), qp: kl(...b, ...a) });

/** Whether a Student's t (or Cauchy, which is Student's with one degree of freedom) of the same shape is on both sides. */
const areOneStudent = (p, q) => p.nu !== undefined && p.nu === q.nu;

/** W2 where it is known: of one family of location and scale, or infinite because one tail is too heavy. */
function transport(p, q) {
  if (p.isDiscrete && q.isDiscrete) return countsW2(p, q);
  if (p.family === "exponential" && q.family === "exponential") return Math.SQRT2 * Math.abs(1 / p.rate - 1 / q.rate);
  const [shift, stretch] = [p.mu - q.mu, p.sigma - q.sigma];
  if (p.family === "normal" && q.family === "normal") return normalW2(p.mu, p.sigma, q.mu, q.sigma);
  if (p.family === "laplace" && q.family === "laplace") return Math.hypot(shift, Math.SQRT2 * stretch);
  if (areOneStudent(p, q)) {
    const deviation = p.nu > 2 ? Math.sqrt(p.nu / (p.nu - 2)) : Infinity;
    return stretch === 0 ? Math.abs(shift) : Math.hypot(shift, deviation * stretch);
  }
  return Math.min(p.moments, q.moments) <= 2 ? Infinity : null;
}

/**
 * What is known in closed form: KL both ways and W2, of two normals everything but Jensen-Shannon's integral. What is
 * not known is missing.
 * @param {Density} p
 * @param {Density} q
 * @returns {Partial<Record<"pq"|"qp"|"js"|"tv"|"hellinger"|"w2", number>>}
 */
export function closedForms(p, q) {
  const w2 = transport(p, q);
  return { ...klOf(p, q), ...(w2 === null ? {} : { w2 }) };
}

function klOf(p, q) {
  const kind = areOneStudent(p, q) && p.nu === 1 ? "cauchy" : p.family === q.family ? p.family : "";
  const [a, b] = [p, q].map(({ mu, sigma }) => [mu, sigma]);
  if (kind === "normal") {
    const four = /** @type {const} */ ([p.mu, p.sigma, q.mu, q.sigma]);
    return {
      ...both(normalKL, a, b),
      js: normalJS(...four),
      tv: normalTV(...four),
      hellinger: normalHellinger(...four),
    };
  }
  if (kind === "laplace") return both(laplaceKL, a, b);
  if (kind === "cauchy") return both(cauchyKL, a, b);
  if (kind === "exponential") return both(exponentialKL, [p.rate], [q.rate]);
  if (kind === "poisson") return both(poissonKL, [p.rate], [q.rate]);
  if (kind === "bernoulli") return both(bernoulliKL, [p.prob], [q.prob]);
  return {};
}

/** Nothing in common: a count is a point, to which a density gives no mass. */
const APART = { pq: Infinity, qp: Infinity, js: Math.LN2, hellinger: 1, tv: 1, mass: 1 };

/** All numbers of the explorer by quadrature, or by summing over counts. @param {Density} p @param {Density} q */
export function integrals(p, q) {
  if (Boolean(p.isDiscrete) !== Boolean(q.isDiscrete)) return APART;
  if (p.isDiscrete) return sums(p, q);
  const found = quadrature(p, q);
  // reflected, one is the other: the same sum in another order
  if (areOneStudent(p, q) && p.sigma === q.sigma) found.qp = found.pq;
  return found;
}

/**
 * All numbers of the explorer, those in closed form by it. `closed`: which these are.
 * @param {Density} p
 * @param {Density} q
 */
export function measured(p, q) {
  const closed = closedForms(p, q);
  const isComplete = ["pq", "qp", "js", "tv", "hellinger"].every((name) => name in closed);
  const values = /** @type {Record<"pq"|"qp"|"js"|"tv"|"hellinger"|"w2", number>} */ ({
    ...(isComplete ? {} : integrals(p, q)),
    ...closed,
  });
  return { values, closed };
}

/** Why KL(p || q) is infinite, in words. @param {Density} p @param {Density} q @param {string} a @param {string} b */
export function whyInfinite(p, q, a, b) {
  if (Boolean(p.isDiscrete) === Boolean(q.isDiscrete) && !p.isDiscrete && !escapes(p, q) && outweighs(p, q))
    return `${a}’s tail is too heavy for ${b}: the mean of log ${a}/${b} diverges`;
  return `${a} has mass where ${b} has none`;
}

/**
 * Masses of p and q in bins, the first and the last reaching to infinity.
 * @param {Density} p
 * @param {Density} q
 * @param {number[]} edges
 */
export function binned(p, q, edges) {
  const logs = p.isDiscrete ? logMassesOfCounts(p, q, edges) : logMassesBetween(p, q, edges);
  const sum = (a, b) => logs.reduce((total, log) => total + excess(log[a], log[b]), 0);
  return { masses: logs.map((log) => log.map(Math.exp)), pq: sum(0, 1), qp: sum(1, 0) };
}
