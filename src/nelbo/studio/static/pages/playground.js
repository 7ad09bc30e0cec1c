// A VAE that is trained in the page: no Python, no network, and β is a slider while it learns.

import { card, choice, group, presetButtons, slider } from "../core/controls.js";
import { coalesced, h, inTurns, set, tell } from "../core/dom.js";
import { nats, number } from "../core/format.js";
import { PAGES } from "../core/pages.js";
import { read, write } from "../core/store.js";
import { batchPanel } from "./playground/batch.js";
import { cloudPanel } from "./playground/cloud.js";
import { curvePanel, total } from "./playground/curves.js";
import { TRAINING } from "./playground/digits.js";
import { gridPanel, rebuiltPanel } from "./playground/pictures.js";
import { trailPanel } from "./playground/trail.js";
import { code, WHY } from "./playground/words.js";
import { trainer } from "./playground/worker.js";

/** @import { Slots } from "../core/types.js" */
/** @import { Measured } from "./playground/training.js" */
/** @import { Shown } from "./playground/worker.js" */

const NAMES = Object.keys(PAGES.playground.defaults);
const LIVE = ["beta", "rate", "pace", "epochs"]; // may be changed while it trains
const MOST = 1600; // points of the curves; then every other one goes
const PRESETS = [
  { name: "β = 0: autoencoder", title: "nothing holds the codes near the prior", beta: 0 },
  { name: "β = 1: VAE", title: "the sum is −ELBO", beta: 1 },
  { name: "β = 3: few nats", title: "only what saves three times its cost is said", beta: 3 },
  { name: "β = 20: collapse", title: "a nat of KL costs more than it can save", beta: 20 },
];

/** @param {Slots} slots */
function mount(slots) {
  const { model } = slots;
  /** @type {Measured[]} */
  let points = [];
  /** @type {?Shown} */
  let shown = null;
  let run = 0;
  const strip = orders(slots, { step, restart });
  const panels = panelsOf(slots);
  const cards = cardsOf(slots);
  addControls(slots);
  slots.why.innerHTML = WHY;

  const work = trainer((told) => {
    if (told.run !== run) return; // of a training that was given up
    points = points.concat(told.points);
    if (points.length > MOST) points = points.filter((_, i) => i % 2 === 0);
    shown = { ...told, points };
    if (told.isEnd) {
      write(model, { running: false });
      slots.say(`Paused after epoch ${Math.round(told.now.epoch)}. Play goes on.`);
    }
    draw();
  });

  // the figures of a training under way, one after the other, so that β stays under the hand meanwhile
  const figures = inTurns([
    (/** @type {Shown} */ one) => (strip.show(one), drawBeta.now()),
    (one) => panels.cloud.paint(one, model.get("z")),
    (one) => panels.rebuilt.paint(one, model.get("z")),
    (one) => panels.curves.paint([...one.points, one.now], model.get("unit")),
    (one) => panels.grid.paint(one),
    (one) => panels.batch.paint(one, Math.ceil(TRAINING / model.get("batch")), model.get("unit")),
    (one) => set(slots.root, { "data-epoch": one.now.epoch.toFixed(3), "data-run": one.run }),
  ]);
  const draw = () => shown && figures(shown);
  const drawAnew = coalesced(() => shown && figures.now(shown)); // of another size: what was drawn fits no more
  for (const one of [panels.cloud, panels.trail, panels.curves, panels.grid]) one.figure.resized = drawAnew;
  // what follows the hand, at once and alone
  const drawBeta = coalesced(() => {
    if (!shown) return;
    const [beta, unit] = [model.get("beta"), model.get("unit")];
    panels.trail.paint(shown.points, shown.now, beta, unit);
    cards(shown, beta, unit);
    tell(slots.code, code(read(model, NAMES), shown.now.epoch));
  });
  const drawZ = coalesced(() => {
    if (!shown) return;
    panels.cloud.place(model.get("z"));
    panels.rebuilt.paint(shown, model.get("z"));
  });

  const settings = () => ({ ...read(model, LIVE) });
  function restart() {
    points = [];
    const { seed, batch } = read(model, ["seed", "batch"]);
    work.tell({ do: "start", run: ++run, seed: Math.round(seed), batch: Math.round(batch) });
    if (model.get("running")) work.tell({ do: "play" });
  }
  function step() {
    write(model, { running: false });
    work.tell({ do: "step" });
  }
  const change = {
    running: () => {
      work.tell({ do: model.get("running") ? "play" : "pause" });
      strip.ask();
    },
    seed: restart,
    batch: restart,
    z: drawZ,
    unit: draw,
  };
  for (const name of LIVE)
    change[name] = () => {
      work.tell({ do: "set", ...settings() });
      drawBeta();
    };
  for (const [name, f] of Object.entries(change)) model.on(`change:${name}`, f);
  work.tell({ do: "set", ...settings() });
  restart();
  return () => {
    for (const one of [figures, drawAnew, drawBeta, drawZ]) one.cancel();
    work.stop();
    for (const [name, f] of Object.entries(change)) model.off(`change:${name}`, f);
    for (const one of [panels.cloud, panels.trail, panels.curves, panels.grid]) one.figure.remove();
  };
}

/**
 * What the training is told, above the figures; β among it, so that it stays beside what it moves.
 * @param {Slots} slots
 * @param {{step: () => void, restart: () => void}} on
 */
function orders(slots, { step, restart }) {
  const { model } = slots;
  const play = h("button", {
    type: "button",
    class: "primary",
    "data-order": "play",
    onclick: () => write(model, { running: !model.get("running") }),
  });
  const button = (order, text, title, onclick) =>
    h("button", { type: "button", class: "quiet", "data-order": order, title, onclick }, text);
  const status = h("p", { class: "status", "data-status": true });
  slots.figure.append(
    h(
      "div",
      { class: "row train-strip", role: "group", "aria-label": "Training" },
      play,
      button("step", "Step", "One batch, and what happens in it", step),
      button("restart", "Start over", "Untrained weights again, by the same seed", restart),
      choice(slots, {
        name: "pace",
        label: "Pace",
        options: [
          ["slow", "slow", "two batches a second, each of them shown"],
          ["normal", "normal", "200 batches a second"],
          ["fast", "fast", "as fast as this machine goes"],
        ],
      }),
      status,
    ),
    h(
      "div",
      { class: "beta-strip" },
      slider(slots, { name: "beta", label: "β", says: "beta, the weight of the KL", power: 3, low: 0, high: 20 }),
      h(
        "p",
        { class: "scale-words", "aria-hidden": "true" },
        ...["0: autoencoder", "1: VAE", "20: collapse"].map((text) => {
          const [value, meaning] = text.split(/(?=:)/);
          return h("span", {}, value, h("span", {}, meaning));
        }),
      ),
    ),
  );
  const ask = () => tell(play, model.get("running") ? "Pause" : "Play");
  ask();
  return {
    ask,
    /** @param {Shown} shown */
    show({ now, speed }) {
      ask();
      tell(
        status,
        `epoch ${now.epoch.toFixed(2)}${speed && model.get("running") ? ` · ${number(speed, 2)} epochs/s` : ""}`,
      );
    },
  };
}

/** @param {Slots} slots */
function panelsOf(slots) {
  const place = () => h("div", { class: "panel" });
  const [cloud, trail, rebuilt, curves, grid, batch] = Array.from({ length: 6 }, place);
  slots.figure.append(
    h("div", { class: "columns" }, cloud, trail),
    rebuilt,
    h("div", { class: "columns" }, curves, grid),
    batch,
  );
  return {
    cloud: cloudPanel(cloud, slots, { move: (z) => write(slots.model, { z }) }),
    trail: trailPanel(trail),
    rebuilt: rebuiltPanel(rebuilt),
    curves: curvePanel(curves),
    grid: gridPanel(grid),
    batch: batchPanel(batch),
  };
}

/** @param {Slots} slots */
function cardsOf(slots) {
  const made = {
    reconstruction: card("reconstruction error", { colour: "recon big", name: "reconstruction" }),
    kl: card("KL(q ‖ p)", { colour: "kl big", name: "kl" }),
    total: card("−ELBO = their sum", { colour: "nelbo-c", name: "total" }),
    loss: card("loss with β", { name: "loss" }),
  };
  slots.numbers.append(...Object.values(made).map(({ element }) => element));
  /** @param {Shown} shown @param {number} beta @param {string} unit */
  return ({ now }, beta, unit) => {
    const { held, errors } = now;
    const error = (value) => `± ${nats(value, unit, 2)} ${unit}, held out`;
    made.reconstruction.show(nats(held.reconstruction, unit), error(errors.reconstruction));
    made.kl.show(nats(held.kl, unit), error(errors.kl));
    made.total.show(nats(total(now), unit), unit);
    made.loss.show(nats(held.reconstruction + beta * held.kl, unit), `${number(beta, 3)} · KL, ${unit}`);
  };
}

/** @param {Slots} slots */
function addControls(slots) {
  const { model } = slots;
  // the training under way goes on, from where it is
  const presets = PRESETS.map(({ beta, ...preset }) => ({
    ...preset,
    get state() {
      return { ...read(model, NAMES), beta, running: true };
    },
  }));
  slots.controls.append(
    group("β while it trains", presetButtons(slots, presets)),
    group(
      "Adam",
      slider(slots, { name: "rate", label: "rate", says: "learning rate", log: true }),
      slider(slots, {
        name: "batch",
        label: "batch",
        says: "digits in a batch; another number starts over",
        step: 8,
        low: 8,
        high: 256,
      }),
    ),
    group(
      "Pause after",
      slider(slots, {
        name: "epochs",
        label: "epochs",
        says: "epochs after which it pauses",
        step: 10,
        low: 10,
        high: 300,
      }),
    ),
    group(
      "Random numbers",
      h(
        "div",
        { class: "row" },
        h(
          "button",
          { type: "button", class: "chip", onclick: () => write(model, { seed: model.get("seed") + 1 }) },
          "Another start",
        ),
      ),
      slider(slots, {
        name: "seed",
        label: "seed",
        says: "seed of weights, order and noise",
        step: 1,
        low: 0,
        high: 20,
      }),
    ),
  );
}

/** @type {import("../core/types.js").Page} */
export default {
  name: "playground",
  ...PAGES.playground,
  check: { z: (value) => value.length === 2 && value.every(Number.isFinite) },
  help: [
    ["Play, Step", "train on, or one batch with what happens in it"],
    ["β", "changes what is minimized at once, while it trains"],
    ["drag ◇", "z in the latent plane; its picture is decoded beside the reconstructions"],
  ],
  mount,
};
