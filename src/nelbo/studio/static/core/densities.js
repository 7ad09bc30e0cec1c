// The univariate distributions of the KL explorer. What lies between two of them: families.js.

import { interval, LOG_2PI, logAdd, logNdtr, normalLogPdf } from "./math.js";
import { logGammaHalfStep, poissonLogMass } from "./special.js";

/**
 * @typedef {Object} Density of a number on the line, or the masses of counts
 * @property {string} family
 * @property {(x: number) => number} log log-density; of counts, log-mass
 * @property {[number, number]} support
 * @property {[number, number][]} parts centre and width of each bump
 * @property {(random: Random) => number} draw
 * @property {boolean} [isDiscrete]
 * @property {number} needs with which power of |x| the -log grows far out; 0 where it grows like a logarithm
 * @property {number} moments E|x|^k is finite for k below this
 * @property {number} far in widths: beyond, light tails hold nothing
 * @property {(side: number, at: number) => Tail} [tail] of a density whose -log grows like a power
 * @property {number} [mu]
 * @property {number} [sigma]
 * @property {number} [nu]
 * @property {number} [rate]
 * @property {number} [prob] of 1
 */

/**
 * -log of a density at `at` + side * y for y far out: [of y^2, of y, constant, of log y].
 * @typedef {[number, number, number, number]} Tail
 * @typedef {{uniform: () => number, normal: () => number}} Random
 */

/**
 * @typedef {Object} Shape the parameters of a density; those of another family may be there
 * @property {string} [family] a key of FAMILIES; without one, "normal"
 * @property {number} [mu]
 * @property {number} [sigma]
 * @property {number} [nu] degrees of freedom of Student's t
 * @property {number} [skew]
 * @property {number} [low]
 * @property {number} [high]
 * @property {number} [mu2]
 * @property {number} [sigma2]
 * @property {number} [weight] of the second normal
 * @property {number} [rate] of the exponential and of Poisson's
 * @property {number} [prob] of a Bernoulli's 1
 */

const WHOLE = /** @type {[number, number]} */ ([-Infinity, Infinity]);
const GAUSSIAN = { support: WHOLE, needs: 2, moments: Infinity, far: 38 };
const WIDE = 60; // widths of an exponential tail; exp(-60) is left

/** @type {Record<string, (shape: Shape) => Density>} */
const FAMILIES = {
  normal: ({ mu, sigma }) => ({
    ...GAUSSIAN,
    family: "normal",
    mu,
    sigma,
    log: (x) => normalLogPdf(x, mu, sigma),
    parts: [[mu, sigma]],
    tail: normalTail(mu, sigma),
    draw: ({ normal }) => mu + sigma * normal(),
  }),
  laplace: ({ mu, sigma }) => ({
    ...GAUSSIAN,
    family: "laplace",
    mu,
    sigma,
    log: (x) => -Math.abs(x - mu) / sigma - Math.log(2 * sigma),
    needs: 1,
    far: WIDE,
    parts: [[mu, sigma]],
    tail: (side, at) => [0, 1 / sigma, (side * (at - mu)) / sigma + Math.log(2 * sigma), 0],
    draw: ({ uniform }) => mu + sigma * (uniform() < 0.5 ? 1 : -1) * -Math.log(1 - uniform()),
  }),
  cauchy: ({ mu, sigma }) => student("cauchy", mu, sigma, 1),
  student: ({ mu, sigma, nu }) => student("student", mu, sigma, nu),
  skew,
  truncated,
  mixture,
  exponential: ({ rate }) => ({
    family: "exponential",
    rate,
    support: [0, Infinity],
    log: (x) => (x < 0 ? -Infinity : Math.log(rate) - rate * x),
    needs: 1,
    moments: Infinity,
    far: WIDE,
    parts: [[0, 1 / rate]],
    draw: ({ uniform }) => -Math.log(1 - uniform()) / rate,
  }),
  bernoulli: ({ prob }) => ({
    family: "bernoulli",
    prob,
    isDiscrete: true,
    support: [0, 1],
    log: (x) => (x === 1 ? Math.log(prob) : x === 0 ? Math.log1p(-prob) : -Infinity),
    needs: 0,
    moments: Infinity,
    far: 1,
    parts: [[prob, Math.sqrt(prob * (1 - prob))]],
    draw: ({ uniform }) => (uniform() < prob ? 1 : 0),
  }),
  poisson: ({ rate }) => ({
    family: "poisson",
    rate,
    isDiscrete: true,
    support: [0, Infinity],
    log: (x) => (x < 0 || x % 1 ? -Infinity : poissonLogMass(x, rate)),
    needs: 1,
    moments: Infinity,
    far: 12,
    parts: [[rate, Math.sqrt(rate)]],
    draw: poissonDraw(rate),
  }),
};

/** The distribution that the parameters stand for. @param {Shape} shape @returns {Density} */
export function density(shape) {
  return (FAMILIES[shape.family] ?? FAMILIES.normal)(shape);
}

const COUNTS = ["bernoulli", "poisson"];
/** Whether a family's distributions are of counts, so that they share no mass with a density. */
export const isOfCounts = (family) => COUNTS.includes(family);

/** @returns {(side: number, at: number) => Tail} */
function normalTail(m, s) {
  return (side, at) => {
    const d = (at - m) / s;
    return [0.5 / (s * s), (side * d) / s, 0.5 * (d * d + LOG_2PI) + Math.log(s), 0];
  };
}

/** @returns {Density} */
function student(family, mu, sigma, nu) {
  const top = logGammaHalfStep(nu / 2) - 0.5 * Math.log(nu * Math.PI) - Math.log(sigma);
  return {
    family,
    mu,
    sigma,
    nu,
    support: WHOLE,
    log: (x) => top - 0.5 * (nu + 1) * Math.log1p(((x - mu) / sigma) ** 2 / nu),
    needs: 0,
    moments: nu,
    far: Math.sqrt(nu) * 10 ** (18 / nu),
    parts: [[mu, sigma]],
    draw: ({ uniform }) => {
      // Bailey's polar method
      const radius = Math.sqrt(nu * Math.expm1((-2 / nu) * Math.log(1 - uniform())));
      return mu + sigma * radius * Math.cos(2 * Math.PI * uniform());
    },
  };
}

/** @param {Shape} shape @returns {Density} */
function skew({ mu, sigma, skew: slant }) {
  const bend = slant / Math.sqrt(1 + slant * slant);
  const narrow = Math.max(1, Math.abs(slant));
  const ofNormal = normalTail(mu, sigma);
  return {
    ...GAUSSIAN,
    family: "skew",
    mu,
    sigma,
    log: (x) => normalLogPdf(x, mu, sigma) + Math.LN2 + logNdtr((slant * (x - mu)) / sigma),
    parts: [
      [mu, sigma],
      [mu, sigma / narrow],
    ],
    tail(side, at) {
      const [square, linear, constant] = ofNormal(side, at);
      if (slant === 0) return [square, linear, constant, 0];
      if (side * slant > 0) return [square, linear, constant - Math.LN2, 0];
      const more = 1 + slant * slant; // log Phi(-a) = -a^2 / 2 - log(a sqrt(2 pi)) far out
      const rest = 0.5 * LOG_2PI + Math.log(Math.abs(slant) / sigma) - Math.LN2;
      const shift = 0.5 * ((slant * (at - mu)) / sigma) ** 2;
      return [square * more, linear * more, constant + shift + rest, 1];
    },
    draw: ({ normal }) => mu + sigma * (bend * Math.abs(normal()) + Math.sqrt(1 - bend * bend) * normal()),
  };
}

/** @param {Shape} shape @returns {Density} */
function truncated({ mu, sigma, low, high }) {
  const from = Math.min(low, high - 1e-6);
  const log = (x) => normalLogPdf(x, mu, sigma);
  const logMass = logInterval((from - mu) / sigma, (high - mu) / sigma);
  return {
    ...GAUSSIAN,
    family: "truncated",
    mu,
    sigma,
    support: [from, high],
    log: (x) => (x < from || x > high ? -Infinity : log(x) - logMass),
    parts: [[mu, sigma]],
    draw({ uniform }) {
      // by rejection from the flat density, whose top is known: quick for every interval a slider can reach
      const top = Math.min(Math.max(mu, from), high);
      for (;;) {
        const [left, right] = [Math.max(from, top - 9 * sigma), Math.min(high, top + 9 * sigma)];
        const x = left + (right - left) * uniform();
        if (Math.log(uniform()) < log(x) - log(top)) return x;
      }
    },
  };
}

/** @param {Shape} shape @returns {Density} */
function mixture({ mu, sigma, mu2, sigma2, weight }) {
  const [a, b] = [Math.log1p(-weight), Math.log(weight)];
  return {
    ...GAUSSIAN,
    family: "mixture",
    log: (x) => logAdd(a + normalLogPdf(x, mu, sigma), b + normalLogPdf(x, mu2, sigma2)),
    parts: [
      [mu, sigma],
      [mu2, sigma2],
    ],
    tail(side, at) {
      const [one, other] = [normalTail(mu, sigma)(side, at), normalTail(mu2, sigma2)(side, at)];
      const [first, second] = [one[2] - a, other[2] - b];
      const gap = one[0] - other[0] || one[1] - other[1]; // the lower power wins, far out
      const constant = gap === 0 ? -logAdd(-first, -second) : gap < 0 ? first : second;
      const [square, linear] = gap <= 0 ? one : other;
      return [square, linear, constant, 0];
    },
    draw: ({ uniform, normal }) => (uniform() < weight ? mu2 + sigma2 * normal() : mu + sigma * normal()),
  };
}

/** By inversion: the cumulated masses are searched, and made when the first draw is asked for. */
function poissonDraw(rate) {
  let sums = null;
  return ({ uniform }) => {
    if (!sums) {
      const last = Math.ceil(rate + 12 * Math.sqrt(rate) + 40);
      let sum = 0;
      sums = Float64Array.from({ length: last + 1 }, (_, k) => (sum += Math.exp(poissonLogMass(k, rate))));
    }
    const u = uniform();
    let [below, at] = [-1, sums.length - 1];
    while (at - below > 1) {
      const middle = (below + at) >> 1;
      if (sums[middle] > u) at = middle;
      else below = middle;
    }
    return at;
  };
}

function logInterval(a, b) {
  if (a > 5 || b < -5) {
    const [near, far] = a > 5 ? [-a, -b] : [b, a];
    const top = logNdtr(near);
    return top + Math.log(-Math.expm1(logNdtr(far) - top));
  }
  return Math.log(interval(a, b));
}
