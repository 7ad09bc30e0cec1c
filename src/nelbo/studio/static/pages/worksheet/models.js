// The steps on trained models: an autoencoder against a VAE, and one digit under two VAEs. They look at the demo's runs, or
// else at runs of the same kinds.

import { number } from "../../core/format.js";
import { ask } from "../../core/store.js";
import { klParts } from "../inspector/normal.js";
import { openRun } from "../inspector/source.js";

/** @import { Model, Role, RunEntry, Source, State, Step } from "../../core/types.js" */

const MODELS = "Autoencoders and VAEs";
const RECIPES = { autoencoder: "autoencoder", vae: "vae", heavy: "beta_vae" };
const FOLDERS = { autoencoder: "autoencoder", vae: "vae", heavy: "beta-vae" };
const FAR = 4; // from the origin; one draw of N(0, I) in 3,000 gets there on a plane
const WITHIN = 2; // 86 % of them stay there
const HOLE = 0.25; // from the nearest code
const CLOSE = 1.05; // of the last value

/**
 * Which runs the steps look at.
 * @param {{runs: RunEntry[], demo: {out: string}}} listed
 * @returns {Partial<Record<Role, string>>}
 */
export function rolesOf({ runs, demo }) {
  const usable = runs.filter(({ status, terms }) => ["finished", "in memory"].includes(status) && terms);
  const like = (entry) => !vae || entry === vae || (entry.data === vae.data && entry.latent === vae.latent);
  /** @param {Role} role */
  const find = (role) =>
    usable.find(({ run }) => run === `${demo.out}/${FOLDERS[role]}`) ??
    usable.find((entry) => entry.recipe === RECIPES[role] && like(entry));
  /** @type {?RunEntry} */
  let vae = null;
  vae = find("vae") ?? null;
  const roles = Object.keys(RECIPES).map((role) => [role, find(/** @type {Role} */ (role))?.run]);
  return Object.fromEntries(roles.filter(([, run]) => run));
}

/**
 * What a step's page opens with; null where its runs are missing.
 * @param {Step} step
 * @param {Model} model
 * @returns {Promise<?State>}
 */
export async function startOf(step, model) {
  if (!step.runs) return step.start ?? {};
  const roles = rolesOf((await ask(model, "train.list")).content);
  const [run, other] = [roles[step.runs.run], roles[step.runs.other]];
  return run && other ? { run, other, ...step.start } : null;
}

/** @type {WeakMap<Model, Map<string, Promise<Source>>>} */
const known = new WeakMap();

/** Both runs of the inspector, once they are open. @param {Model} model @param {State} state @returns {Promise<Source[]>} */
function sources(model, { run, other, split }) {
  if (!known.has(model)) known.set(model, new Map());
  const opened = known.get(model);
  return Promise.all(
    [run, other].map((name) => {
      const key = `${name}?${split}`;
      if (!opened.has(key)) {
        const asked = openRun(model, name, split);
        asked.catch(() => opened.delete(key));
        opened.set(key, asked);
      }
      return opened.get(key);
    }),
  );
}

/** An autoencoder and a VAE with a standard normal prior. */
async function pointAndVae(model, state) {
  if (!state.run || !state.other) return null;
  const [point, vae] = await sources(model, state);
  return point.info.is_point && !vae.info.is_point && point.latent <= 3 ? { point, vae } : null;
}

const length = (z) => Math.hypot(...z);

/** How far a code is from the nearest code of an example. @param {Source} source @param {number[]} z */
function toNearest(source, z) {
  const [row] = source.nearest(z, 1);
  return length(z.map((v, i) => v - source.meanOf(row)[i]));
}

const has = (state, found) => state.z.length === found.point.latent;
const coordinates = (z) => `z = (${z.map((v) => number(v, 3)).join(", ")})`;

/** KL(q || N(0, I)) of the reader's own q, and of the second model's for the same example. */
function ownAndOther(state, { heavy }) {
  const own = state.q.length === 4 ? [0, 1].map((i) => klParts(state.q[i], state.q[i + 2])) : [];
  const row = state.pins[state.active] ?? state.pins[0];
  return {
    own: own.length ? own.reduce((sum, { place, width }) => sum + place + width, 0) : Infinity,
    other: row < heavy.n ? heavy.terms.kl[row] : -Infinity,
  };
}

/** The first place from which on hardly anything is gained. @param {number[]} values */
const firstClose = (values) => values.findIndex((v) => v <= CLOSE * values[values.length - 1]);

/** @type {Step[]} */
export const RUN_STEPS = [
  {
    id: "codes",
    part: MODELS,
    page: "inspector",
    runs: { run: "autoencoder", other: "vae" },
    ask: "Where does an autoencoder put its codes, compared with draws of p(z) = N(0, I)? Where does a VAE?",
    options: [
      "Both about where p(z) draws",
      "The autoencoder’s lie much farther apart, the VAE’s about where p(z) draws",
      "The VAE’s lie much farther apart, the autoencoder’s about where p(z) draws",
      "Both much farther apart",
    ],
    right: 1,
    goal: "On the autoencoder’s plane, drag z to a place where codes lie, but which p(z) reaches in one of 3,000 draws: farther than 4 from the origin.",
    look: pointAndVae,
    met: (s, found) => has(s, found) && length(s.z) > FAR && toNearest(found.point, s.z) < 0.5,
    shown: (s) => `${coordinates(s.z)}, ${number(length(s.z), 3)} from the origin`,
    reveal:
      "An autoencoder’s loss is the reconstruction error alone: nothing tells it where codes belong. In a VAE the KL pulls every q(z|x) towards N(0, I), and z is drawn, so that neighbours must decode alike.",
  },
  {
    id: "samples",
    part: MODELS,
    page: "inspector",
    runs: { run: "autoencoder", other: "vae" },
    ask: "To generate, draw z from p(z) = N(0, I) and decode. For which model does that give all kinds of digits?",
    options: ["For both", "For the autoencoder", "For the VAE", "For neither"],
    right: 2,
    goal: "On the autoencoder’s plane, drag z to a place that p(z) draws often, within 2 of the origin, but where no code lies within 0.25. Then look for one in the VAE.",
    look: pointAndVae,
    met: (s, found) => has(s, found) && length(s.z) < WITHIN && toNearest(found.point, s.z) > HOLE,
    shown: (s, found) => `${coordinates(s.z)}, the nearest code ${number(toNearest(found.point, s.z), 3)} away`,
    reveal:
      "It works as far as p(z) covers the codes that the decoder was trained on. The VAE’s loss asks for that: its mean KL is I(x; z) + KL(q(z) ‖ p(z)). The autoencoder’s does not: most codes lie where p(z) never draws, with gaps between them.",
  },
  {
    id: "learning",
    part: MODELS,
    page: "train",
    runs: { run: "vae", other: "autoencoder" },
    ask: "While a VAE learns, its reconstruction error falls. What does its KL do?",
    options: ["It falls too", "It rises", "It stays as it is", "It falls to 0"],
    right: 1,
    goal: "Drag the epoch to where hardly anything is gained any more: to the first at which the VAE’s held-out reconstruction error is within 5 % of its last (give or take one).",
    look: async (model, state) => {
      if (!state.run) return null;
      const { history } = (await ask(model, "train.state", { run: state.run })).content;
      const of = (term) => history.map((line) => line[`validation_${term}`] ?? line[`train_${term}`]);
      const [error, kl] = [of("reconstruction_error"), of("kl")];
      return kl.length && kl.every(Number.isFinite) ? { epochs: history.map((line) => line.epoch), error, kl } : null;
    },
    met: (s, { epochs, error }) => s.epoch >= 0 && Math.abs(s.epoch - epochs[firstClose(error)]) <= 1,
    shown: (s, { epochs, error, kl }) => {
      const i = epochs.indexOf(s.epoch);
      return `epoch ${s.epoch}: ${number(error[i])} + ${number(kl[i], 3)} nats`;
    },
    reveal:
      "The encoder learns to say something about x and pays for it in nats, fewer than it saves. The autoencoder pays nothing for its codes: its error on the training digits is the lowest, its loss bounds no log p(x), and on held-out digits it may get worse again.",
  },
  {
    id: "two",
    part: MODELS,
    page: "inspector",
    runs: { run: "vae", other: "heavy" },
    ask: "One digit under a VAE, and under one whose KL weighs ten times as much: which has the higher reconstruction error, the higher KL, the higher total?",
    options: [
      "The plain VAE: all three",
      "Error: the heavy one. KL: the plain one. Total: the heavy one",
      "Error: the heavy one. KL: the plain one. Total: the plain one",
      "Error: the plain one. KL: the heavy one. Total: alike",
    ],
    right: 1,
    goal: "Widen and move the plain VAE’s q(z|x) until its KL is no more than the heavy one’s. What does the reconstruction error do?",
    look: async (model, state) => {
      if (!state.run || !state.other) return null;
      const [vae, heavy] = await sources(model, state);
      const fits = [vae, heavy].every(({ info }) => !info.is_point && info.standard_normal_prior && info.latent === 2);
      return fits ? { vae, heavy } : null;
    },
    met: (s, found) => {
      const { own, other } = ownAndOther(s, found);
      return own <= other;
    },
    shown: (s, found) => {
      const { own, other } = ownAndOther(s, found);
      return `KL ${number(own, 3)} against ${number(other, 3)} nats`;
    },
    reveal:
      "In each dimension the KL is µ²/2 for the place and (σ² − 1)/2 − ln σ for the width. Weighed tenfold, less of both is bought: wide q overlap, and the decoder answers with averages. The plain VAE was trained on the total itself, so its total is lower.",
  },
];
