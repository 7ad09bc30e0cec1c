// The steps of the worksheet, in the order of a lecture. A goal is a property of the state that a page has; whether a hand
// reached it, core/strip.js sees to.

import { cauchyKL, integrals } from "../../core/families.js";
import { number } from "../../core/format.js";
import { elboChain, klAsymmetry, normalKL, normalLogPdf } from "../../core/math.js";
import { terms } from "../elbo/model.js";
import { pair as densities } from "../kl/state.js";
import { FUNCTIONS, variances } from "../reparam/estimators.js";
import { RUN_STEPS } from "./models.js";

/** @import { Step } from "../../core/types.js" */

const TWO = "KL divergence";
const METRIC = "Axioms of a metric";
const BOUND = "Jensen and the bound";
const GRADIENT = "Gradients through a sample";

/** @returns {[number, number, number, number]} */
const pair = (s) => [s.mu_p, s.sigma_p, s.mu_q, s.sigma_q];
const isPlain = (s) => s.family_p === "normal" && s.family_q === "normal";
const forward = (s) => normalKL(...pair(s));
const back = (s) => normalKL(s.mu_q, s.sigma_q, s.mu_p, s.sigma_p);
const both = (s) => `KL(p‖q) = ${number(forward(s))}, KL(q‖p) = ${number(back(s))}`;
const excess = (s) =>
  normalKL(s.mu_p, s.sigma_p, s.mu_r, s.sigma_r) -
  normalKL(s.mu_p, s.sigma_p, s.mu_q, s.sigma_q) -
  normalKL(s.mu_q, s.sigma_q, s.mu_r, s.sigma_r);
const sigmas = (s) => [s.sigma_p, s.sigma_q, s.sigma_r].map((v) => number(v, 3)).join(", ");
const means = (s) => [s.mu_p, s.mu_q, s.mu_r];

/** The lowest point of the running integral of p log p/q, both normal; never below -1/e. */
export function dip(m, s, n, r) {
  const [from, to] = [Math.min(m - 8 * s, n - 8 * r), Math.max(m + 8 * s, n + 8 * r)];
  const steps = Math.min(4000, Math.ceil((20 * (to - from)) / Math.min(s, r)));
  let [sum, lowest] = [0, 0];
  for (let i = 0; i < steps; i++) {
    const x = from + ((to - from) * (i + 0.5)) / steps;
    const [a, b] = [normalLogPdf(x, m, s), normalLogPdf(x, n, r)];
    sum += (Math.exp(a) * (a - b) * (to - from)) / steps;
    lowest = Math.min(lowest, sum);
  }
  return lowest;
}

const ENDLESS = ["normal", "laplace", "skew", "mixture"];
/** KL(q‖p) where q ends and p does not, so that KL(p‖q) is infinite; else infinite too. */
function backFromCut(s) {
  if (s.family_q !== "truncated" || !ENDLESS.includes(s.family_p)) return Infinity;
  const found = integrals(...densities(s));
  return found.pq === Infinity ? found.qp : Infinity;
}

function jensenGap(points) {
  const total = points.reduce((sum, [, w]) => sum + w, 0);
  const mean = points.reduce((sum, [x, w]) => sum + w * x, 0) / total;
  return Math.log(mean) - points.reduce((sum, [x, w]) => sum + w * Math.log(x), 0) / total;
}

const linearGap = (s) => elboChain(s.x, s.m, s.v, s.w, s.s).gap;
/** Whether only q was moved. */
const isLeftAlone = (s, { model, x, w, s: noise }) => s.model === model && s.x === x && s.w === w && s.s === noise;
const LINEAR = { model: "linear", x: 1.5, w: 1, s: 0.7 };
const SQUARE = { model: "square", x: 2, w: 1, s: 0.5 };

function ratio(s) {
  const found = s.fn === "elbo" ? null : variances(s);
  return found ? found.score / found.pathwise : 0;
}

/** @type {Step[]} */
export const STEPS = [
  {
    id: "symmetric",
    part: TWO,
    page: "kl",
    ask: "When do KL(p‖q) and KL(q‖p) agree for two normals with different means?",
    options: ["Never", "When their widths are equal", "When one lies inside the other", "When their means add up to 0"],
    right: 1,
    goal: "Make both KLs at least 1 nat, and equal to within 3 %.",
    met: (s) =>
      isPlain(s) && Math.min(forward(s), back(s)) >= 1 && Math.abs(klAsymmetry(...pair(s))) <= 0.03 * forward(s),
    shown: both,
    reveal:
      "And only then, whatever the means. With t = ln σp/σq and δ² = Δµ²/(σp σq) the difference is (sinh 2t − 2t) + δ² sinh t, and both terms have the sign of t.",
  },
  {
    id: "families",
    part: TWO,
    page: "kl",
    ask: "Does this extend? For which of these families do both directions agree for all pairs, also of unequal width?",
    options: ["Laplace", "Student", "Cauchy", "exponential", "none of them"],
    right: 2,
    goal: "Take that family for p and for q. Make one width at least twice the other, with both KLs equal and at least 0.5 nats.",
    met: (s) =>
      s.family_p === "cauchy" &&
      s.family_q === "cauchy" &&
      Math.max(s.sigma_p, s.sigma_q) >= 2 * Math.min(s.sigma_p, s.sigma_q) &&
      cauchyKL(...pair(s)) >= 0.5,
    shown: (s) =>
      `Cauchy, widths ${number(s.sigma_p, 3)} and ${number(s.sigma_q, 3)}: both ${number(cauchyKL(...pair(s)))}`,
    reveal:
      "Where widths are equal and the density is symmetric, a reflection trades p for q: Laplace and Student extend the rule of the normals. For Cauchy both are ln[((σp + σq)² + Δµ²)/(4 σp σq)], always. Exponential, Poisson and Bernoulli do not extend it.",
  },
  {
    id: "lopsided",
    part: TWO,
    page: "kl",
    ask: "Can KL(p‖q) be above 10 nats while KL(q‖p) is below 2?",
    options: ["No, they stay close", "Yes, where q is much wider than p", "Yes, where q is much narrower than p"],
    right: 2,
    goal: "Make KL(p‖q) > 10 and KL(q‖p) < 2.",
    met: (s) => isPlain(s) && forward(s) > 10 && back(s) < 2,
    shown: both,
    reveal:
      "KL(p‖q) averages over p, and p draws where a narrow q hardly does: each such draw costs the squared distance in units of σq. KL(q‖p) averages over q, which stays where p has its mass.",
  },
  {
    id: "zero",
    part: TWO,
    page: "kl",
    ask: "When is KL(p‖q) zero?",
    options: ["When the means are equal", "Only when p = q", "When p lies inside q", "When both have the same entropy"],
    right: 1,
    goal: "Bring both KLs below 0.001 nats, with p moved by at least 0.5 or made a quarter wider or narrower.",
    met: (s) =>
      isPlain(s) &&
      Math.max(forward(s), back(s)) < 1e-3 &&
      (Math.abs(s.mu_p) >= 0.5 || Math.abs(Math.log(s.sigma_p)) >= Math.log(1.25)),
    shown: (s) =>
      `p = N(${number(s.mu_p, 3)}, ${number(s.sigma_p, 3)}²), q = N(${number(s.mu_q, 3)}, ${number(s.sigma_q, 3)}²)`,
    reveal:
      "Almost everywhere, that is. −log is strictly convex, so Jensen’s inequality is an equality only where q/p is constant, and two densities with a constant ratio are equal.",
  },
  {
    id: "negative",
    part: TWO,
    page: "kl",
    ask: "Can KL(p‖q) be negative? Can its integrand p log p/q?",
    options: ["Neither", "Both", "Only the integrand", "Only the KL"],
    right: 2,
    goal: "Turn on the running integral, and make that of p log p/q dip below −0.1 nats on its way.",
    met: (s) => s.running && isPlain(s) && dip(...pair(s)) < -0.1,
    shown: (s) => `lowest at ${number(dip(...pair(s)), 3)}, in the end ${number(forward(s))} nats`,
    reveal:
      "The integrand is negative wherever p < q, and there the running integral falls (never below −1/e). Over the whole line Jensen’s inequality holds: KL = E[−log q/p] ≥ −log E[q/p] ≥ −log 1 = 0.",
  },
  {
    id: "support",
    part: TWO,
    page: "kl",
    ask: "What if q is 0 somewhere that p is not?",
    options: [
      "Both KLs are infinite",
      "KL(p‖q) is infinite, KL(q‖p) need not be",
      "KL(q‖p) is infinite, KL(p‖q) need not be",
      "Both stay finite",
    ],
    right: 1,
    goal: "Make KL(p‖q) infinite and KL(q‖p) smaller than 0.05 nats.",
    met: (s) => backFromCut(s) < 0.05,
    shown: (s) => `q on [${number(s.low_q, 3)}, ${number(s.high_q, 3)}]: KL(q‖p) = ${number(backFromCut(s))}`,
    reveal:
      "A draw of p that q calls impossible costs without bound, and KL(p‖q) averages over draws of p. KL(q‖p) never looks there.",
  },
  {
    id: "triangle",
    part: METRIC,
    page: "metric",
    ask: "Which axioms of a metric does KL satisfy: never negative, zero only between equals, symmetric, no detour shorter than the direct way?",
    options: ["All four", "The first three", "The first two", "Only the first"],
    right: 2,
    goal: "Find p, q, r whose direct way d(p, r) is more than 3 nats longer than the detour d(p, q) + d(q, r).",
    met: (s) => s.divergence === "kl" && excess(s) > 3,
    shown: (s) => `the detour is ${number(excess(s))} nats shorter`,
    reveal:
      "Witnesses against the others: N(0, 1) and N(0, 2²) have 0.318 one way and 0.807 the other; means 0, 1, 2 at width 1 have 2 > ½ + ½, for KL is then half a squared distance.",
  },
  {
    id: "variances",
    part: METRIC,
    page: "metric",
    ask: "Let all means be equal. Which variances break the triangle inequality?",
    options: ["None", "Any three that differ", "q’s is the largest of the three", "q’s lies between the two others"],
    right: 3,
    goal: "Break it by more than 0.05 nats, with means that differ by 0.1 at most.",
    start: { mu_q: 0, mu_r: 0, sigma_q: 2, sigma_r: 1.4 },
    met: (s) =>
      s.divergence === "kl" && Math.max(...means(s)) - Math.min(...means(s)) <= 0.1 + 1e-9 && excess(s) > 0.05,
    shown: (s) => `σ = ${sigmas(s)}: the detour is ${number(excess(s), 3)} nats shorter`,
    reveal:
      "With v = σ² the logarithms cancel: d(p,r) − d(p,q) − d(q,r) = ½ (vp/vq − 1)(vq/vr − 1), positive exactly if vq lies strictly between vp and vr. Variances 1, 2, 3 give 1/12.",
  },
  {
    id: "jensen",
    part: BOUND,
    page: "elbo",
    ask: "The log of a mean, and the mean of the logs: which is larger, and when are they equal?",
    options: [
      "The mean of the logs; never equal",
      "The log of the mean; equal if all values are the same",
      "The log of the mean; equal if the mean is 1",
      "It depends on the values",
    ],
    right: 1,
    goal: "On the curve of the logarithm, bring the gap below 0.001 nats.",
    met: (s) => jensenGap(s.points) < 1e-3,
    shown: (s) => `gap ${number(jensenGap(s.points), 3)} nats`,
    reveal:
      "The logarithm is concave, so every chord lies below the curve: log E[w] ≥ E[log w] (Jensen). They are equal when w does not vary, and otherwise only where the function is linear.",
  },
  {
    id: "identity",
    part: BOUND,
    page: "elbo",
    ask: "You move q(z) and leave the model and x alone. Which of these change: log p(x), the ELBO, KL(q(z) ‖ p(z|x))?",
    options: [
      "All three",
      "Only the ELBO",
      "The ELBO and the KL, by opposite amounts",
      "log p(x) and the ELBO, by the same amount",
    ],
    right: 2,
    goal: "By moving q alone, bring the ELBO more than 5 nats below log p(x).",
    met: (s) => isLeftAlone(s, LINEAR) && linearGap(s) > 5,
    shown: (s) => `log p(x) − ELBO = KL(q ‖ p(z|x)) = ${number(linearGap(s))} nats`,
    reveal:
      "Insert p(x, z) = p(z|x) p(x) into ELBO = E[log p(x, z)/q(z)]: it is log p(x) − KL(q ‖ p(z|x)). log p(x) does not contain q, and a KL is never negative: the ELBO is a lower bound.",
  },
  {
    id: "tight",
    part: BOUND,
    page: "elbo",
    ask: "For which q(z) does the ELBO reach log p(x)?",
    options: ["The prior p(z)", "The posterior p(z|x)", "The narrowest q", "None: a bound is never reached"],
    right: 1,
    goal: "By moving q alone, close the gap to below 0.001 nats.",
    met: (s) => isLeftAlone(s, LINEAR) && linearGap(s) < 1e-3,
    shown: (s) => `q = N(${number(s.m, 3)}, ${number(s.v, 3)}²), gap ${number(linearGap(s), 2)} nats`,
    reveal:
      "And no other: the gap is KL(q ‖ p(z|x)), which is zero only at equality. An encoder is trained to get as close to it as its family allows.",
  },
  {
    id: "bumps",
    part: BOUND,
    page: "elbo",
    ask: "x = z² + noise, so two z explain one x. Can a normal q close the gap?",
    options: [
      "Yes: in the middle, wide enough",
      "Yes: on one of the bumps",
      "No: about log 2 nats remain",
      "No: the gap is infinite",
    ],
    right: 2,
    goal: "By moving q alone, bring the gap below 0.8 nats.",
    start: { model: "square", x: 2, s: 0.5 },
    met: (s) => isLeftAlone(s, SQUARE) && terms(s).gap < 0.8,
    shown: (s) => `q = N(${number(s.m, 3)}, ${number(s.v, 3)}²), gap ${number(terms(s).gap, 3)} nats`,
    reveal:
      "The posterior has two bumps. The best normal covers one of them and knows nothing of the other half of the mass: a gap of about log 2 = 0.693 nats is left. A richer family of q would close it.",
  },
  {
    id: "variance",
    part: GRADIENT,
    page: "reparam",
    ask: "Two unbiased gradients of E[z²]: through the sample z = µ + σε, or by the score function. Which varies less from draw to draw?",
    options: [
      "They vary alike",
      "The score function",
      "Through the sample, the more so the wider q is",
      "Through the sample, the more so the narrower q is",
    ],
    right: 3,
    start: { fn: "square", mu: 1, sigma: 0.7 },
    goal: "For f = z² or (z − c)², make the score function’s variance more than 1,000 times the other.",
    met: (s) => ratio(s) > 1000,
    shown: (s) => `${number(ratio(s), 3)} times, at σ = ${number(s.sigma, 3)}`,
    reveal:
      "Written as z = µ + σε, the sample lets the gradient of f through: variance 4σ² here. The score function sees only values of f and divides by σ: for a narrow q its variance explodes.",
  },
  {
    id: "jumps",
    part: GRADIENT,
    page: "reparam",
    ask: "For which f is the gradient through the sample wrong, however many draws?",
    options: ["z²", "sin 3z", "a step", "None: it is unbiased"],
    right: 2,
    goal: "Take that f, and make the true d/dµ larger than 0.5.",
    met: (s) => s.fn === "step" && FUNCTIONS.step.exact(s.mu, s.sigma, s.c)[1] > 0.5,
    shown: (s) => `truth ${number(FUNCTIONS.step.exact(s.mu, s.sigma, s.c)[1], 3)}, through the sample 0`,
    reveal:
      "A step has slope 0 almost everywhere, so every draw says 0, and no error bar warns. The same holds for a discrete z. The score function, which asks only for values of f, is right.",
  },
  ...RUN_STEPS,
];
