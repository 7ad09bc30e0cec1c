// Pixels: examples as pictures, clouds of points, and the colours of classes and values.

import { channels as rgb, paint, rgb as themed } from "../../core/raster.js";
import { mixed } from "./cloud.js";
import { ofPixels } from "./parts.js";

/** Whether one example is a picture: (1 or 3, height, width). */
export const isImage = (event) => event.length === 3 && (event[0] === 1 || event[0] === 3);

/** The colours of ten classes, the same as in nelbo.figures. */
export const CLASSES = [
  "#235cd8",
  "#debe5f",
  "#b91d26",
  "#5ee1df",
  "#932994",
  "#dc6210",
  "#9e6e7d",
  "#ec8687",
  "#0191c2",
  "#1ab0f7",
];

/** viridis, from dark to light, for values. */
const SCALE = [
  "#440154",
  "#482878",
  "#3e4989",
  "#31688e",
  "#26828e",
  "#1f9e89",
  "#35b779",
  "#6ece58",
  "#b5de2b",
  "#fde725",
];

/** A share from 0 to 1 as [r, g, b]. */
export function scaleColour(share) {
  const at = Math.min(SCALE.length - 1.0001, Math.max(0, share * (SCALE.length - 1)));
  const [low, high, t] = [rgb(SCALE[Math.floor(at)]), rgb(SCALE[Math.floor(at) + 1]), at % 1];
  return low.map((v, i) => Math.round(v + t * (high[i] - v)));
}

/**
 * Draw an image of the data into a canvas of its own size; the style sheet scales it without blur.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} values
 * @param {number[]} event (channels, height, width)
 * @param {[number, number]} range of the values: black and white
 * @param {number} [start] of the image in values
 */
export function drawImage(canvas, values, event, range, start = 0) {
  const [channels, height, width] = event;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(pixels(values, [channels, height, width], range, start), 0, 0);
}

/** The same as ImageData. */
export function pixels(values, [channels, height, width], range, start = 0) {
  const data = new ImageData(width, height);
  const size = height * width;
  const factor = 255 / (range[1] - range[0] || 1);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      data.data[4 * i + c] = (values[start + (channels === 3 ? c * size : 0) + i] - range[0]) * factor;
    }
    data.data[4 * i + 3] = 255;
  }
  return data;
}

/** |a - b| in the colour of the reconstruction error, on transparent ground. */
export function drawDifference(canvas, a, b, event, range, colour) {
  const [channels, height, width] = event;
  const size = height * width;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const data = new ImageData(width, height);
  const [r, g, b_] = rgb(colour);
  const span = range[1] - range[0] || 1;
  for (let i = 0; i < size; i++) {
    let off = 0;
    for (let c = 0; c < channels; c++) off += Math.abs(a[c * size + i] - b[c * size + i]) / channels;
    data.data.set([r, g, b_, 255 * Math.min(1, off / span)], 4 * i);
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
}

/** @type {WeakMap<HTMLCanvasElement, number[]>} */
const inks = new WeakMap();

/**
 * What each pixel costs, in the colour of the reconstruction error on transparent ground; what costs nothing, or less, is clear.
 * @param {HTMLCanvasElement} canvas in its place: it has the theme's colour
 * @param {ArrayLike<number>} errors -log p(x_i|z) of each feature
 * @param {number[]} event
 */
export function drawErrors(canvas, errors, event) {
  const [, height, width] = event;
  const each = ofPixels(errors, event);
  const most = each.reduce((a, b) => Math.max(a, b), 0) || 1;
  // a drag draws in every frame, and another theme comes with another canvas
  const colour = inks.get(canvas) ?? themed(canvas, "--recon");
  inks.set(canvas, colour);
  paint(canvas, width, height, (column, row) => [...colour, (255 * Math.max(0, each[row * width + column])) / most]);
}

/** Many images as one sheet of n x n. @returns {HTMLCanvasElement} */
export function sheet(values, event, range, n) {
  const [channels, height, width] = event;
  const canvas = Object.assign(document.createElement("canvas"), { width: n * width, height: n * height });
  const context = canvas.getContext("2d");
  for (let i = 0; i < n * n; i++) {
    const image = pixels(values, event, range, i * channels * height * width);
    context.putImageData(image, (i % n) * width, Math.floor(i / n) * height);
  }
  return canvas;
}

/**
 * A cloud of points, in a mixed order so that no class hides the others.
 * @param {{width: number, height: number, place: (i: number) => [number, number], n: number,
 *   colour: (i: number) => string, radius?: number, alpha?: number}} cloud sizes in CSS pixels
 */
export function drawCloud(cloud) {
  const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
  const canvas = Object.assign(document.createElement("canvas"), {
    width: cloud.width * ratio,
    height: cloud.height * ratio,
  });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.globalAlpha = cloud.alpha ?? 0.6;
  for (const i of mixed(cloud.n)) {
    const [x, y] = cloud.place(i);
    if (!(x > -9 && y > -9 && x < cloud.width + 9 && y < cloud.height + 9)) continue;
    context.fillStyle = cloud.colour(i);
    context.beginPath();
    context.arc(x, y, cloud.radius ?? 2.2, 0, 7);
    context.fill();
  }
  return canvas;
}
