// The codes of all examples under the model at a place of the series, gliding from one model to the next.

import { h, s, set } from "../../core/dom.js";
import { tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { canvasIn, cloudOf } from "../inspector/cloud.js";
import { inksOf } from "../inspector/inks.js";
import { ellipse, root } from "../inspector/normal.js";
import { classNames } from "../inspector/names.js";
import { CLASSES } from "../inspector/pixels.js";
import { mixed, mixedInto } from "./along.js";

/** @import { Opened, Seen } from "./series.js" */

const MARGIN = { left: 44, right: 8, top: 8, bottom: 38 };
const REACH = 14; // pixels from a point to a click that means it

/**
 * @param {HTMLElement} parent
 * @param {Opened} series
 * @param {(row: number) => void} pick
 */
export function planeView(parent, series, pick) {
  const place = h("div", { class: "latent" });
  parent.append(place);
  const figure = plot(place, {
    label: `Codes of ${series.n} examples: means of q(z|x), each model turned to its neighbour`,
    x: [-1, 1],
    y: [-1, 1],
    xLabel: "z₁, turned",
    yLabel: "z₂, turned",
    xTicks: (from, to) => ticks(from, to, 7).map((v) => [v, tick(v)]),
    yTicks: (from, to) => ticks(from, to, 7).map((v) => [v, tick(v)]),
    height: (width) => Math.max(60, width - MARGIN.left - MARGIN.right) + MARGIN.top + MARGIN.bottom,
    margin: MARGIN,
  });
  const canvas = canvasIn(figure);
  const prior = figure.path({ class: "prior" });
  const names = s("g", { class: "class-names", "aria-hidden": "true" });
  figure.marks.append(names);
  const nameThem = classNames(figure, names);
  const rings = [2, 1].map((k) => figure.path({ class: `ellipse sigma${k}` }));
  const dot = s("circle", { r: 4, class: "mean" });
  figure.marks.append(dot);
  const [first] = series.sources;
  const inks = inksOf(first, "label");
  const colour = (row) => CLASSES[first.labels[row] % CLASSES.length];
  const [xs, ys] = [new Float32Array(series.n), new Float32Array(series.n)];
  const middles = series.sources.map((_, i) => middlesOf(first.labels, series.xs[i], series.ys[i]));
  const known = (first.info.label_names ?? []).map((name, k) => ({ name, row: first.labels.indexOf(k) }));
  const named = known.filter(({ row }) => row >= 0 && row < series.n);
  let cloud = cloudOf(xs, ys);

  /** @param {number} at place in the series @param {?Seen[]} seen the example that is looked at */
  function draw(at, seen) {
    const half = Math.exp(mixed(series.reach.map(Math.log), at));
    figure.span([-half, half], [-half, half]);
    figure.frame();
    if (figure.asleep()) return;
    cloud = cloudOf(mixedInto(series.xs, at, xs), mixedInto(series.ys, at, ys));
    if (!canvas.draw(cloud, inks)) return;
    set(prior, { d: first.latent > 1 ? circles() : "" });
    const stand = named.map(({ name, row }) => {
      const k = first.labels[row];
      const [x, y] = [0, 1].map((d) =>
        mixed(
          middles.map((of) => of.get(k)[d]),
          at,
        ),
      );
      return { name, row, x, y };
    });
    nameThem(stand, colour);
    if (seen) drawQ(at, seen);
  }

  function drawQ(at, seen) {
    const mean = [0, 1].map((d) =>
      mixed(
        seen.map((one) => one.mean[d]),
        at,
      ),
    );
    const covariance = [0, 1].map((r) =>
      [0, 1].map((c) =>
        mixed(
          seen.map((one) => one.covariance[r][c]),
          at,
        ),
      ),
    );
    const l = root(covariance);
    rings.forEach((ring, i) => set(ring, { d: ellipse(figure, mean, l, 2 - i) }));
    set(dot, { cx: figure.sx(mean[0]), cy: figure.sy(mean[1]) });
  }

  function circles() {
    return [1, 2, 3]
      .map((k) => {
        const r = figure.sx(k) - figure.sx(0);
        return `M${figure.sx(-k)} ${figure.sy(0)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
      })
      .join("");
  }

  figure.root.addEventListener("click", (event) => {
    const [x, y] = figure.at(event);
    const far = (REACH * (figure.x[1] - figure.x[0])) / figure.width;
    const row = cloud.near(x, y, far, far);
    if (row !== null) pick(row);
  });
  return { figure, draw, remove: figure.remove };
}

/** The median of each class. @returns {Map<number, number[]>} */
function middlesOf(labels, xs, ys) {
  /** @type {Map<number, number[]>} */
  const rows = new Map();
  xs.forEach((_, row) => rows.set(labels[row], [...(rows.get(labels[row]) ?? []), row]));
  const middle = (values, of) => Float32Array.from(of, (row) => values[row]).sort()[of.length >> 1];
  return new Map([...rows].map(([k, of]) => [k, [middle(xs, of), middle(ys, of)]]));
}
