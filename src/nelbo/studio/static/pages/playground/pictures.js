// What the decoder draws: a held-out digit of each kind beside its reconstruction, and pictures over the latent plane.

import { h } from "../../core/dom.js";
import { plot } from "../../core/plot.js";
import { raster } from "../../core/raster.js";
import { drawImage } from "../inspector/pixels.js";
import { FEATURES, labels, pixels, SIDE } from "./digits.js";
import { network } from "./training.js";
import { grid, LOOKED_AT } from "./worker.js";

/** @import { Shown } from "./worker.js" */

const EVENT = [1, SIDE, SIDE];
const ACROSS = 11;
const REACH = 3;
const CLEAR = [0, 0, 0, 0];

/** A canvas for one digit. @param {string} [label] @returns {HTMLCanvasElement} */
export const canvasOf = (label) =>
  h("canvas", { class: "pixels", ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) });

/** @param {HTMLCanvasElement} canvas @param {ArrayLike<number>} values @param {number} [start] */
export const drawDigit = (canvas, values, start = 0) => drawImage(canvas, values, EVENT, [0, 1], start);

/** @param {HTMLElement} parent */
export function rebuiltPanel(parent) {
  parent.append(h("h2", {}, "Held-out digits, each above its reconstruction"));
  const pairs = LOOKED_AT.map((row) => {
    const [original, rebuilt] = [canvasOf(), canvasOf()];
    drawDigit(original, pixels, row * FEATURES);
    return { row, original, rebuilt };
  });
  const single = canvasOf("decoded from z");
  parent.append(
    h(
      "div",
      { class: "digit-pairs" },
      h(
        "div",
        {
          class: "strip",
          role: "img",
          "aria-label": `Held-out digits ${LOOKED_AT.map((row) => labels[row]).join(", ")} above their reconstructions`,
        },
        ...pairs.map(({ original }) => original),
        ...pairs.map(({ rebuilt }) => rebuilt),
      ),
      h("figure", { class: "decoded" }, single, h("figcaption", { class: "z-ink" }, "decoded from z")),
    ),
  );
  const picture = new Float32Array(FEATURES);

  /** @param {Shown} shown @param {number[]} z */
  function paint({ weights, means }, z) {
    for (const { row, rebuilt } of pairs) {
      network.picture(weights, means.subarray(2 * row, 2 * row + 2), picture);
      drawDigit(rebuilt, picture);
    }
    network.picture(weights, z, picture);
    drawDigit(single, picture);
  }
  return { paint };
}

/** @param {HTMLElement} parent */
export function gridPanel(parent) {
  parent.append(h("h2", {}, "Decoded from places of the latent plane"));
  const place = h("div");
  parent.append(place);
  const figure = plot(place, {
    label: "Pictures decoded from a grid of the latent plane",
    bare: true,
    x: [-REACH, REACH],
    y: [-REACH, REACH],
    xLabel: "z₁",
    yLabel: "z₂",
    margin: { left: 44, right: 8, top: 6, bottom: 36 },
    height: (width) => Math.min(360, Math.max(200, width - 52 + 42)),
  });
  const map = raster(figure);
  map.canvas.classList.add("pixels");
  const pitch = SIDE + 2; // digits reach from edge to edge: without gaps they would run together
  const size = ACROSS * pitch;

  /** @param {Shown} shown */
  function paint({ weights }) {
    figure.frame();
    if (figure.asleep()) return;
    const pictures = grid(weights, ACROSS, REACH);
    map.draw(
      (x, y) => {
        const column = Math.floor(((x + REACH) / (2 * REACH)) * size);
        const row = Math.floor(((REACH - y) / (2 * REACH)) * size);
        const [i, j] = [(row % pitch) - 1, (column % pitch) - 1];
        if (i < 0 || j < 0 || i >= SIDE || j >= SIDE) return CLEAR;
        const cell = Math.floor(row / pitch) * ACROSS + Math.floor(column / pitch);
        const v = 255 * pictures[cell * FEATURES + i * SIDE + j];
        return [v, v, v, 255];
      },
      size,
      size,
    );
  }
  return { figure, paint };
}
