// The univariate distributions of the KL explorer, and integrals over pairs of them.

import { interval, logAdd, logNdtr, normalHellinger, normalKL, normalLogPdf, normalTV, normalW2 } from "./math.js";

/**
 * @typedef {Object} Density
 * @property {string} family
 * @property {(x: number) => number} log log-density
 * @property {[number, number]} support
 * @property {[number, number][]} parts centre and width of each bump
 * @property {(random: {uniform: () => number, normal: () => number}) => number} draw
 * @property {number} [mean] of a skew normal
 * @property {number} [mu] of a normal
 * @property {number} [sigma] of a normal
 */

/**
 * @typedef {Object} Shape the parameters of a density; those of another family may be there
 * @property {string} [family] "normal", "skew", "truncated" or "mixture"
 * @property {number} [mu]
 * @property {number} [sigma]
 * @property {number} [skew]
 * @property {number} [low]
 * @property {number} [high]
 * @property {number} [mu2]
 * @property {number} [sigma2]
 * @property {number} [weight] of the second normal
 */

/** The distribution that the parameters stand for. @param {Shape} shape @returns {Density} */
export function density({ family, mu, sigma, skew, low, high, mu2, sigma2, weight }) {
  const log = (x) => normalLogPdf(x, mu, sigma);
  /** @type {[number, number]} */
  const whole = [-Infinity, Infinity];
  if (family === "skew") {
    const bend = skew / Math.sqrt(1 + skew * skew);
    return {
      family,
      support: whole,
      mean: mu + sigma * bend * Math.sqrt(2 / Math.PI),
      log: (x) => log(x) + Math.LN2 + logNdtr((skew * (x - mu)) / sigma),
      parts: [
        [mu, sigma],
        [mu, sigma / Math.max(1, Math.abs(skew))],
      ],
      draw: ({ normal }) => mu + sigma * (bend * Math.abs(normal()) + Math.sqrt(1 - bend * bend) * normal()),
    };
  }
  if (family === "truncated") {
    const from = Math.min(low, high - 1e-6);
    const [a, b] = [(from - mu) / sigma, (high - mu) / sigma];
    const logMass = logInterval(a, b);
    return {
      family,
      support: [from, high],
      log: (x) => (x < from || x > high ? -Infinity : log(x) - logMass),
      parts: [[mu, sigma]],
      draw(random) {
        // by rejection from the flat density, whose top is known: quick for every interval a slider can reach
        const top = Math.min(Math.max(mu, from), high);
        for (;;) {
          const [left, right] = [Math.max(from, top - 9 * sigma), Math.min(high, top + 9 * sigma)];
          const x = left + (right - left) * random.uniform();
          if (Math.log(random.uniform()) < log(x) - log(top)) return x;
        }
      },
    };
  }
  if (family === "mixture") {
    const [a, b] = [Math.log1p(-weight), Math.log(weight)];
    return {
      family,
      support: whole,
      log: (x) => logAdd(a + log(x), b + normalLogPdf(x, mu2, sigma2)),
      parts: [
        [mu, sigma],
        [mu2, sigma2],
      ],
      draw: ({ uniform, normal }) => (uniform() < weight ? mu2 + sigma2 * normal() : mu + sigma * normal()),
    };
  }
  return {
    family: "normal",
    mu,
    sigma,
    support: whole,
    log,
    parts: [[mu, sigma]],
    draw: ({ normal }) => mu + sigma * normal(),
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

// Gauss-Legendre, 16 nodes
const NODES = [
  0.0950125098376374, 0.2816035507792589, 0.4580167776572274, 0.6178762444026438, 0.755404408355003, 0.8656312023878318,
  0.9445750230732326, 0.9894009349916499,
];
const WEIGHTS = [
  0.1894506104550685, 0.1826034150449236, 0.1691565193950025, 0.1495959888165767, 0.1246289712555339,
  0.0951585116824928, 0.0622535239386479, 0.0271524594117541,
];
const STEPS = [0, 0.7, 1.4, 2.1, 2.8, 3.6, 4.5, 5.5, 7, 9, 12, 16, 22, 30, 38];

/** Points between which both densities are smooth: at multiples of every width, and at the ends of the supports. */
function panels(p, q, from, to) {
  const points = [from, to];
  for (const d of [p, q]) {
    for (const [m, s] of d.parts) for (const k of STEPS) points.push(m - k * s, m + k * s);
    points.push(...d.support);
  }
  const inside = points.filter((x) => Number.isFinite(x) && x >= from && x <= to).sort((a, b) => a - b);
  return inside.filter((x, i) => i === 0 || x - inside[i - 1] > 1e-12 * (1 + Math.abs(x)));
}

/** Integrate several functions of (log p, log q, x) at once. @param {Function} f (lp, lq, x, weight) adds to its sums */
function sweep(p, q, from, to, f) {
  const points = panels(p, q, from, to);
  for (let i = 1; i < points.length; i++) {
    const half = (points[i] - points[i - 1]) / 2;
    const middle = (points[i] + points[i - 1]) / 2;
    for (let j = 0; j < 8; j++) {
      for (const sign of [-1, 1]) {
        const x = middle + sign * half * NODES[j];
        f(p.log(x), q.log(x), x, WEIGHTS[j] * half);
      }
    }
  }
}

/** Where p or q has mass at all. @param {Density} p @param {Density} q @returns {[number, number]} */
export function reach(p, q) {
  const ends = [p, q].map((d) => {
    const low = Math.min(...d.parts.map(([m, s]) => m - 38 * s));
    const high = Math.max(...d.parts.map(([m, s]) => m + 38 * s));
    return [Math.max(low, d.support[0]), Math.min(high, d.support[1])];
  });
  // a density cut off in the far tail of its parent has its mass at the cut
  return [Math.min(ends[0][0], ends[1][0]), Math.max(ends[0][1], ends[1][1])];
}

const outside = (p, q) => p.support[0] < q.support[0] || p.support[1] > q.support[1];
const times = (lp, v) => (lp === -Infinity ? 0 : Math.exp(lp) * v);

/** p log(p/q) - p + q from log p and log q: 0 where both are, q where only p is. */
function excess(lp, lq) {
  if (lp === -Infinity) return Math.exp(lq);
  if (lq === -Infinity) return 0; // the caller says infinity
  const r = lp - lq;
  const mass = Math.exp(lp);
  return Math.abs(r) < 1 ? mass * (Math.expm1(-r) + r) : Math.exp(lq) - mass + mass * r;
}

/** All numbers of the explorer by quadrature, in nats. @param {Density} p @param {Density} q */
export function integrals(p, q) {
  let pq = 0,
    qp = 0,
    js = 0,
    overlap = 0,
    mass = 0;
  const [from, to] = reach(p, q);
  sweep(p, q, from, to, (lp, lq, _x, w) => {
    // p log(p/q) - p + q integrates to the same and is never negative: no cancellation between panels
    pq += w * excess(lp, lq);
    qp += w * excess(lq, lp);
    const m = logAdd(lp, lq) - Math.LN2;
    js += 0.5 * w * (times(lp, lp - m) + times(lq, lq - m));
    overlap += w * 0.5 * (Math.exp(lp / 2) - Math.exp(lq / 2)) ** 2;
    mass += w * Math.exp(lp);
  });
  return {
    pq: outside(p, q) ? Infinity : pq,
    qp: outside(q, p) ? Infinity : qp,
    js: Math.max(0, js),
    hellinger: Math.sqrt(Math.max(0, overlap)),
    tv: totalVariation(p, q, from, to),
    mass,
  };
}

function totalVariation(p, q, from, to) {
  // split every panel where the densities cross, so that |p - q| is smooth on each piece
  const gap = (x) => {
    const [a, b] = [p.log(x), q.log(x)];
    return a === b ? 0 : a - b;
  };
  const points = panels(p, q, from, to);
  const cuts = [points[0]];
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1] + 1e-12, points[i] - 1e-12];
    for (let k = 0; k < 4; k++) {
      let low = a + ((b - a) * k) / 4;
      let high = a + ((b - a) * (k + 1)) / 4;
      if (gap(low) * gap(high) >= 0) continue;
      const sign = Math.sign(gap(low));
      for (let n = 0; n < 50; n++) {
        const middle = (low + high) / 2;
        if (Math.sign(gap(middle)) === sign) low = middle;
        else high = middle;
      }
      cuts.push((low + high) / 2);
    }
    cuts.push(points[i]);
  }
  let total = 0;
  for (let i = 1; i < cuts.length; i++) {
    const half = (cuts[i] - cuts[i - 1]) / 2;
    const middle = (cuts[i] + cuts[i - 1]) / 2;
    let piece = 0;
    for (let j = 0; j < 8; j++)
      for (const x of [middle - half * NODES[j], middle + half * NODES[j]])
        piece += WEIGHTS[j] * (Math.exp(p.log(x)) - Math.exp(q.log(x)));
    total += Math.abs(piece * half);
  }
  return Math.min(1, total / 2);
}

/** Jensen-Shannon of two normals: the trapezoid rule, which is spectrally accurate for them. */
export function normalJS(m, s, n, r) {
  const from = Math.min(m - 9 * s, n - 9 * r);
  const to = Math.max(m + 9 * s, n + 9 * r);
  const count = Math.ceil((6 * (to - from)) / Math.min(s, r));
  if (count > 4000)
    return integrals(density({ family: "normal", mu: m, sigma: s }), density({ family: "normal", mu: n, sigma: r })).js;
  const step = (to - from) / count;
  let sum = 0;
  for (let i = 0; i <= count; i++) {
    const x = from + i * step;
    const [a, b] = [normalLogPdf(x, m, s), normalLogPdf(x, n, r)];
    const mixed = Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))) - Math.LN2;
    sum += Math.exp(a) * (a - mixed) + Math.exp(b) * (b - mixed);
  }
  return Math.max(0, 0.5 * sum * step);
}

/** All numbers where both are normal, closed but for Jensen-Shannon's; null else. @param {Density} p @param {Density} q */
export function closedForms(p, q) {
  if (p.family !== "normal" || q.family !== "normal") return null;
  const four = /** @type {const} */ ([p.mu, p.sigma, q.mu, q.sigma]);
  const back = /** @type {const} */ ([q.mu, q.sigma, p.mu, p.sigma]);
  return {
    pq: normalKL(...four),
    qp: normalKL(...back),
    js: normalJS(...four),
    tv: normalTV(...four),
    hellinger: normalHellinger(...four),
    w2: normalW2(...four),
  };
}

/**
 * Masses of p and q in bins, the first and the last reaching to infinity.
 * @param {Density} p
 * @param {Density} q
 * @param {number[]} edges
 */
export function binned(p, q, edges) {
  const [from, to] = reach(p, q);
  const ends = [Math.min(from, edges[0] - 1), ...edges, Math.max(to, edges[edges.length - 1] + 1)];
  const masses = [];
  for (let i = 1; i < ends.length; i++) {
    const mass = [0, 0];
    sweep(p, q, ends[i - 1], ends[i], (lp, lq, _x, w) => {
      mass[0] += w * Math.exp(lp);
      mass[1] += w * Math.exp(lq);
    });
    masses.push(mass);
  }
  const kl = (a, b) =>
    masses.reduce(
      (sum, m) => (m[a] > 0 ? sum + (m[b] > 0 ? m[a] * Math.log(m[a] / m[b]) - m[a] + m[b] : Infinity) : sum + m[b]),
      0,
    );
  return { masses, pq: kl(0, 1), qp: kl(1, 0) };
}
