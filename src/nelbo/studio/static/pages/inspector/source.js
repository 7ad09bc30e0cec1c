// A run as the inspector sees it: its examples in latent space, their terms, and its decoder, here or in Python.

import { ask, floats } from "../../core/store.js";
import { likelihood, network } from "./network.js";

export const TERMS = ["reconstruction_error", "kl", "nelbo"];

/**
 * @typedef {Object} Example one input under a model
 * @property {?number} row
 * @property {?number} reconstruction_error
 * @property {?number} kl null where it is infinite: an autoencoder's
 * @property {?number} nelbo
 * @property {number} standard_error
 * @property {number} at_mean -log p(x|z) at the mean of q
 * @property {Float32Array} x
 * @property {Float32Array} reconstruction
 * @property {Float32Array} mean
 * @property {Float32Array} covariance (latent x latent)
 */

/**
 * @param {import("../../core/store.js").Model} model the host
 * @param {string} run
 * @param {string} split "" for what was held out
 */
export async function openRun(model, run, split) {
  const which = split ? { run, split } : { run };
  const { content: info, buffers } = await ask(model, "inspect.open", which);
  const [mean, sd, reconstruction_error, kl, nelbo, standard_error, labels] = buffers.map((buffer) => floats(buffer));
  const features = info.event.reduce((product, size) => product * size, 1);
  const examples = new Map();
  const planes = new Map();
  const local = { decoder: null, encoder: null };
  const px = info.picture && likelihood(info.picture);

  const source = {
    run, split: info.split, info, features, mean, sd, labels,
    n: info.n,
    latent: info.latent,
    terms: { reconstruction_error, kl, nelbo },
    standard_error,
    sorted: {},
    range: pictureRange(info),
    /** Whether a decoding costs less than a frame, because it happens here. */
    get isLocal() {
      return Boolean(local.decoder && px);
    },
    /** The posterior mean of an example. */
    meanOf: (row) => mean.subarray(row * info.latent, (row + 1) * info.latent),
    /** The mean of p(x|z), at once; null where Python has to be asked. @returns {?Float32Array} */
    decodeNow: (z) => (source.isLocal ? px.mean(local.decoder(z)) : null),
    /** -log p(x|z) in nats, at once; null where Python has to be asked. */
    errorNow: (z, x) => (source.isLocal ? px.error(local.decoder(z), x) : null),
    /** The means of p(x|z) of several codes, one after the other. @returns {Promise<Float32Array>} */
    async decode(codes) {
      if (source.isLocal) {
        const pictures = new Float32Array(codes.length * features);
        codes.forEach((z, i) => pictures.set(source.decodeNow(z), i * features));
        return pictures;
      }
      const flat = new Float32Array(codes.length * info.latent);
      codes.forEach((z, i) => flat.set(z, i * info.latent));
      const answer = await ask(model, "inspect.decode", { run }, [flat.buffer]);
      return floats(answer.buffers[0]);
    },
    /** An example, looked at closely. @returns {Promise<Example>} */
    example(row) {
      if (!examples.has(row)) {
        const asked = ask(model, "inspect.examples", { ...which, rows: [row] }).then(firstExample);
        asked.catch(() => examples.delete(row));
        examples.set(row, asked);
      }
      return examples.get(row);
    },
    /** An input of one's own. @returns {Promise<Example>} */
    encode: (x) => ask(model, "inspect.encode", which, [x.slice().buffer]).then(firstExample),
    /** The terms of an input under a normal q of one's own. */
    async termsUnder(x, own, covariance) {
      const parts = [x, own, covariance].map((values) => Float32Array.from(values).buffer);
      return (await ask(model, "inspect.terms", which, parts)).content;
    },
    /** Layers over the plane of these axes through `at`, in the box that Python chooses. */
    plane(axes, layers, n, at = null) {
      const own = { ...(String(axes) === String(info.axes) ? {} : { axes }), ...(at ? { at } : {}) };
      const key = JSON.stringify([own, layers, n]);
      if (!planes.has(key)) {
        const asked = ask(model, "inspect.plane", { ...which, ...own, layers, n }).then(({ content, buffers }) => ({
          n: content.n,
          low: content.low,
          high: content.high,
          layers: Object.fromEntries(content.layers.map((name, i) => [name, floats(buffers[i])])),
        }));
        asked.catch(() => planes.delete(key));
        planes.set(key, asked);
      }
      return planes.get(key);
    },
    /** Fetch the decoder, where it is small and dense, so that pictures follow the hand. */
    async makeLocal() {
      if (!px || !info.dense.decoder || local.decoder) return;
      const answer = await ask(model, "inspect.weights", { run, part: "decoder" });
      local.decoder = network(answer.content, answer.buffers);
    },
    /** How many examples of the set have a lower value, from 0 to n. */
    rank(term, value) {
      const all = (source.sorted[term] ??= Float32Array.from(source.terms[term]).sort());
      let low = 0;
      let high = all.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (all[middle] < value) low = middle + 1;
        else high = middle;
      }
      return low;
    },
    /** The value that a share of the examples stays below. */
    quantile(term, share) {
      const all = (source.sorted[term] ??= Float32Array.from(source.terms[term]).sort());
      return all[Math.min(all.length - 1, Math.floor(share * all.length))];
    },
    /** Examples nearest to a code in the latent space, nearest first. */
    nearest(z, count) {
      const far = new Float64Array(info.n);
      for (let i = 0; i < info.n; i++) {
        for (let d = 0; d < info.latent; d++) far[i] += (mean[i * info.latent + d] - z[d]) ** 2;
      }
      return Array.from(far.keys()).sort((a, b) => far[a] - far[b]).slice(0, count);
    },
    className: (row) => (info.label_names?.length ? info.label_names[labels[row]] : null),
  };
  return source;

  function firstExample({ content, buffers }) {
    const [x, reconstruction, mean, covariance] = buffers.map((buffer) => floats(buffer));
    return { ...content.examples[0], x, reconstruction, mean, covariance };
  }
}

/** Which values are black and white: 0 and 1 where the data lie within, else the data's own range. */
function pictureRange(info) {
  const [low, high] = info.range;
  return low >= 0 && high <= 1 ? [0, 1] : [low, high];
}

/** KL(N(mean, sd^2) || N(0, 1)) of one unit in its three parts, nats: place, width, and their sum. */
export function klParts(mean, sd) {
  const place = 0.5 * mean * mean;
  // expm1 keeps the digits that (sd^2 - 1) / 2 - log sd loses near sd = 1
  const log = Math.log(sd);
  const width = 0.5 * (Math.expm1(2 * log) - 2 * log);
  return { place, width, kl: place + width };
}

/** Lower triangular root of a covariance (Cholesky); directions without extent stay without. @param {number[][]} covariance */
export function root(covariance) {
  const l = covariance.map((row) => row.map(() => 0));
  covariance.forEach((row, r) => {
    for (let c = 0; c <= r; c++) {
      let rest = row[c];
      for (let k = 0; k < c; k++) rest -= l[r][k] * l[c][k];
      l[r][c] = r === c ? Math.sqrt(Math.max(rest, 0)) : l[c][c] > 0 ? rest / l[c][c] : 0;
    }
  });
  return l;
}
