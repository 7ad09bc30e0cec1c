// Where a finding is seen: the state of the inspector that shows its evidence, or the curves of the training.

/** @import { State } from "../../core/types.js" */

const KL = { unfold: "kl", colour: "kl" };
const ERROR = { unfold: "reconstruction_error", colour: "reconstruction_error" };
const BOTH = { unfold: "nelbo", colour: "nelbo" };

/** @type {Record<string, State>} */
const SEEN = {
  holes: { layers: ["prior", "holes"] },
  "aggregate-posterior": { layers: ["prior", "aggregate"] },
  "under-regularized": { unfold: "nelbo", layers: ["prior", "holes"] },
  "decoder-ignores-z": { unfold: "reconstruction_error", layers: ["prior", "pictures"] },
  ...Object.fromEntries(
    [
      "posterior-collapse",
      "unused-units",
      "kl-without-information",
      "variance-clamp",
      "kl-doubled",
      "kl-formula",
      "kl-mean",
      "kl-of-variance",
      "kl-sign",
    ].map((id) => [id, KL]),
  ),
  ...Object.fromEntries(
    [
      "sigma-too-large",
      "sigma-too-small",
      "one-sigma",
      "gray-bernoulli",
      "integer-density",
      "dispersion",
      "outside-support",
      "columns-differ-in-scale",
      "no-sampling",
      "sample-with-variance",
      "reconstruction-mean",
      "loss-likelihood",
    ].map((id) => [id, ERROR]),
  ),
};
const OF_TRAINING = new Set([
  "not-converged",
  "learning-rate",
  "gradient-explosion",
  "kl-rises-early",
  "warm-up-unfinished",
  "not-finite",
  "validation-beta",
  "overfit",
]);

/**
 * @param {string} id of a finding
 * @returns {{page: "train"} | {page: "inspector", state: State}}
 */
export const evidenceOf = (id) =>
  OF_TRAINING.has(id) ? { page: "train" } : { page: "inspector", state: SEEN[id] ?? BOTH };
