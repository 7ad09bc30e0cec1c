// The state of the KL explorer and what it stands for.

import { density } from "../../core/families.js";
import { literal } from "../../core/format.js";
import { PAGES } from "../../core/pages.js";

export const NAMES = Object.keys(PAGES.kl.defaults);
export const SHAPE = NAMES.filter((name) => /_(p|q)$/.test(name));

/** @import { Density, Shape } from "../../core/families.js" */

/** The parameters of one side. @returns {Shape} */
export function side(state, which) {
  return Object.fromEntries(
    SHAPE.filter((name) => name.endsWith(`_${which}`)).map((name) => [name.slice(0, -2), state[name]]),
  );
}

/** Both densities. @returns {[Density, Density]} */
export const pair = (state) => [density(side(state, "p")), density(side(state, "q"))];

const same = { family_p: "normal", family_q: "normal" };
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
  {
    name: "two bumps, one q",
    title: "mode covering against mode seeking",
    state: {
      family_p: "mixture",
      mu_p: -2,
      sigma_p: 0.6,
      mu2_p: 2,
      sigma2_p: 0.6,
      weight_p: 0.5,
      mu_q: 0,
      sigma_q: 2.1,
    },
  },
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
].map((preset) => ({ ...preset, state: { ...same, ...preset.state } }));

/** The lines of Python that give the numbers shown. */
export function code(state) {
  const uses = new Set();
  const number = (value) => `number(${literal(value)})`;
  const build = (which) => {
    const { family, mu, sigma, skew, low, high, mu2, sigma2, weight } = side(state, which);
    uses.add(family);
    if (family === "skew") return `SkewNormal(${number(mu)}, ${literal(sigma)}, skew=${literal(skew)})`;
    if (family === "truncated")
      return `TruncatedNormal(${number(mu)}, ${literal(sigma)}, low=${literal(Math.min(low, high - 1e-6))}, high=${literal(high)})`;
    if (family === "mixture") {
      const many = (...values) => `number([${values.map(literal).join(", ")}])`;
      return `MixtureSameFamily(Categorical(${many(1 - weight, weight)}), Normal(${many(mu, mu2)}, ${many(sigma, sigma2)}))`;
    }
    return `Normal(${number(mu)}, ${literal(sigma)})`;
  };
  const lines = [`p = ${build("p")}`, `q = ${build("q")}`];
  const torch = ["normal", "mixture"].some((f) => uses.has(f))
    ? [uses.has("mixture") ? "Categorical, MixtureSameFamily, Normal" : "Normal"]
    : [];
  const own = [uses.has("skew") && "SkewNormal", uses.has("truncated") && "TruncatedNormal"].filter(Boolean);
  return [
    "from functools import partial",
    "",
    "import torch",
    ...torch.map((names) => `from torch.distributions import ${names}`),
    "",
    "import nelbo",
    ...(own.length ? [`from nelbo.divergences import ${own.join(", ")}`] : []),
    "",
    "number = partial(torch.tensor, dtype=torch.float64)",
    ...lines,
    "print(nelbo.kl(p, q), nelbo.kl(q, p))",
    "print(nelbo.divergences.jensen_shannon(p, q))",
  ].join("\n");
}
