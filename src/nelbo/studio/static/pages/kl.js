// KL between two distributions: drag them, see both directions.

import { choice, group, presetButtons, select, slider, toggle } from "../core/controls.js";
import { h, tell, trailing } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { watch } from "../core/store.js";
import { densities } from "./kl/densities.js";
import { fit } from "./kl/fit.js";
import { game } from "./kl/game.js";
import { numbers } from "./kl/numbers.js";
import { code, NAMES, PRESETS } from "./kl/state.js";
import { strip } from "./kl/strip.js";
import { symmetric } from "./kl/symmetric.js";
import { why } from "./kl/why.js";

const FAMILIES = [
  ["normal", "normal"],
  ["skew", "skew-normal"],
  ["truncated", "truncated normal"],
  ["mixture", "two normals"],
];

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model, figure, controls } = slots;
  const read = () => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
  slots.idle =
    "Drag a peak to move it, a shoulder to widen it, a body for both; Ctrl+wheel or a pinch widens; double click to type.";
  slots.reading = h("p", { class: "caption reading", "data-reading": "" }, slots.idle);
  const explore = h("div", { class: "panel" });
  const other = h("div", { class: "panel", hidden: true });
  figure.append(explore, other);
  const parts = densities({ ...slots, figure: explore });
  explore.append(slots.reading);
  const cards = numbers(slots);
  const map = h("div", { class: "panel" });
  const draws = h("div", { class: "panel" });
  const below = h("div", { class: "columns" }, map, draws);
  figure.append(below);
  const symmetry = symmetric(slots, map);
  const carlo = strip(slots, draws);
  const drawStrip = trailing(carlo.paint, 200); // thousands of draws need not keep up with the mouse

  const sides = ["p", "q"].map((which) => {
    const named = (name, label, options) =>
      slider(slots, { name: `${name}_${which}`, label, says: `${label} of ${which}`, colour: which, ...options });
    const extra = {
      skew: [named("skew", "skew", { low: -10, high: 10 })],
      truncated: [named("low", "from", { low: -6, high: 6 }), named("high", "to", { low: -6, high: 6 })],
      mixture: [
        named("mu2", "µ₂", { low: -6, high: 6 }),
        named("sigma2", "σ₂", { log: true, low: 0.1, high: 6 }),
        named("weight", "share", { low: 0.01, high: 0.99 }),
      ],
    };
    return {
      extra,
      which,
      element: group(
        h("span", { class: `${which}-ink` }, which),
        select(slots, { name: `family_${which}`, label: "family", options: FAMILIES, colour: which }),
        named("mu", "µ", { low: -6, high: 6 }),
        named("sigma", "σ", { log: true, low: 0.1, high: 6 }),
        ...Object.values(extra).flat(),
      ),
    };
  });
  const tabs = choice(slots, {
    name: "view",
    label: "View",
    options: [
      ["explore", "Explore"],
      ["fit", "Fit q to p"],
      ["game", "Hit the target"],
    ],
  });
  controls.append(
    tabs,
    group("Presets", presetButtons(slots, PRESETS)),
    ...sides.map((side) => side.element),
    group(
      "Layers",
      h("div", { class: "toggles" }, toggle(slots, { name: "running", label: "running integral" })),
      slider(slots, { name: "bins", label: "bins", step: 1, low: 0, high: 64 }),
    ),
  );
  slots.why.innerHTML = why;

  /** @type {?{paint: (found: any) => void, stop: () => void}} */
  let opened = null;
  let shown = "";
  const turn = () => {
    const view = model.get("view");
    if (view === shown) return;
    shown = view;
    opened?.stop();
    opened = null;
    other.replaceChildren();
    explore.hidden = view === "fit";
    other.hidden = view === "explore";
    below.hidden = view !== "explore";
    slots.numbers.hidden = view !== "explore"; // elsewhere q is not the one of the cards
    if (view === "fit") opened = fit(slots, other);
    if (view === "game") opened = game(slots, other);
  };
  const paint = () => {
    turn();
    const state = read();
    for (const side of sides)
      for (const [family, list] of Object.entries(side.extra))
        for (const element of list) element.hidden = state[`family_${side.which}`] !== family;
    if (state.view !== "fit") parts.paint();
    const found = cards.paint();
    if (state.view === "explore") {
      symmetry.paint();
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
    for (const part of [parts, cards, symmetry, carlo]) part.stop();
    opened?.stop();
  };
}

/** @type {import("../core/types.js").Page} */
export default {
  name: "kl",
  ...PAGES.kl,
  mount,
  help: [
    ["drag a peak", "move the mean"],
    ["drag a shoulder ◆", "change the width"],
    ["drag a body", "move it; up and down changes the width"],
    ["Ctrl+wheel, pinch", "width of the nearer curve; the wheel alone where a handle has the focus"],
  ],
};
