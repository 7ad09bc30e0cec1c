// Closed forms between normals and the special functions behind them, in nats. The tests hold every exported number to
// nelbo's own at 1e-12 (tests/studio/test_golden.py); formulas are those of nelbo.divergences and nelbo.axioms.

export const LOG_2PI = Math.log(2 * Math.PI);
const SQRT_PI = Math.sqrt(Math.PI);

/** w - log(1 + w) >= 0 for w > -1, without cancellation near 0. */
export function logGap(w, logRatio) {
  if (w <= -0.3 || w >= 0.5) return w - (logRatio ?? Math.log1p(w));
  const z = w / (2 + w);
  const z2 = z * z;
  let sum = 0;
  for (let k = 16; k >= 0; k--) sum = sum * z2 + 1 / (2 * k + 3); // atanh(z) = z + z^3 (1/3 + z^2/5 + ...)
  return z * (w - 2 * z2 * sum);
}

/** KL(N(m, s^2) || N(n, r^2)) */
export function normalKL(m, s, n, r) {
  const e = (s - r) / r;
  const d = (m - n) / r;
  return 0.5 * (e * e + d * d) + logGap(e, Math.log(s) - Math.log(r));
}

/** KL(p || q) - KL(q || p) = sinh 2t - 2t + d^2 sinh t, t = log(s/r), d^2 = (m - n)^2 / (s r) */
export function klAsymmetry(m, s, n, r) {
  const t = Math.abs(s - r) < 0.3 * r ? Math.log1p((s - r) / r) : Math.log(s) - Math.log(r);
  return sinhGap(t) + ((m - n) / s) * ((m - n) / r) * Math.sinh(t);
}

function sinhGap(t) {
  if (Math.abs(t) >= 0.1) return Math.sinh(2 * t) - 2 * t;
  const x = 4 * t * t;
  return 2 * t * x * (1 / 6 + x * (1 / 120 + x * (1 / 5040 + x * (1 / 362880 + x / 39916800))));
}

/** log of the integral of p^a q^(1-a), for 0 < a < 1: the Bhattacharyya coefficient at 1/2. */
function logAffinity(m, s, n, r, a) {
  const mixed = a * r * r + (1 - a) * s * s;
  const e = (s - r) / r;
  // (1/2) log(mixed / r^2) - (1 - a) log(s / r): by log1p next to s = r, where both vanish
  const near = Math.abs(e) < 0.3;
  const half = near
    ? Math.log1p(e * (2 + e) * (1 - a)) / 2 - (1 - a) * Math.log1p(e)
    : Math.log(a + (1 - a) * (s / r) ** 2) / 2 - (1 - a) * Math.log(s / r);
  return -half - (0.5 * a * (1 - a) * (m - n) ** 2) / mixed;
}

/** Hellinger's distance sqrt(1 - integral of sqrt(p q)). */
export const normalHellinger = (m, s, n, r) => Math.sqrt(Math.max(0, -Math.expm1(logAffinity(m, s, n, r, 0.5))));

/** Wasserstein's distance of order 2. */
export const normalW2 = (m, s, n, r) => Math.hypot(m - n, s - r);

/** The geodesic distance of Fisher and Rao: the hyperbolic half-plane of (m / sqrt 2, s), times sqrt 2. */
export function fisherRao(m, s, n, r) {
  const d2 = (m - n) ** 2 / 2 + (s - r) ** 2;
  return 2 * Math.SQRT2 * Math.asinh(Math.sqrt(d2 / (4 * s * r)));
}

/** Total variation of two normals: between the points where the densities cross, by the normal distribution function. */
export function normalTV(m, s, n, r) {
  if (s === r) return m === n ? 0 : erf(Math.abs(m - n) / (2 * Math.SQRT2 * s));
  // a x^2 + b x + c = 0 for x measured from m in units of s
  const d = (n - m) / s;
  const v = r / s;
  const a = ((s - r) / s) * (1 + v);
  const log = Math.log1p((r - s) / s);
  const root = Math.sqrt(Math.max(0, d * d - 2 * a * log)) * v;
  const far = d < 0 ? d - root : d + root; // the root without cancellation; the other one by their product
  const x1 = far / a;
  const x2 = (d * d + 2 * v * v * log) / far;
  const [low, high] = x1 < x2 ? [x1, x2] : [x2, x1];
  return Math.min(1, Math.abs(interval(low, high) - interval((low - d) / v, (high - d) / v)));
}

/** Probability between two points of a standard normal. */
export function interval(a, b) {
  if (a > 0) return interval(-b, -a);
  if (b <= 0) return 0.5 * (erfc(-b / Math.SQRT2) - erfc(-a / Math.SQRT2));
  return 0.5 * (erf(b / Math.SQRT2) + erf(-a / Math.SQRT2));
}

/** log of the density of N(m, s^2). */
export const normalLogPdf = (x, m, s) => -0.5 * (LOG_2PI + ((x - m) / s) ** 2) - Math.log(s);

export function erf(x) {
  if (Math.abs(x) > 2) return Math.sign(x) * (1 - erfc(Math.abs(x)));
  let term = x;
  let sum = x;
  for (let n = 1; n < 60 && Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term = (2 * x * x * term) / (2 * n + 1);
  return (2 / SQRT_PI) * Math.exp(-x * x) * sum; // Kummer's form: terms of one sign
}

function erfc(x) {
  return x < 2 ? 1 - erf(x) : Math.exp(-x * x) * scaledErfc(x);
}

/** exp(x^2) erfc(x) for x >= 2, by Lentz's continued fraction. */
function scaledErfc(x) {
  let f = x;
  for (let k = 120; k >= 1; k--) f = x + k / 2 / f;
  return 1 / (SQRT_PI * f);
}

/** log of the standard normal distribution function, also far out in the tail. */
export function logNdtr(x) {
  const y = -x / Math.SQRT2;
  return y < 2 ? Math.log(0.5 * erfc(y)) : Math.log(0.5 * scaledErfc(y)) - y * y;
}

/** log(1 + exp(v)) */
export function softplus(v) {
  return Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
}

/** log(exp(a) + exp(b)) */
export function logAdd(a, b) {
  if (a === -Infinity) return b;
  if (b === -Infinity) return a;
  return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/**
 * Every term of the bound for z ~ N(0, 1), x | z ~ N(w z, s^2), q(z) = N(m, v^2), as nelbo.divergences.elbo_chain.
 */
export function elboChain(x, m, v, w, s) {
  const total = w * w + s * s;
  const logEvidence = -0.5 * (LOG_2PI + Math.log(total) + (x * x) / total);
  const reconstructionError = 0.5 * (LOG_2PI + 2 * Math.log(s) + ((x - w * m) ** 2 + (w * v) ** 2) / (s * s));
  const kl = normalKL(m, v, 0, 1);
  const posterior = [(w * x) / total, s / Math.sqrt(total)];
  return {
    logEvidence,
    reconstructionError,
    kl,
    elbo: -(reconstructionError + kl),
    gap: normalKL(m, v, ...posterior),
    posterior,
  };
}

/** Means and standard errors of the three estimators of KL(p || q) from r = log p(x) - log q(x) at draws of p. */
export function fromLogRatios(ratios) {
  const terms = [(r) => r, (r) => 0.5 * r * r, (r) => Math.expm1(-r) + r];
  return terms.map((term) => meanAndError(ratios, term));
}

/** Mean and standard error of f over numbers, by Welford. */
export function meanAndError(values, f = (v) => v) {
  let mean = 0;
  let squares = 0;
  let n = 0;
  for (let i = 0; i < values.length; i++) {
    const v = f(values[i]);
    const d = v - mean;
    n++;
    mean += d / n;
    squares += d * (v - mean);
  }
  return { mean, error: n > 1 ? Math.sqrt(squares / (n - 1) / n) : Infinity, variance: squares / Math.max(1, n - 1) };
}

/** Numbers that look random and repeat: splitmix32 and Box-Muller. @returns {{uniform: () => number, normal: () => number}} */
export function randomness(seed) {
  let state = seed | 0;
  let spare = NaN;
  const uniform = () => {
    state = (state + 0x9e3779b9) | 0;
    let t = state ^ (state >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return ((t ^ (t >>> 15)) >>> 0) / 4294967296;
  };
  const normal = () => {
    if (!Number.isNaN(spare)) {
      const kept = spare;
      spare = NaN;
      return kept;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  return { uniform, normal };
}
