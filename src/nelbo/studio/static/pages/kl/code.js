// The lines of Python that give the numbers shown.

import { literal } from "../../core/format.js";
import { side } from "./state.js";

const number = (value) => `number(${literal(value)})`;
const many = (...values) => `number([${values.map(literal).join(", ")}])`;

/** Of each family its expression, and the names it takes from torch.distributions or from nelbo.divergences. */
const WRITTEN = {
  normal: { torch: ["Normal"], write: ({ mu, sigma }) => `Normal(${number(mu)}, ${literal(sigma)})` },
  laplace: { torch: ["Laplace"], write: ({ mu, sigma }) => `Laplace(${number(mu)}, ${literal(sigma)})` },
  cauchy: { torch: ["Cauchy"], write: ({ mu, sigma }) => `Cauchy(${number(mu)}, ${literal(sigma)})` },
  student: {
    torch: ["StudentT"],
    write: ({ nu, mu, sigma }) => `StudentT(${number(nu)}, ${literal(mu)}, ${literal(sigma)})`,
  },
  skew: {
    nelbo: ["SkewNormal"],
    write: ({ mu, sigma, skew }) => `SkewNormal(${number(mu)}, ${literal(sigma)}, skew=${literal(skew)})`,
  },
  truncated: {
    nelbo: ["TruncatedNormal"],
    write: ({ mu, sigma, low, high }) =>
      `TruncatedNormal(${number(mu)}, ${literal(sigma)}, low=${literal(Math.min(low, high - 1e-6))}, high=${literal(high)})`,
  },
  mixture: {
    torch: ["Categorical", "MixtureSameFamily", "Normal"],
    write: ({ mu, sigma, mu2, sigma2, weight }) =>
      `MixtureSameFamily(Categorical(${many(1 - weight, weight)}), Normal(${many(mu, mu2)}, ${many(sigma, sigma2)}))`,
  },
  exponential: { torch: ["Exponential"], write: ({ rate }) => `Exponential(${number(rate)})` },
  bernoulli: { torch: ["Bernoulli"], write: ({ prob }) => `Bernoulli(${number(prob)})` },
  poisson: { torch: ["Poisson"], write: ({ rate }) => `Poisson(${number(rate)})` },
};

export function code(state) {
  const [p, q] = ["p", "q"].map((which) => side(state, which));
  const uses = [p, q].map(({ family }) => WRITTEN[family]);
  const names = (from) => [...new Set(uses.flatMap((family) => family[from] ?? []))].sort().join(", ");
  const imported = (module, list) => (list ? [`from ${module} import ${list}`] : []);
  return [
    "from functools import partial",
    "",
    "import torch",
    ...imported("torch.distributions", names("torch")),
    "",
    "import nelbo",
    ...imported("nelbo.divergences", names("nelbo")),
    "",
    "number = partial(torch.tensor, dtype=torch.float64)",
    `p = ${WRITTEN[p.family].write(p)}`,
    `q = ${WRITTEN[q.family].write(q)}`,
    "print(nelbo.kl(p, q), nelbo.kl(q, p))",
    "print(nelbo.divergences.jensen_shannon(p, q))",
  ].join("\n");
}
