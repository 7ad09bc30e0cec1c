// A run's encoder and decoder in the page, as far as they travel: pictures, q(z|x) and the terms of the loss without Python.

import { estimator } from "./estimate.js";
import { likelihood } from "./likelihood.js";
import { network } from "./network.js";
import { covarianceOf, klToStandardNormal, normalOf, posterior } from "./posterior.js";

/** @import { Answer, Code, Example, Normal, RunInfo } from "../../core/types.js" */

const NO_KL = "The KL to this prior needs the studio.";

/**
 * @param {RunInfo} info
 * @param {(part: "encoder" | "decoder") => Promise<Answer>} weights
 */
export function inPage(info, weights) {
  /** @type {Partial<Record<"encoder" | "decoder", ReturnType<typeof network>>>} */
  const known = {};
  /** @type {Record<string, Promise<void>>} */
  const asked = {};
  const px = info.picture && likelihood(info.picture);
  const n = info.latent;
  const estimates = estimator((codes, count, x, shares, sums) => {
    const outputs = known.decoder(codes, count);
    const size = outputs.length / count;
    const one = (i) => outputs.subarray(i * size, (i + 1) * size);
    return Float64Array.from({ length: count }, (_, i) => px.error(one(i), x, sums, shares[i]));
  }, n);

  /** @param {"encoder" | "decoder"} part */
  function fetched(part) {
    if (!info.in_page[part]) return Promise.resolve();
    asked[part] ??= weights(part).then(({ content, buffers }) => void (known[part] = network(content, buffers)));
    asked[part].catch(() => delete asked[part]); // it is asked for again
    return asked[part];
  }

  const kl = (q) => (info.standard_normal_prior ? klToStandardNormal(q) : null);

  /** The terms of an input from an estimate of its reconstruction error. */
  function terms(q, { value, error, errors, draws = 0 }) {
    const own = kl(q);
    const isKnown = own !== null;
    return {
      reconstruction_error: value,
      kl: own,
      nelbo: isKnown ? value + own : null,
      standard_errors: { reconstruction_error: error, kl: 0, nelbo: isKnown ? error : null },
      draws,
      errors,
      ...(info.standard_normal_prior ? {} : { missing: "–", how: NO_KL }),
    };
  }

  /** @param {Float32Array} x @param {Normal} q */
  function example(x, q, found) {
    const outputs = known.decoder(q.mean);
    return {
      row: null,
      ...terms(q, found),
      at_mean: px.error(outputs, x),
      x: x.slice(),
      reconstruction: px.mean(outputs),
      mean: q.mean,
      covariance: covarianceOf(q),
    };
  }

  const here = {
    get decodes() {
      return Boolean(known.decoder);
    },
    get encodes() {
      return Boolean(known.decoder && known.encoder);
    },
    /** Whether both networks travel, be they here yet or not. */
    canEncode: info.in_page.decoder && info.in_page.encoder,
    canDecode: info.in_page.decoder,
    fetchDecoder: () => fetched("decoder"),
    fetchBoth: () => Promise.all([fetched("decoder"), fetched("encoder")]),
    /** The mean of p(x|z). @param {Code} z */
    mean: (z) => px.mean(known.decoder(z)),
    /** Of several codes, one after the other. @param {Code[]} codes */
    means(codes) {
      const flat = new Float32Array(codes.length * n);
      codes.forEach((z, i) => flat.set(z, i * n));
      const outputs = known.decoder(flat, codes.length);
      const size = outputs.length / codes.length;
      const all = codes.map((_, i) => px.mean(outputs.subarray(i * size, (i + 1) * size)));
      const means = new Float32Array(codes.length * all[0].length);
      all.forEach((mean, i) => means.set(mean, i * mean.length));
      return means;
    },
    /** @param {Code} z @param {Float32Array} x */
    error: (z, x) => px.error(known.decoder(z), x),
    /** The same, and its terms, of each feature. @param {Code} z @param {Float32Array} x */
    errors(z, x) {
      const errors = new Float64Array(x.length);
      return { sum: px.error(known.decoder(z), x, errors), errors };
    },
    /** q(z|x) of an input, its reconstruction and its terms, within a frame. @param {Float32Array} x @returns {Example} */
    encodeNow(x) {
      const q = posterior(info.posterior_form, known.encoder(x), n);
      const found = estimates.quickly(x, q);
      return { how: found.how, ...example(x, q, found) };
    },
    /** The same over many draws; null as soon as it need not go on. @param {Float32Array} x @param {() => boolean} goesOn */
    async encode(x, goesOn) {
      const kept = x.slice(); // a stroke goes on meanwhile
      const q = posterior(info.posterior_form, known.encoder(kept), n);
      const found = await estimates.closely(kept, q, goesOn);
      return found && example(kept, q, found);
    },
    /** The reconstruction error under a q of the reader's own, within a frame. */
    errorUnder(x, mean, covariance) {
      const { value, errors, how } = estimates.quickly(x, normalOf(mean, covariance));
      return { reconstruction_error: value, errors, how };
    },
    /** Its terms over many draws; null as soon as it need not go on. */
    async termsUnder(x, mean, covariance, goesOn) {
      const q = normalOf(mean, covariance);
      const found = await estimates.closely(x, q, goesOn);
      return found && terms(q, found);
    },
  };
  return here;
}
