// Descents of E f by three estimators: the same start, the same draws, the same step size.

import { FUNCTIONS, gradients } from "./estimators.js";

/** @import { State } from "../../core/types.js" */

export const STEPS = 200;
const FAR = 50; // a descent that has run away stays here

/**
 * The mean of q after each step of a descent, from `state.mu` on; two draws a step, so that the leave-one-out baseline
 * exists for all on equal terms.
 * @param {State} state with `rate`, the step size
 * @param {string} name of the estimator
 * @param {number[][]} pairs two draws of epsilon for each step
 * @returns {number[]}
 */
export function descent(state, name, pairs) {
  let mu = state.mu;
  const places = [mu];
  for (const pair of pairs) {
    const made = gradients({ ...state, mu }, pair)[name][0];
    mu -= state.rate * 0.5 * (made[0] + made[1]);
    mu = Math.max(-FAR, Math.min(FAR, mu));
    places.push(mu);
  }
  return places;
}

/**
 * What a descent's wandering costs: by how much E f lies above its least value, on average over the second half.
 * @param {State} state
 * @param {number[]} places
 */
export function cost({ fn, sigma, c }, places) {
  const { exact, best } = FUNCTIONS[fn];
  const late = places.slice(Math.floor(places.length / 2));
  const least = best ? exact(best(c), sigma, c)[0] : 0; // of a step: far to the left
  return late.reduce((sum, mu) => sum + exact(mu, sigma, c)[0] - least, 0) / late.length;
}
