// The way of the training between rate and distortion. What is minimized, D + β R, is the same along the dashed line,
// whose slope is −β: it turns with the slider.

import { h, s, set } from "../../core/dom.js";
import { BITS, nats } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { scaleColour } from "../inspector/pixels.js";
import { nearest, told } from "./curves.js";
import { scale } from "./scale.js";

/** @import { Measured } from "./training.js" */

const SHADES = 12; // from early to late

/** @param {HTMLElement} parent */
export function trailPanel(parent) {
  parent.append(h("h2", {}, "Rate and distortion"));
  const options = {
    label: "KL against reconstruction error of held-out digits",
    x: /** @type {[number, number]} */ ([0, 4]),
    y: /** @type {[number, number]} */ ([16, 27]),
    xLabel: "rate: KL, nats",
    yLabel: "distortion: reconstruction error, nats",
    margin: { left: 60, right: 12, top: 6, bottom: 36 },
    height: (width) => Math.min(340, Math.max(200, width - 10)),
  };
  const figure = plot(parent, options);
  const even = figure.path({ class: "line ink dashed", "data-mark": "beta" });
  const pieces = Array.from({ length: SHADES }, (_, i) => {
    const [r, g, b] = scaleColour(0.05 + (0.8 * i) / (SHADES - 1));
    return figure.path({ class: "line trail-piece", stroke: `rgb(${r},${g},${b})` });
  });
  const ring = s("circle", { r: 6, class: "best", visibility: "hidden" });
  const dot = s("circle", { r: 6, class: "trail-now", visibility: "hidden" });
  figure.front.append(ring, dot);
  const readout = h("p", { class: "caption" });
  parent.append(readout);
  let points = /** @type {Measured[]} */ ([]);
  let unit = "nats";
  figure.root.addEventListener("pointermove", (event) => {
    const [x, y] = figure.at(event);
    const factor = unit === "bits" ? BITS : 1;
    const [dx, dy] = [x, y].map((v) => v / factor);
    const [perX, perY] = [figure.width / (figure.x[1] - figure.x[0]), figure.height / (figure.y[1] - figure.y[0])];
    read(nearest(points, ({ held }) => Math.hypot(perX * (held.kl - dx), perY * (held.reconstruction - dy))));
  });
  figure.root.addEventListener("pointerleave", () => read(null));

  /** @param {?Measured} point */
  function read(point) {
    set(ring, { visibility: point ? "visible" : "hidden" });
    if (point) {
      const factor = unit === "bits" ? BITS : 1;
      set(ring, { cx: figure.sx(factor * point.held.kl), cy: figure.sy(factor * point.held.reconstruction) });
      readout.textContent = `${told(point)}: rate ${nats(point.held.kl, unit)}, distortion ${nats(point.held.reconstruction, unit)} ${unit}`;
    } else
      readout.textContent =
        "Dark is early, light is late. Along the dashed line the loss D + βR is the same: training moves to the side below it.";
  }

  /** @param {Measured[]} all @param {Measured} now @param {number} beta @param {string} unit_ */
  function paint(all, now, beta, unit_) {
    [points, unit] = [all, unit_];
    const factor = unit === "bits" ? BITS : 1;
    Object.assign(options, { xLabel: `rate: KL, ${unit}`, yLabel: `distortion: reconstruction error, ${unit}` });
    const whole = [...points, now];
    const rates = whole.map(({ held }) => factor * held.kl);
    const distortions = whole.map(({ held }) => factor * held.reconstruction);
    const [low, high] = [Math.min, Math.max].map((f) => distortions.reduce((a, b) => f(a, b)));
    const right = Math.max(3, scale(1.05 * rates.reduce((a, b) => Math.max(a, b))));
    figure.span([-0.03 * right, right], [2 * Math.floor((low - 0.3) / 2), 2 * Math.ceil((high + 0.3) / 2)]);
    figure.frame();
    if (figure.asleep()) return;
    const each = Math.max(1, Math.ceil((whole.length - 1) / SHADES));
    pieces.forEach((piece, i) => {
      const [from, to] = [i * each, Math.min(whole.length, (i + 1) * each + 1)];
      set(piece, { d: to - from > 1 ? figure.line(rates.slice(from, to), distortions.slice(from, to)) : "" });
    });
    const [x, y] = [rates.at(-1), distortions.at(-1)];
    set(dot, { visibility: "visible", cx: figure.sx(x).toFixed(1), cy: figure.sy(y).toFixed(1) });
    set(even, {
      d: figure.line(
        figure.x,
        figure.x.map((v) => y + beta * (x - v)),
      ),
    });
    set(figure.root, {
      "aria-label": `Rate ${nats(now.held.kl, unit, 3)}, distortion ${nats(now.held.reconstruction, unit)} ${unit}, epoch by epoch`,
    });
  }
  read(null);
  return { figure, paint };
}
