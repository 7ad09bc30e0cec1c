// The loss of the held-out digits over the epochs: reconstruction error, and on top of it the KL, so that both heights
// add up to the negative ELBO.

import { h, s, set } from "../../core/dom.js";
import { BITS, nats, number } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { scale } from "./scale.js";

/** @import { Measured } from "./training.js" */

/** @param {HTMLElement} parent */
export function curvePanel(parent) {
  parent.append(h("h2", {}, "Reconstruction error + KL of held-out digits"));
  const options = {
    label: "Reconstruction error and KL by epoch, one on top of the other",
    x: /** @type {[number, number]} */ ([0, 5]),
    y: /** @type {[number, number]} */ ([0, 30]),
    height: 270,
    xLabel: "epoch",
    yLabel: "nats",
  };
  const figure = plot(parent, options);
  const parts = {
    recon: figure.path({ class: "fill recon" }),
    kl: figure.path({ class: "fill kl" }),
    lower: figure.path({ class: "line recon" }),
    upper: figure.path({ class: "line ink" }),
    train: figure.path({ class: "thin ink dashed" }),
    switches: figure.path({ class: "hair" }),
  };
  const words = [
    s("text", { class: "recon" }, "reconstruction error"),
    s("text", { class: "kl halo", "text-anchor": "end" }),
    s("text", { class: "halo", "text-anchor": "end" }),
  ];
  const marks = s("g", { class: "switches" });
  figure.front.append(...words, marks);
  const readout = h("p", { class: "caption" });
  parent.append(readout);
  let points = /** @type {Measured[]} */ ([]);
  let unit = "nats";
  figure.root.addEventListener("pointermove", (event) => {
    const [epoch] = figure.at(event);
    read(nearest(points, (point) => Math.abs(point.epoch - epoch)));
  });
  figure.root.addEventListener("pointerleave", () => read(null));

  /** @param {?Measured} point */
  function read(point) {
    readout.textContent = point
      ? `${told(point)}: ${nats(point.held.reconstruction, unit)} + ${nats(point.held.kl, unit)} = ${nats(total(point), unit)} ${unit}`
      : "Both heights add up to −ELBO. Dashed: the same sum over the batches that are trained on.";
  }

  /** @param {Measured[]} all @param {string} unit_ */
  function paint(all, unit_) {
    [points, unit] = [all, unit_];
    if (!points.length) return;
    const factor = unit === "bits" ? BITS : 1;
    options.yLabel = unit;
    const xs = points.map((point) => point.epoch);
    const low = points.map((point) => factor * point.held.reconstruction);
    const high = points.map((point) => factor * total(point));
    const top = high.reduce((most, v) => Math.max(most, v), 0);
    figure.span([0, Math.max(5, scale(xs.at(-1)))], [0, scale(1.1 * top)]);
    figure.frame();
    if (figure.asleep()) return;
    set(parts.recon, { d: figure.area(xs, low) });
    set(parts.kl, {
      d: `${figure.line(xs, high)}${figure.line(xs.toReversed(), low.toReversed()).replace("M", "L")}Z`,
    });
    set(parts.lower, { d: figure.line(xs, low) });
    set(parts.upper, { d: figure.line(xs, high) });
    const seen = points.filter((point) => point.train);
    set(parts.train, {
      d: figure.line(
        seen.map((point) => point.epoch),
        seen.map((point) => factor * (point.train.reconstruction + point.train.kl)),
      ),
    });
    const right = figure.margin.left + figure.width - 6;
    set(words[0], { x: figure.margin.left + 10, y: figure.sy(0) - 10 });
    words[1].textContent = `KL ${nats(points.at(-1).held.kl, unit, 3)}`;
    words[2].textContent = `−ELBO ${nats(total(points.at(-1)), unit, 3)} ${unit}`;
    const over = figure.sy(top) - 8;
    set(words[1], { x: right, y: over });
    set(words[2], { x: right, y: over - 16 });
    drawSwitches(xs);
  }

  /** Where β was set to another value, and stayed there for a while. @param {number[]} xs */
  function drawSwitches(xs) {
    const { margin, height, x } = figure;
    const least = 0.04 * (x[1] - x[0]);
    let d = "";
    const texts = [];
    for (let i = 0, from = 0; i <= points.length; i++) {
      if (i < points.length && points[i].beta === points[from].beta) continue;
      const end = i < points.length ? xs[i] : Infinity;
      if (from > 0 && end - xs[from] >= least) {
        const at = figure.sx(xs[from]);
        d += `M${at.toFixed(1)} ${margin.top}V${margin.top + height}`;
        texts.push(
          s(
            "text",
            { class: "halo faint", x: at + 3, y: margin.top + height - 24, "font-size": 11 },
            `β = ${number(points[from].beta, 3)}`,
          ),
        );
      }
      from = i;
    }
    set(parts.switches, { d });
    marks.replaceChildren(...texts);
  }
  read(null);
  return { figure, paint };
}

/** −ELBO, nats. @param {Measured} point */
export const total = ({ held }) => held.reconstruction + held.kl;

/** When a point was measured. @param {Measured} point */
export const told = ({ epoch, beta }) => `Epoch ${epoch.toFixed(2)}, β = ${number(beta, 3)}`;

/** The point that is least far. @template T @param {T[]} points @param {(point: T) => number} far @returns {?T} */
export function nearest(points, far) {
  return points.reduce((best, point) => (best && far(best) <= far(point) ? best : point), /** @type {?T} */ (null));
}
