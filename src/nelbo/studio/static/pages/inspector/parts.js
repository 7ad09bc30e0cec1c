// What the two terms of an example's loss are made of: the KL of each latent unit, the noise behind a code, the weights that
// the terms had in training.

import { klParts, root } from "./normal.js";

/** @import { Code, Moments, RunInfo } from "../../core/types.js" */

const LEAST = 1e-12; // a variance below this share of the largest is none

/** @param {number[][]} covariance */
export const isDiagonal = (covariance) =>
  covariance.every((line, r) => line.every((v, c) => r === c || Math.abs(v) < LEAST));

/**
 * KL(q || p) of each unit in its parts, nats; null where the formula of two normals does not hold.
 * @param {Pick<RunInfo, "is_point"|"is_normal"|"standard_normal_prior">} info
 * @param {Moments} q
 * @param {boolean} [isOwn] a normal whatever the model's is
 */
export function unitParts(info, q, isOwn = false) {
  if (!info.standard_normal_prior || !isDiagonal(q.covariance)) return null;
  if (!isOwn && (info.is_point || !info.is_normal)) return null;
  return Array.from(q.mean, (mean, j) => klParts(mean, Math.sqrt(q.covariance[j][j])));
}

/** epsilon of z = mean + L epsilon; 0 in a direction without extent. @param {Moments} q @param {Code} z @returns {number[]} */
export function noiseOf(q, z) {
  const l = root(q.covariance);
  const eps = [];
  for (let r = 0; r < l.length; r++) {
    let rest = z[r] - q.mean[r];
    for (let c = 0; c < r; c++) rest -= l[r][c] * eps[c];
    eps.push(l[r][r] > 0 ? rest / l[r][r] : 0);
  }
  return eps;
}

/** z = mean + L epsilon, which is mean + sigma epsilon in each unit where q factorizes. @param {Moments} q @param {number[]} eps */
export function codeOf(q, eps) {
  const l = root(q.covariance);
  return Array.from(q.mean, (mean, r) => l[r].reduce((sum, share, c) => sum + share * eps[c], mean));
}

/** The weight at the end of a schedule, and the words that say so. @param {number|Record<string, any>} weight */
const settledAt = (weight) =>
  typeof weight === "object" ? [weight.end ?? 1, " at the end of its schedule"] : [weight, ""];

const sumOf = (error, weight, other, told) =>
  Number.isFinite(error) && Number.isFinite(other)
    ? `: ${told(error)} + ${short(weight)} · ${told(other)} = ${told(error + weight * other)}`
    : "";
const short = (weight) => String(Number(weight.toPrecision(4)));

/** What an objective minimizes besides the total loss. @type {Record<string, (own: any, error: number, kl: number, told: (nats: number) => string) => string>} */
const OBJECTIVES = {
  Beta({ beta }, error, kl, told) {
    const [weight, when] = settledAt(beta);
    if (weight === 1 && !when) return "";
    return `reconstruction error + β · KL, with β = ${short(weight)}${when}${sumOf(error, weight, kl, told)}`;
  },
  Reconstruction: () => "the reconstruction error alone",
  FreeBits: ({ floor }, error, kl, told) =>
    `reconstruction error + Σ max(KL of a unit, ${told(floor)}), by the means over a batch`,
  Capacity({ capacity, gamma }, error, kl, told) {
    const [to, when] = settledAt(capacity);
    const sum = sumOf(error, gamma, Math.abs(kl - to), told);
    return `reconstruction error + γ · |KL − C|, with γ = ${short(gamma)} and C = ${told(to)}${when}${sum}`;
  },
  ImportanceWeighted: () => "an importance-weighted bound, which is tighter than this sum",
  BetaTC: () => "this sum with a weight of its own on each part of the mean KL (β-TCVAE)",
  MMD: () => "the reconstruction error and the distance (MMD) of all codes to the prior, in place of the KL",
};

/**
 * What training minimized, where that is not the total loss.
 * @param {?Record<string, any>} objective as a run's record has it
 * @param {{reconstruction_error?: ?number, kl?: ?number}} terms of one example, nats
 * @param {(nats: number) => string} told
 * @returns {string} "" where it is the total loss, or not known
 */
export function minimized(objective, terms, told) {
  const words = OBJECTIVES[objective?.name]?.(objective, terms.reconstruction_error, terms.kl, told);
  return words ? `Training minimized ${words}.` : "";
}

/**
 * What each pixel costs: a picture's channels together.
 * @param {ArrayLike<number>} errors of each feature
 * @param {number[]} event (channels, height, width)
 */
export function ofPixels(errors, [channels, height, width]) {
  const size = height * width;
  const sums = new Float64Array(size);
  for (let c = 0; c < channels; c++) for (let i = 0; i < size; i++) sums[i] += errors[c * size + i];
  return sums;
}

/** The positions of the largest values, largest first. @param {ArrayLike<number>} values @param {number} count */
export const largest = (values, count) =>
  Array.from({ length: values.length }, (_, i) => i)
    .sort((a, b) => values[b] - values[a])
    .slice(0, count);
