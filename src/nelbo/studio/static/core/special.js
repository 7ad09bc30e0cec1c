// Logarithms of gamma functions, and gaps that vanish where two parameters meet, without cancellation.

import { logAdd, LOG_2PI, logGap } from "./math.js";

/** log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2 for x >= 10: what Stirling's formula leaves. */
function stirlingRest(x) {
  const y = 1 / (x * x);
  return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - (y * 691) / 360360))))) / x;
}

/** log Gamma(x), x > 0 */
export function logGamma(x) {
  let product = 1;
  let z = x;
  for (; z < 10; z++) product *= z;
  return (z - 0.5) * Math.log(z) - z + LOG_2PI / 2 + stirlingRest(z) - Math.log(product);
}

/** log Gamma(x + 1/2) - log Gamma(x), x > 0, where both are large too. */
export function logGammaHalfStep(x) {
  let product = 1;
  let z = x;
  for (; z < 10; z++) product *= z / (z + 0.5);
  const far = z * Math.log1p(0.5 / z) + 0.5 * Math.log(z) - 0.5 + stirlingRest(z + 0.5) - stirlingRest(z);
  return far + Math.log(product);
}

/** log of the Poisson mass exp(-rate) rate^x / Gamma(x + 1), also between the counts (Loader 2000). */
export function poissonLogMass(x, rate) {
  if (x < 10) return x * Math.log(rate) - rate - logGamma(x + 1);
  return -0.5 * (LOG_2PI + Math.log(x)) - stirlingRest(x) - x * logGap((rate - x) / x, Math.log(rate) - Math.log(x));
}

/** e^x - 1 - x >= 0 */
export function expGap(x) {
  if (Math.abs(x) > 0.5) return Math.expm1(x) - x;
  let sum = 0;
  for (let k = 18; k >= 2; k--) sum = (x / k) * (1 + sum);
  return x * sum;
}

/** a log(a / b) - a + b >= 0 for masses, given b - a. */
export function massGap(a, b, step = b - a) {
  if (a === 0) return b;
  if (b === 0) return Infinity;
  return a * logGap(step / a, Math.log(b) - Math.log(a));
}

/** (p log(p/m) + q log(q/m)) / 2 with m = (p + q) / 2, the integrand of Jensen-Shannon's, from log p and log q. */
export function shannonTerm(lp, lq) {
  const m = logAdd(lp, lq) - Math.LN2;
  const part = (l) => (l === -Infinity ? 0 : Math.exp(l) * (l - m));
  return 0.5 * (part(lp) + part(lq));
}

/** (sqrt p - sqrt q)^2 / 2, the integrand of Hellinger's squared distance, from log p and log q. */
const hellingerTerm = (lp, lq) => 0.5 * (Math.exp(lp / 2) - Math.exp(lq / 2)) ** 2;

/** Sums over points, or weighed over nodes, of what the divergences of two distributions are made of. */
export function divergenceSums() {
  const sum = { pq: 0, qp: 0, js: 0, overlap: 0, mass: 0 };
  return {
    add(lp, lq, weight = 1) {
      // p log(p/q) - p + q adds up to the same and is never negative: no cancellation
      sum.pq += weight * excess(lp, lq);
      sum.qp += weight * excess(lq, lp);
      sum.js += weight * shannonTerm(lp, lq);
      sum.overlap += weight * hellingerTerm(lp, lq);
      sum.mass += weight * Math.exp(lp);
    },
    /** @param {number} tv total variation, which is found otherwise */
    total: (tv) => ({
      pq: sum.pq,
      qp: sum.qp,
      js: Math.max(0, sum.js),
      hellinger: Math.sqrt(sum.overlap),
      tv: Math.min(1, tv),
      mass: sum.mass,
    }),
  };
}

/** p log(p/q) - p + q >= 0 from log p and log q. */
export function excess(lp, lq) {
  if (lp === -Infinity) return Math.exp(lq);
  if (lq === -Infinity) return Infinity;
  const r = lp - lq;
  const mass = Math.exp(lp);
  return Math.abs(r) < 1 ? mass * expGap(-r) : Math.exp(lq) - mass + mass * r;
}
