// One divergence over mean and log standard deviation of q: level lines, minima, the start to drag, and the way down.

import { h, s, set } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { number, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { contours } from "../../core/raster.js";
import { checked } from "../../core/state.js";
import { write } from "../../core/store.js";
import { minimaOf } from "./descent.js";

/** @import { Range, Slots } from "../../core/types.js" */

const LEVELS = [0.02, 0.06, 0.15, 0.3, 0.6, 1, 1.8, 3, 6, 12];

/**
 * @param {Slots} slots
 * @param {typeof import("./descent.js").GOALS[number]} goal
 * @param {() => void} redrawn its size is another now
 */
export function surface(slots, goal, redrawn) {
  const { model, page } = slots;
  const box = h("div");
  const element = h("div", { "data-goal": goal.key }, h("h2", { class: `${goal.colour}-ink` }, goal.name), box);
  const figure = plot(box, {
    label: `${goal.name} over mean and log standard deviation of q`,
    height: (w) => Math.min(300, Math.max(220, 0.62 * w)),
    x: [-5, 5],
    y: [-1.6, 1.6],
    xLabel: "µ of q",
    yLabel: "ln σ of q",
    xTicks: (a, b) => ticks(a, b, 6).map((v) => [v, tick(v)]),
  });
  const levels = figure.path({ class: "thin faint" }, figure.behind);
  const trail = figure.path({ class: `line ${goal.colour}` });
  const minima = figure.path({ class: "line ink" });
  const end = figure.marks.appendChild(s("circle", { r: 5, class: `fill solid ${goal.colour}` }));
  const put = (changes) => {
    for (const [name, value] of Object.entries(changes)) write(model, { [name]: checked(page, name, value)[0] });
  };
  const start = handle(figure, {
    name: `start on the surface of ${goal.name}`,
    colour: "ink",
    drag: (x, y) => put({ mu_q: Number(x.toFixed(2)), sigma_q: Number(Math.exp(y).toPrecision(3)) }),
    key: (dx, dy) =>
      put({
        mu_q: Number((model.get("mu_q") + 0.05 * dx).toFixed(3)),
        sigma_q: Number((model.get("sigma_q") * 1.03 ** dy).toPrecision(4)),
      }),
  });
  figure.resized = redrawn;
  return {
    element,
    figure,
    /** Level lines and minima: tens of thousands of values. @param {import("./descent.js").Objective} value @param {Range} x @param {Range} y */
    draw(value, x, y) {
      figure.span(x, y);
      if (!(figure.width > 0)) return;
      figure.frame();
      const found = minimaOf(value, { x: figure.x, y: figure.y });
      const floor = Math.min(...found.map((one) => one.value));
      const part = goal.key === "js" || goal.key === "hellinger" ? 0.25 : 1;
      const heights = LEVELS.map((level) => floor + level * part);
      set(levels, { d: contours(figure, value, heights, 36, 28) });
      const cross = ([a, b]) => `M${figure.sx(a) - 5} ${figure.sy(b) - 5}l10 10m0 -10l-10 10`;
      set(minima, { d: found.map((one) => cross(one.at)).join("") });
    },
    /** @param {import("./descent.js").Place[]} places the way so far */
    paint(places) {
      if (!(figure.width > 0)) return;
      figure.frame();
      const [mu, sigma] = [model.get("mu_q"), model.get("sigma_q")];
      start.place(mu, Math.log(sigma), `mean ${number(mu)}, width ${number(sigma)}`);
      const [m, ls] = places[places.length - 1];
      set(trail, {
        d: figure.line(
          places.map((place) => place[0]),
          places.map((place) => place[1]),
        ),
      });
      set(end, { cx: figure.sx(m), cy: figure.sy(ls) });
    },
    stop: () => figure.remove(),
  };
}
