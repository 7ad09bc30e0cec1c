// A normal q descends to p by several divergences at once: the same start, the same steps, different ends. p may be
// dragged while they run, and they follow.

import { card, choice } from "../../core/controls.js";
import { h, s, set, trailing } from "../../core/dom.js";
import { density, integrals } from "../../core/families.js";
import { nats, number } from "../../core/format.js";
import { normalLogPdf } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { button, runner } from "../../core/runner.js";
import { read, write } from "../../core/store.js";
import { roomy, view } from "../../core/view.js";
import { gridOf, peakOf, window_ } from "./densities.js";
import { FITTED, GOALS, objectives, racer } from "./descent.js";
import { key } from "./figures.js";
import { bodyOf, handlesOf } from "./handles.js";
import { TWO_BUMPS } from "./presets.js";
import { NAMES, pair, SHAPE, side } from "./state.js";
import { surface } from "./surface.js";

/** @import { Range, Slots } from "../../core/types.js" */

const STARTS = [
  { name: "Start beside a bump", q: { mu_q: -0.8, sigma_q: 0.8 } },
  { name: "Start on the ridge", q: { mu_q: 0, sigma_q: 2.5 } },
];

const CHARACTERS = [", covers all of p", ", seeks a bump", "", ""];

/** @param {Slots} slots @param {HTMLElement} place */
export function fit(slots, place) {
  const { model } = slots;
  const state = () => read(model, NAMES);
  settle(slots, model.get("family_p") === "normal");
  let racers = [];
  let values = [];
  const run = runner(() => {
    racers.forEach((one, i) => one.step(values[i]));
    return shownGoals().some((i) => !racers[i].hasArrived());
  }, paint);
  const shownGoals = () => (model.get("descents") === "four" ? [0, 1, 2, 3] : [0, 1]);
  const cards = GOALS.map(({ key: name, colour, ...goal }, i) =>
    card(`${goal.name}${CHARACTERS[i]}`, { colour: i < 2 ? `big ${colour}` : colour, name: `fit-${name}` }),
  );
  const numbers = h(
    "section",
    { class: "numbers", "aria-label": "Numbers of the fit" },
    ...cards.map((one) => one.element),
  );
  slots.numbers.after(numbers);
  const curves = h("div");
  const surfaces = GOALS.map((goal) => surface(slots, goal, () => redraw()));
  place.append(
    h(
      "div",
      { class: "row" },
      ...run.buttons,
      button("Start again", () => restart()),
      ...STARTS.map(({ name, q }) => button(name, () => write(model, q))),
      choice(slots, {
        name: "descents",
        label: "Divergences",
        options: [
          ["two", "Both KLs"],
          ["four", "All four"],
        ],
      }),
    ),
    curves,
    h("div", { class: "columns" }, ...surfaces.map((one) => one.element)),
    h(
      "p",
      { class: "caption" },
      "KL(p‖q) covers all of p, because q = 0 where p > 0 costs without bound. KL(q‖p) settles on one bump: which one depends on the start (drag ○ on a surface). Drag p’s bumps, also while q runs. Crosses are all minima of a surface.",
    ),
  );
  const figure = curvesOf(slots, curves, () => paint());
  const draw = () => {
    const [x, y] = planeOf(side(state(), "p"));
    for (const i of shownGoals()) surfaces[i].draw(values[i], x, y);
  };
  const redraw = trailing(() => (draw(), paint()), 120); // level lines and minima need not keep up with the hand

  let [of_p, of_q, goals] = ["", "", ""];
  /** What follows from a change of p, of the start, or of what is to be shown. */
  function prepare() {
    settle(slots, false);
    const now = state();
    const [p, q] = ["p", "q"].map((which) => JSON.stringify(side(now, which)));
    const chosen = now.descents;
    if (p === of_p && q === of_q && chosen === goals) return;
    if (p !== of_p) {
      values = objectives(pair(now)[0]);
      for (const one of racers) one.refresh();
    }
    const isNew = !of_p || chosen !== goals;
    const startsAnew = !of_p || q !== of_q;
    const wasMoved = p !== of_p;
    [of_p, of_q, goals] = [p, q, chosen];
    surfaces.forEach((one, i) => (one.element.hidden = !shownGoals().includes(i)));
    if (startsAnew) restart();
    if (isNew) draw();
    else if (wasMoved) redraw();
    if (wasMoved && !startsAnew) run.goOn();
    figure.changed();
  }
  function restart() {
    run.stop();
    const at = /** @type {[number, number]} */ ([model.get("mu_q"), Math.log(model.get("sigma_q"))]);
    racers = GOALS.map(() => racer(at));
    paint();
  }
  function paint() {
    prepare();
    const shown = shownGoals();
    figure.paint(shown.map((i) => ({ i, at: racers[i].at })));
    for (const i of shown) surfaces[i].paint(racers[i].trail);
    cards.forEach((one, i) => (one.element.hidden = !shown.includes(i)));
    for (const i of shown) cards[i].show(...saidOf(model, i, racers[i]));
  }
  paint();
  return {
    paint,
    stop() {
      run.stop();
      numbers.remove();
      redraw.stop();
      figure.stop();
      for (const one of surfaces) one.stop();
    },
  };
}

/** A p that a normal can be fitted to, and a normal q. @param {Slots} slots @param {boolean} wantsTwo one normal is too easy */
function settle(slots, wantsTwo) {
  const { model } = slots;
  const isFitted = FITTED.includes(model.get("family_p"));
  if (!isFitted || wantsTwo) write(model, { ...TWO_BUMPS, ...STARTS[0].q });
  else if (model.get("family_q") !== "normal") write(model, { family_q: "normal" });
  if (!isFitted)
    slots.say("A normal is fitted to a p that is positive everywhere and has no heavy tail; shown: two bumps");
}

/** p with its handles, and the q of each descent. @param {Slots} slots @param {HTMLElement} box @param {() => void} redraw */
function curvesOf(slots, box, redraw) {
  const { model } = slots;
  const top = plot(box, {
    label: "Density p, to drag, and the fitted q",
    height: (w) => Math.min(300, Math.max(210, 0.3 * w)),
    x: [-6, 6],
    y: [0, 0.5],
    xLabel: "x",
    yLabel: "density",
    reaches: true,
  });
  const body = top.path({ class: "fill faint" }, top.behind);
  const target = top.path({ class: "line ink" });
  const fitted = GOALS.map((goal) => top.path({ class: `line ${goal.colour}`, "stroke-dasharray": goal.dash }));
  const grip = bodyOf(top, slots, "p", top.front.appendChild(s("g")));
  const handles = handlesOf(top, slots, "p");
  const legend = key(top, [{ colour: "ink" }, ...GOALS.map(({ colour, dash }) => ({ colour, dashes: dash }))]);
  let shown = [];
  const density_p = () => pair(read(model, NAMES))[0];
  const wanted = () => {
    const peaks = shown.map(({ at: [, ls] }) => Math.exp(normalLogPdf(0, 0, Math.exp(ls))));
    const x = /** @type {Range} */ (roomy(window_(side(read(model, SHAPE), "p"))));
    return { x, y: /** @type {Range} */ ([0, 1.12 * Math.max(peakOf(density_p()), ...peaks)]) };
  };
  const axes = view(wanted, redraw, top);
  top.resized = redraw;
  return {
    changed: () => axes.changed(),
    stop() {
      axes.stop();
      top.remove();
    },
    /** @param {{i: number, at: [number, number]}[]} now the descents shown */
    paint(now) {
      const grew = JSON.stringify(shown) !== JSON.stringify(now);
      shown = now;
      if (grew) axes.changed();
      const asked = axes.get();
      top.span(asked.x, asked.y);
      if (!(top.width > 0)) return;
      top.frame();
      const p = density_p();
      const parts = /** @type {[number, number][]} */ (now.map(({ at: [m, ls] }) => [m, Math.exp(ls)]));
      const narrow = parts.map((part) => ({ parts: [part], support: [-Infinity, Infinity] }));
      const grid = gridOf([p, ...narrow], top.x);
      const heights = grid.map((x) => Math.exp(p.log(x)));
      set(body, { d: top.area(grid, heights) });
      set(grip, { d: top.area(grid, heights) });
      set(target, { d: top.line(grid, heights) });
      fitted.forEach((path, i) => {
        const one = now.find((each) => each.i === i);
        const height = (x) => Math.exp(normalLogPdf(x, one.at[0], Math.exp(one.at[1])));
        set(path, { d: one ? top.line(grid, grid.map(height)) : "" });
      });
      handles.place(side(read(model, NAMES), "p"), p);
      legend.paint(["p", ...GOALS.map(({ name }, i) => (now.some((one) => one.i === i) ? `q by ${name}` : ""))]);
    },
  };
}

/** What the surfaces span: the axis of p, and widths around what fits it. @returns {[Range, Range]} */
function planeOf(shape) {
  const x = /** @type {Range} */ (roomy(window_(shape)));
  const scale = Math.log((x[1] - x[0]) / 12);
  return [x, [scale - 2.1, scale + 1.5]];
}

/** Where a descent is, integrated over all of the support, not over the picture. @returns {[string, string]} */
function saidOf(model, i, { at: [mu, ls], steps }) {
  const sigma = Math.exp(ls);
  const [p] = pair(read(model, NAMES));
  const found = integrals(p, density({ family: "normal", mu, sigma }))[GOALS[i].key];
  const value = i === 3 ? number(found ** 2) : found < 1e-9 ? "< 10⁻⁹" : nats(found, model.get("unit"));
  const place = mu
    .toFixed(3)
    .replace(/^-(0\.000)$/, "$1")
    .replace("-", "−");
  return [value, `q: µ ${place}, σ ${number(sigma, 4)}, ${steps} ${steps === 1 ? "step" : "steps"}`];
}
