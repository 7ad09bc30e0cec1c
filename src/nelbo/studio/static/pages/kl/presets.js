// States of the KL explorer worth seeing, in plain words.

const same = { family_p: "normal", family_q: "normal" };

/** The same family on both sides. */
const two = (family, of_p, of_q) => ({
  family_p: family,
  family_q: family,
  ...Object.fromEntries(Object.entries(of_p).map(([name, value]) => [`${name}_p`, value])),
  ...Object.fromEntries(Object.entries(of_q).map(([name, value]) => [`${name}_q`, value])),
});

export const TWO_BUMPS = {
  ...same,
  family_p: "mixture",
  mu_p: -2,
  sigma_p: 0.6,
  mu2_p: 2,
  sigma2_p: 0.6,
  weight_p: 0.5,
  mu_q: 0,
  sigma_q: 2.1,
};

/** @type {import("../../core/types.js").Preset[]} */
export const PRESETS = [
  { name: "q wider", title: "covers p: KL(p‖q) is the smaller", state: { mu_p: 0, sigma_p: 1, mu_q: 0, sigma_q: 3 } },
  {
    name: "q narrower",
    title: "misses p's tails: KL(p‖q) is the larger",
    state: { mu_p: 0, sigma_p: 2, mu_q: 0, sigma_q: 0.5 },
  },
  {
    name: "same width",
    title: "symmetric, whatever the means",
    state: { mu_p: -1.5, sigma_p: 1, mu_q: 1.5, sigma_q: 1 },
  },
  { name: "equal", title: "the one case with KL = 0", state: { mu_p: 0.5, sigma_p: 1.2, mu_q: 0.5, sigma_q: 1.2 } },
  {
    name: "almost apart",
    title: "no overlap to speak of: JS stays below log 2, KL does not",
    state: { mu_p: -3, sigma_p: 0.6, mu_q: 3, sigma_q: 0.6 },
  },
  { name: "two bumps, one q", title: "mode covering against mode seeking", state: TWO_BUMPS },
  {
    name: "q cut off",
    title: "q = 0 where p > 0: KL(p‖q) is infinite",
    state: { mu_p: 0, sigma_p: 1, family_q: "truncated", mu_q: 0, sigma_q: 1.5, low_q: -1.5, high_q: 1.5 },
  },
  {
    name: "skewed",
    title: "same location and scale, another shape",
    state: { family_p: "skew", mu_p: 0, sigma_p: 1.5, skew_p: 5, mu_q: 1, sigma_q: 1 },
  },
  {
    name: "two Laplaces",
    title: "as with normals: symmetric for equal widths only",
    state: two("laplace", { mu: 0, sigma: 1 }, { mu: 1, sigma: 2 }),
  },
  {
    name: "two Cauchys",
    title: "symmetric for all pairs, whatever the widths",
    state: two("cauchy", { mu: -1, sigma: 0.5 }, { mu: 1, sigma: 2 }),
  },
  {
    name: "heavy tail",
    title: "a Cauchy's tail against a normal's: KL(p‖q) is infinite, KL(q‖p) is not",
    state: { family_p: "cauchy", mu_p: 0, sigma_p: 1, mu_q: 0, sigma_q: 1.5 },
  },
  {
    name: "two exponentials",
    title: "symmetric for equal rates only",
    state: two("exponential", { rate: 1 }, { rate: 0.4 }),
  },
  {
    name: "two coins",
    title: "symmetric where they are equal, or one is the other turned over",
    state: two("bernoulli", { prob: 0.2 }, { prob: 0.7 }),
  },
  { name: "two Poissons", title: "symmetric for equal rates only", state: two("poisson", { rate: 3 }, { rate: 6 }) },
].map((preset) => ({ ...preset, state: { ...same, ...preset.state } }));
