// Three descents side by side: what the variance of an estimator costs where it is followed.

import { slider } from "../../core/controls.js";
import { h, s, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { randomness } from "../../core/math.js";
import { legend, plot } from "../../core/plot.js";
import { button, runner } from "../../core/runner.js";
import { roomy } from "../../core/view.js";
import { cost, descent, STEPS } from "./descents.js";
import { ESTIMATORS, FUNCTIONS } from "./estimators.js";
import { COLOURS, DASH, LEGEND, quantile } from "./panels.js";

/** @import { Slots, State } from "../../core/types.js" */

const NAMES = { pathwise: "pathwise", score: "score function", baseline: "with baseline" };
const MATTERS = ["fn", "mu", "sigma", "c", "rate", "seed"];

/** @param {Slots} slots @param {HTMLElement} place */
export function race(slots, place) {
  let until = STEPS; // steps that are shown: all of them, before it is played
  let last = null; // the state
  const run = runner(
    () => {
      until = until >= STEPS ? 1 : until + 1;
      return until < STEPS;
    },
    () => last && paint(last),
    { quick: 1, slow: 0.1 },
  );
  const again = button("Start again", () => {
    run.stop();
    until = 0;
    if (last) paint(last);
  });
  const chart = h("div");
  const cells = Object.fromEntries(
    ESTIMATORS.map((name) => [name, ["mu", "cost"].map((what) => h("td", { "data-cell": `${name}-${what}` }))]),
  );
  const heads = ["descends by", "µ", "above the minimum"].map((text) => h("th", { scope: "col" }, text));
  place.append(
    h("div", { class: "row" }, ...run.buttons, again),
    chart,
    slider(slots, { name: "rate", label: "step size", log: true, low: 0.005, high: 0.5 }),
    h(
      "table",
      { class: "tight", "data-answer": "numbers" },
      h("thead", {}, h("tr", {}, ...heads)),
      h(
        "tbody",
        {},
        ...ESTIMATORS.map((name) =>
          h("tr", {}, h("td", { class: `${COLOURS[name]}-ink` }, NAMES[name]), ...cells[name]),
        ),
      ),
    ),
    h(
      "p",
      { class: "caption" },
      "All three start at µ and take the same draws, two for each step. Last column: E[f] less its minimum, on average over the second half of the way.",
    ),
  );
  const figure = plot(chart, {
    label: "Mean of q over the steps of three descents",
    height: 250,
    x: [0, STEPS],
    y: [-2, 4],
    xLabel: "step",
    yLabel: "µ",
  });
  const goal = figure.path({ class: "hair" });
  const curves = ESTIMATORS.map((name) =>
    figure.path({ class: `line ${COLOURS[name]}`, "stroke-dasharray": DASH[name] }),
  );
  const ends = ESTIMATORS.map((name) =>
    figure.marks.appendChild(s("circle", { r: 5, class: `fill solid ${COLOURS[name]}` })),
  );
  const names = legend(figure, LEGEND);
  let made = { of: "", traces: [] };

  /** @param {State} state */
  function paint(state) {
    last = state;
    if (figure.asleep()) return;
    names();
    const of = JSON.stringify(MATTERS.map((name) => state[name]));
    if (made.of !== of) made = { of, traces: tracesOf(state) };
    const all = made.traces.flat().sort((a, b) => a - b);
    const [low, high] = [quantile(all, 0.004), quantile(all, 0.996)];
    const pad = Math.max(0.3, 0.1 * (high - low));
    figure.span(undefined, roomy([low - pad, high + 3 * pad])); // above the curves there is room for the legend
    figure.frame();
    const xs = Array.from({ length: until + 1 }, (_, i) => i);
    made.traces.forEach((trace, k) => {
      const shown = trace.slice(0, until + 1);
      const mu = shown[until];
      set(curves[k], { d: figure.line(xs, shown) });
      set(ends[k], { cx: figure.sx(until), cy: figure.sy(mu) });
      const [place_, excess] = cells[ESTIMATORS[k]];
      tell(place_, number(mu, 3));
      tell(excess, number(cost(state, shown), 2));
    });
    const best = state.fn === "sine" ? null : FUNCTIONS[state.fn].best?.(state.c);
    set(goal, { d: typeof best === "number" ? figure.line(figure.x, [best, best]) : "" });
  }
  return { figure, paint, stop: run.stop };
}

/** The same draws for all. @param {State} state */
export function tracesOf(state) {
  const random = randomness(state.seed + 5);
  const pairs = Array.from({ length: STEPS }, () => [random.normal(), random.normal()]);
  return ESTIMATORS.map((name) => descent(state, name, pairs));
}
