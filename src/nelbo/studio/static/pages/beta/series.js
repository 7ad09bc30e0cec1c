// The models of a series, each as the inspector opens it, with their codes in one plane.

import { ask } from "../../core/store.js";
import { acrossPlane, along, rowsOf } from "../inspector/axes.js";
import { openRun } from "../inspector/source.js";

/** @import { Example, Model, Source } from "../../core/types.js" */

const SHARE = 0.995; // of the codes that are in view at least
const [SIGMAS, MARGIN] = [3.4, 1.08]; // of the prior that is in view at least, and room around the codes

/**
 * @typedef {{run: string, name: string, title: string, beta: number, latent: number}} Entry a model, as "beta.series" lists it
 * @typedef {{data: ?string, runs: Entry[]}} Series
 *
 * @typedef {Object} Opened
 * @property {Entry[]} entries by their beta
 * @property {number[]} betas
 * @property {Source[]} sources
 * @property {number} n examples
 * @property {Float32Array[]} xs of each model's means in the plane, and ys
 * @property {Float32Array[]} ys
 * @property {number[]} reach half the width of the plane that shows each model
 * @property {(row: number) => Promise<Seen[]>} example under each model
 *
 * @typedef {{example: Example, mean: number[], covariance: number[][]}} Seen mean and covariance of q in the plane
 */

/** @param {Model} model @param {Series} series @returns {Promise<Opened>} */
export async function openSeries(model, { runs }) {
  const sources = await Promise.all(runs.map(({ run }) => openRun(model, run, "")));
  const [{ content }] = await Promise.all([
    ask(model, "beta.directions", { run: runs[0].run }),
    ...sources.map((source) => source.fetchDecoder().catch(() => {})),
  ]);
  /** @type {number[][][]} */
  const directions = content.directions;
  const n = Math.min(...sources.map((source) => source.n));
  const [xs, ys] = [0, 1].map((d) =>
    sources.map((source, i) =>
      Float32Array.from({ length: n }, (_, row) =>
        directions[i][d] ? along([directions[i][d]], source.meanOf(row))[0] : scattered(row),
      ),
    ),
  );
  const reach = sources.map((source, i) => {
    const far = xs[i].map((x, row) => Math.max(Math.abs(x), Math.abs(ys[i][row]))).sort();
    const most = MARGIN * far[Math.floor(SHARE * (n - 1))];
    return source.info.is_point ? most || 1 : Math.max(SIGMAS, most);
  });
  return {
    entries: runs,
    betas: runs.map(({ beta }) => beta),
    sources,
    n,
    xs,
    ys,
    reach,
    async example(row) {
      const examples = await Promise.all(sources.map((source) => source.example(row)));
      return examples.map((example, i) => {
        const [w] = [directions[i]];
        const covariance = acrossPlane(w, rowsOf(example.covariance, sources[i].latent));
        const [x, y = scattered(row)] = along(w, example.mean);
        if (w.length === 1)
          return {
            example,
            mean: [x, y],
            covariance: [
              [covariance[0][0], 0],
              [0, 0],
            ],
          };
        return { example, mean: [x, y], covariance };
      });
    },
  };
}

const scattered = (row) => 0.8 * Math.sin(12.9898 * (row + 1) * 78.233);

/** What a model is called. @param {Entry} entry */
export const nameOf = ({ beta }) => (beta === 0 ? "autoencoder" : beta === 1 ? "VAE, β = 1" : `β = ${beta}`);
