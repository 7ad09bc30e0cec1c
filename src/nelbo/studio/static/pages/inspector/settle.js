// A state brought into what a run has: a link may name examples, axes or codes that it does not.

/** @import { Source, State } from "../../core/types.js" */

const FARTHEST = 1000; // of a coordinate; Python takes no others
const LEAST = 1e-3; // standard deviation of a q of one's own

/**
 * What has to change in a state, and what is said of it.
 * @param {State} state pins, active, axes, view, other_view, z, q and lasso
 * @param {Source} source
 * @returns {{change: State, said: string[]}}
 */
export function settled(state, source) {
  const said = [];
  const pins = state.pins.filter((row) => row < source.n);
  if (pins.length < state.pins.length) said.push(`Examples are 0 to ${source.n - 1}; others were left out`);
  if (!pins.length) pins.push(firstLike(source));
  /** @type {State} */
  const change = { pins, active: Math.min(state.active, pins.length - 1) };
  const across = Math.min(2, source.latent);
  const { axes } = state;
  const fit = axes.length === across && new Set(axes).size === across && axes.every((axis) => axis < source.latent);
  if (axes.length && !fit) change.axes = [];
  if (!source.info.principal) change.projection = "units";
  for (const name of ["z", "q", "lasso"]) {
    change[name] = state[name].map((v) => Math.min(FARTHEST, Math.max(-FARTHEST, v)));
    if (String(change[name]) !== String(state[name]))
      said.push(`${name} holds numbers from −${FARTHEST} to ${FARTHEST}; others were clamped`);
  }
  if (source.latent < 2) change.lasso = [];
  const view = state.view;
  if (view.length && (view.length !== across + 1 || !(view.at(-1) > 0))) change.view = [];
  if (state.other_view.length && !(state.other_view.at(-1) > 0)) change.other_view = [];
  if (change.z.length !== source.latent) change.z = [];
  if (change.q.length !== 2 * across || change.q.slice(across).some((sd) => sd < LEAST)) change.q = [];
  return { change, said };
}

/** The worksheet's digit, a 6, where there is one. @param {Source} source */
function firstLike(source) {
  const six = source.info.label_names?.indexOf("6") ?? -1;
  return six < 0 ? 0 : Math.max(0, source.labels.indexOf(six));
}
