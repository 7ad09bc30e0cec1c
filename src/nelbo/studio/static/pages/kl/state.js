// The state of the KL explorer and what it stands for.

import { density, isOfCounts } from "../../core/families.js";
import { PAGES } from "../../core/pages.js";
import { write } from "../../core/store.js";

export const NAMES = Object.keys(PAGES.kl.defaults);
export const SHAPE = NAMES.filter((name) => /_(p|q)$/.test(name));

/** @import { Density, Shape } from "../../core/densities.js" */
/** @import { Model } from "../../core/types.js" */

/** The parameters of one side. @returns {Shape} */
export function side(state, which) {
  return Object.fromEntries(
    SHAPE.filter((name) => name.endsWith(`_${which}`)).map((name) => [name.slice(0, -2), state[name]]),
  );
}

/** Both densities. @returns {[Density, Density]} */
export const pair = (state) => [density(side(state, "p")), density(side(state, "q"))];

/**
 * A count and a density share no mass. Where one side turns to a family of counts, or away from one, the other follows.
 * @param {Model} model
 * @returns {() => void} ends it
 */
export function keepTogether(model) {
  const follow = (leader, other) => {
    const [family, there] = [leader, other].map((which) => model.get(`family_${which}`));
    if (family !== there && (isOfCounts(family) || isOfCounts(there))) write(model, { [`family_${other}`]: family });
  };
  const listeners = { family_p: () => follow("p", "q"), family_q: () => follow("q", "p") };
  for (const [name, listener] of Object.entries(listeners)) model.on(`change:${name}`, listener);
  listeners[isOfCounts(model.get("family_q")) ? "family_q" : "family_p"]();
  return () => {
    for (const [name, listener] of Object.entries(listeners)) model.off(`change:${name}`, listener);
  };
}
