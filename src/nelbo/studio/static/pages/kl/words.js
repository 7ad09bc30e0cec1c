// What families and their parameters are called.

export const FAMILIES = [
  ["normal", "normal"],
  ["laplace", "Laplace"],
  ["cauchy", "Cauchy"],
  ["student", "Student’s t"],
  ["skew", "skew-normal"],
  ["truncated", "truncated normal"],
  ["mixture", "two normals"],
  ["exponential", "exponential"],
  ["bernoulli", "Bernoulli (a coin)"],
  ["poisson", "Poisson (counts)"],
];

/** Of each family its parameters, the letter and the name of each. @type {Record<string, Record<string, [string, string]>>} */
export const PARAMETERS = {
  normal: { mu: ["µ", "mean"], sigma: ["σ", "standard deviation"] },
  laplace: { mu: ["µ", "mean"], sigma: ["b", "width b"] },
  cauchy: { mu: ["µ", "median"], sigma: ["γ", "width γ"] },
  student: { mu: ["µ", "median"], sigma: ["σ", "width σ"], nu: ["ν", "degrees of freedom"] },
  skew: { mu: ["µ", "location"], sigma: ["σ", "width σ"], skew: ["skew", "skew"] },
  truncated: { mu: ["µ", "location"], sigma: ["σ", "width σ"], low: ["from", "lower end"], high: ["to", "upper end"] },
  mixture: {
    mu: ["µ₁", "mean of the first bump"],
    sigma: ["σ₁", "width of the first bump"],
    mu2: ["µ₂", "mean of the second bump"],
    sigma2: ["σ₂", "width of the second bump"],
    weight: ["share", "share of the second bump"],
  },
  exponential: { rate: ["rate", "rate"] },
  bernoulli: { prob: ["P(1)", "probability of 1"] },
  poisson: { rate: ["rate", "rate"] },
};
