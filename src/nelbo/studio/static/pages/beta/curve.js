// Rate and distortion of the models of a series; a point walks along them under the hand.

import { h, s, set } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { nats, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { between, betaAt, mixed } from "./along.js";
import { nameOf } from "./series.js";

/** @import { Opened } from "./series.js" */

const KEY = 0.1; // of the way between two models, for an arrow key
const BEYOND = 1.22; // of the largest rate: where the infinite one of an autoencoder stands

/**
 * @param {HTMLElement} parent
 * @param {Opened} series
 * @param {{onPlace: (place: number) => void, onRest: () => void, unit: () => string}} options
 */
export function curveView(parent, series, { onPlace, onRest, unit }) {
  const place = h("div", {});
  parent.append(place);
  const totals = series.sources.map(({ info }) => info.totals);
  const finite = totals.map(({ kl }) => kl.mean).filter((v) => v !== null);
  const most = Math.max(...finite, 1e-3);
  const xs = totals.map(({ kl }) => kl.mean ?? BEYOND * most);
  const ys = totals.map((of) => of.reconstruction_error.mean);
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = 0.12 * (high - low || 1);
  const hasPoint = finite.length < totals.length;
  const figure = plot(place, {
    label: "KL against reconstruction error of the models, means over the examples",
    x: [-0.04 * most, (hasPoint ? BEYOND + 0.06 : 1.1) * most],
    y: [low - room, high + room],
    xLabel: "rate: KL, nats",
    yLabel: "distortion: reconstruction error, nats",
    xTicks: (from, to) => [
      ...ticks(0, Math.min(to, 1.05 * most), 5).map((v) => /** @type {[number, string]} */ ([v, tick(v)])),
      ...(hasPoint ? [/** @type {[number, string]} */ ([BEYOND * most, "∞"])] : []),
    ],
    height: (width) => Math.min(430, Math.max(230, 0.9 * width)),
    margin: { left: 58 },
  });
  const equal = figure.path({ class: "thin faint dashed" });
  const slope = figure.path({ class: "line kl thin" });
  const curve = figure.path({ class: "line ink" });
  const toPoint = figure.path({ class: "line ink dashed" });
  const marks = s("g", { class: "runs" });
  figure.marks.append(marks);
  let at = 0;
  const point = handle(figure, {
    name: "the model on the curve",
    colour: "z",
    shape: "diamond",
    radius: 8,
    axis: "x",
    drag: (x) => onPlace(nearestTo(x)),
    key: (dx, dy) => onPlace(Math.min(xs.length - 1, Math.max(0, at + KEY * (dx || dy)))),
    end: onRest,
  });

  /** The place whose rate is nearest to x: of several, the one nearest to where the point is. */
  function nearestTo(x) {
    let best = at;
    let least = Infinity;
    for (let i = 0; i + 1 < xs.length; i++) {
      const span = xs[i + 1] - xs[i];
      const t = span === 0 ? 0 : Math.min(1, Math.max(0, (x - xs[i]) / span));
      const far = Math.abs(xs[i] + t * span - x) + 1e-6 * most * Math.abs(i + t - at);
      if (far < least) [best, least] = [i + t, far];
    }
    return best;
  }

  function frame() {
    const start = hasPoint ? xs.findIndex((_, i) => totals[i].kl.mean !== null) : 0;
    set(curve, { d: figure.line(xs.slice(start), ys.slice(start)) });
    set(toPoint, { d: start > 0 ? figure.line(xs.slice(0, start + 1), ys.slice(0, start + 1)) : "" });
    marks.replaceChildren(
      ...series.entries.flatMap((entry, i) => {
        const [cx, cy] = [figure.sx(xs[i]), figure.sy(ys[i])];
        const right = cx > figure.margin.left + 0.72 * figure.width;
        const below = entry.beta === 0; // where its neighbour has its name above
        const words = {
          x: cx + (right ? 6 : 9),
          y: cy + (below ? 18 : -9),
          "text-anchor": right ? "end" : "start",
          class: "halo",
        };
        return [s("circle", { cx, cy, r: 4.5 }), s("text", { ...words, "font-size": 11 }, nameOf(entry))];
      }),
    );
  }

  /** @param {number} next */
  function draw(next) {
    at = next;
    figure.frame();
    if (figure.asleep()) return;
    const [x, y] = [mixed(xs, at), mixed(ys, at)];
    const beta = betaAt(series.betas, at);
    const isMeasured = totals[between(xs.length, at).i].kl.mean !== null;
    const ends = figure.x;
    const line = (by) =>
      figure.line(
        ends,
        ends.map((v) => y - by * (v - x)),
      );
    set(equal, { d: isMeasured ? line(1) : "" });
    set(slope, { d: isMeasured ? line(beta) : "" });
    const rate = isMeasured ? `${nats(x, unit(), 3)} ${unit()}` : "infinite";
    point.place(x, y, `rate ${rate}, distortion ${nats(y, unit(), 4)} ${unit()}`);
  }
  figure.resized = () => {
    frame();
    draw(at);
  };
  frame();
  return { figure, draw, remove: figure.remove };
}
