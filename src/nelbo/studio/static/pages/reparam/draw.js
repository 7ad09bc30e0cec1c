// One draw, by hand: epsilon, z and f(z), and what both estimators make of it.

import { write } from "../../core/store.js";
import { FUNCTIONS, gradients } from "./estimators.js";

/**
 * z = mu + sigma epsilon, f(z), its slope, and the gradients by [mu, sigma].
 * @param {import("../../core/types.js").State} state
 * @returns {{z: number, f: number, slope: number, pathwise: [number, number], score: [number, number]}}
 */
export function oneDraw({ fn, mu, sigma, c, eps }) {
  const z = mu + sigma * eps;
  const { f, slope } = FUNCTIONS[fn];
  const { pathwise, score } = gradients({ fn, mu, sigma, c }, [eps]);
  const both = (made) => /** @type {[number, number]} */ (made.map((values) => values[0]));
  return { z, f: f(z, c), slope: slope(z, c), pathwise: both(pathwise), score: both(score) };
}

/**
 * A sample of a stochastic node does not know how it was made: where mu or sigma move, z stays, and epsilon gives way.
 * @param {import("../../core/types.js").Model} model
 * @returns {() => void} ends it
 */
export function keepSample(model) {
  const value = () => model.get("mu") + model.get("sigma") * model.get("eps");
  let z = value();
  let isOwn = false;
  const moved = () => {
    if (model.get("node") !== "stochastic") z = value();
    else {
      isOwn = true;
      write(model, { eps: Number(((z - model.get("mu")) / model.get("sigma")).toPrecision(6)) });
      isOwn = false;
    }
  };
  const drawn = () => {
    if (!isOwn) z = value();
  };
  const listeners = { mu: moved, sigma: moved, eps: drawn, node: drawn };
  for (const [name, listener] of Object.entries(listeners)) model.on(`change:${name}`, listener);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) model.off(`change:${name}`, listener);
  };
}
