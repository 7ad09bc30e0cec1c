// The latent plane while it is learned: the means of all digits, what the prior expects, the last batch, and z to drag.

import { h, s, set } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { number, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { channels } from "../../core/raster.js";
import { canvasIn, cloudOf } from "../inspector/cloud.js";
import { CLASSES } from "../inspector/pixels.js";
import { COUNT, labels } from "./digits.js";
import { scale } from "./scale.js";

/** @import { Figure, Slots } from "../../core/types.js" */
/** @import { Batch } from "./training.js" */
/** @import { Shown } from "./worker.js" */

const INKS = { of: Uint8Array.from(labels), palette: CLASSES.map(channels) };
const SIZE = 340;

/**
 * @param {HTMLElement} parent
 * @param {Slots} slots
 * @param {{move: (z: number[]) => void}} on
 */
export function cloudPanel(parent, slots, on) {
  parent.append(h("h2", {}, "Means of q(z|x), a colour for each digit"));
  const figure = plot(parent, {
    label: "Means of q(z|x) of all digits in the latent plane",
    x: [-4, 4],
    y: [-4, 4],
    xTicks: (low, high) => ticks(low, high, 9).map((v) => [v, tick(v)]),
    xLabel: "z₁",
    yLabel: "z₂",
    margin: { left: 44, right: 8, top: 6, bottom: 36 },
    height: (width) => Math.min(SIZE, Math.max(200, width - 52 + 42)),
  });
  const canvas = canvasIn(figure);
  const rings = figure.path({ class: "thin faint" });
  const spread = figure.path({ class: "thin sigma" });
  const moves = figure.path({ class: "thin ink" });
  const drawn = figure.path({ class: "z drawn-points" });
  const names = CLASSES.map((_, kind) =>
    s("text", { class: "halo kind", "text-anchor": "middle", "data-kind": kind }, String(kind)),
  );
  figure.front.append(...names);
  const caption = h("p", { class: "caption" });
  parent.append(caption);
  const take = (x, y) => on.move([x, y].map((v) => Number(Math.min(99, Math.max(-99, v)).toFixed(3))));
  const grip = handle(figure, {
    name: "z, to decode",
    colour: "z",
    shape: "diamond",
    drag: take,
    key: (dx, dy) => {
      const [x, y] = slots.model.get("z");
      take(x + 0.1 * dx, y + 0.1 * dy);
    },
  });

  /** @param {Shown} shown @param {number[]} z */
  function paint(shown, z) {
    const { means } = shown;
    let reach = 0;
    for (let i = 0; i < means.length; i++) reach = Math.max(reach, Math.abs(means[i]));
    reach = Math.max(4, scale(reach));
    const wide = reach * Math.max(1, figure.width / Math.max(1, figure.height)); // a unit is as long both ways
    figure.span([-wide, wide], [-reach, reach]);
    figure.frame();
    if (figure.asleep()) return;
    canvas.draw(cloudOf(...split(means)), INKS);
    const [rx, ry] = [figure.sx(1) - figure.sx(0), figure.sy(0) - figure.sy(1)];
    set(rings, { d: [1, 2, 3].map((k) => ellipse(figure, 0, 0, k * rx, k * ry)).join("") });
    drawNames(figure, means, names);
    drawBatch(shown.batch, rx, ry);
    place(z);
    const used = shown.now.units.filter((v) => v >= 0.01).length;
    caption.textContent = `Grey: 1, 2 and 3 σ of the prior N(0, I). ${used} of 2 units carry more than 0.01 nats${used < 2 && shown.now.epoch >= 1 ? `: ${2 - used} collapsed` : ""}.`;
  }

  /** Show where z is. @param {number[]} z */
  function place(z) {
    grip.place(z[0], z[1], `z = ${number(z[0], 3)}, ${number(z[1], 3)}`);
  }

  /** @param {?Batch} batch @param {number} rx @param {number} ry pixels of a unit */
  function drawBatch(batch, rx, ry) {
    let [ellipses, arrows, dots] = ["", "", ""];
    for (let i = 0; batch && i < batch.mean.length; i += 2) {
      const [x, y] = [batch.mean[i], batch.mean[i + 1]];
      ellipses += ellipse(figure, x, y, rx * batch.sd[i], ry * batch.sd[i + 1]);
      arrows += `M${at(figure, x, y)}L${at(figure, batch.moves[i], batch.moves[i + 1])}`;
      dots += `M${at(figure, batch.z[i], batch.z[i + 1])}h0`;
    }
    set(spread, { d: ellipses });
    set(moves, { d: arrows });
    set(drawn, { d: dots });
  }
  return { figure, paint, place };
}

const at = (figure, x, y) => `${figure.sx(x).toFixed(1)} ${figure.sy(y).toFixed(1)}`;

function ellipse(figure, x, y, rx, ry) {
  const [a, b] = [rx.toFixed(1), ry.toFixed(1)];
  return `M${(figure.sx(x) - rx).toFixed(1)} ${figure.sy(y).toFixed(1)}a${a} ${b} 0 1 0 ${(2 * rx).toFixed(1)} 0a${a} ${b} 0 1 0 ${(-2 * rx).toFixed(1)} 0`;
}

/** The two coordinates of all means. @param {Float32Array} means @returns {[Float32Array, Float32Array]} */
const split = (means) => [means.filter((_, i) => i % 2 === 0), means.filter((_, i) => i % 2 === 1)];

/** The name of each digit where the middle of its means lies. */
function drawNames(figure, means, names) {
  names.forEach((name, kind) => {
    let [x, y, n] = [0, 0, 0];
    for (let i = 0; i < COUNT; i++) {
      if (labels[i] !== kind) continue;
      x += means[2 * i];
      y += means[2 * i + 1];
      n++;
    }
    set(name, { x: figure.sx(x / n).toFixed(1), y: (figure.sy(y / n) + 5).toFixed(1) });
  });
}
