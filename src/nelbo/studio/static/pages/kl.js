// KL between two distributions: drag them, see both directions.

import { choice, group, presetButtons, slider, toggle } from "../core/controls.js";
import { h, tell, trailing } from "../core/dom.js";
import { isOfCounts } from "../core/families.js";
import { PAGES } from "../core/pages.js";
import { read, watch } from "../core/store.js";
import { code } from "./kl/code.js";
import { densities } from "./kl/densities.js";
import { fit } from "./kl/fit.js";
import { game } from "./kl/game.js";
import { masses } from "./kl/masses.js";
import { numbers } from "./kl/numbers.js";
import { PRESETS } from "./kl/presets.js";
import { sideControls } from "./kl/sides.js";
import { keepTogether, NAMES } from "./kl/state.js";
import { strip } from "./kl/strip.js";
import { symmetric } from "./kl/symmetric.js";
import { why } from "./kl/why.js";

const IDLE = {
  densities:
    "Drag a peak to move it, a shoulder to widen it, a body for both; Ctrl+wheel or a pinch widens; double click to type.",
  counts: "Drag a handle or a bar; double click a handle to type. Bars below the line are negative terms.",
};
const OF_FAMILIES = PRESETS.findIndex(({ name }) => name === "two Laplaces");

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model, figure, controls } = slots;
  const leave = keepTogether(model);
  slots.idle = IDLE.densities;
  slots.reading = h("p", { class: "caption reading", "data-reading": "" }, slots.idle);
  const [ofDensities, ofCounts, other, map, draws] = Array.from({ length: 5 }, () => h("div", { class: "panel" }));
  const explore = h("div", { class: "panel" }, ofDensities, slots.reading);
  const below = h("div", { class: "columns" }, map, draws);
  figure.append(explore, below);
  const onLine = densities(slots, ofDensities);
  const onCounts = masses(slots, ofCounts);
  const cards = numbers(slots);
  const symmetry = symmetric(slots, map);
  const carlo = strip(slots, draws);
  const drawStrip = trailing(carlo.paint, 200); // thousands of draws need not keep up with the mouse
  const sides = [sideControls(slots, "p"), sideControls(slots, "q")];
  const bins = slider(slots, { name: "bins", label: "bins", step: 1, low: 0, high: 64 });
  const running = toggle(slots, { name: "running", label: "running integral" });
  const layers = group("Layers", h("div", { class: "toggles" }, running), bins);
  controls.append(views(slots), ...presets(slots), ...sides.map((side) => side.element), layers);
  slots.why.innerHTML = why;

  /** @type {?{paint: (found: any) => void, stop: () => void}} */
  let opened = null;
  let shown = "";
  // only what is shown is in the document: the figure that is saved is the first one
  const turn = (view) => {
    if (view === shown) return;
    shown = view;
    opened?.stop();
    opened = null;
    other.replaceChildren();
    figure.replaceChildren(...{ explore: [explore, below], fit: [other], game: [explore, other] }[view]);
    layers.hidden = view !== "explore";
    slots.numbers.hidden = view !== "explore"; // elsewhere q is not the one of the cards
    if (view === "fit") opened = fit(slots, other);
    if (view === "game") opened = game(slots, other);
  };
  const paint = () => {
    turn(model.get("view"));
    const state = read(model, NAMES);
    const isOnCounts = isOfCounts(state.family_p);
    const panel = isOnCounts ? ofCounts : ofDensities;
    if (explore.firstChild !== panel) {
      explore.replaceChildren(panel, slots.reading);
      slots.idle = isOnCounts ? IDLE.counts : IDLE.densities;
      tell(slots.reading, slots.idle);
    }
    bins.hidden = state.family_p === "bernoulli";
    sides[0].paint(state.view === "fit");
    sides[1].paint(state.view === "fit");
    if (state.view !== "fit") (isOnCounts ? onCounts : onLine).paint();
    const found = cards.paint();
    if (state.view === "explore") {
      symmetry.paint(found);
      drawStrip(found);
    }
    opened?.paint(found);
    tell(slots.code, code(state));
  };
  const watching = watch(model, [...NAMES, "unit"], paint);
  slots.repaint = watching;
  return () => {
    watching.stop();
    drawStrip.stop();
    for (const part of [onLine, onCounts, cards, symmetry, carlo]) part.stop();
    opened?.stop();
    leave();
  };
}

/** @param {import("../core/types.js").Slots} slots */
const views = (slots) =>
  choice(slots, {
    name: "view",
    label: "View",
    options: [
      ["explore", "Explore"],
      ["fit", "Fit q to p"],
      ["game", "Hit the target"],
    ],
  });

/** In two groups; `[` and `]` step through all of them. @param {import("../core/types.js").Slots} slots */
function presets(slots) {
  const groups = [
    group("Presets", presetButtons(slots, PRESETS.slice(0, OF_FAMILIES))),
    group("Other families", presetButtons(slots, PRESETS.slice(OF_FAMILIES))),
  ];
  slots.presets = PRESETS;
  return groups;
}

/** @type {import("../core/types.js").Page} */
export default {
  name: "kl",
  ...PAGES.kl,
  mount,
  help: [
    ["drag a peak", "move it"],
    ["drag a shoulder ◆", "change the width"],
    ["drag a body", "move it; up and down changes the width"],
    ["drag a bar", "of a coin: its probability, up and down; of a Poisson: its rate, to and fro"],
    ["Ctrl+wheel, pinch", "width of the nearer curve; the wheel alone where a handle has the focus"],
  ],
};
