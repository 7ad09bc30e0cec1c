// A coloured map under an SVG plot: one canvas, computed cell by cell, kept until what it shows changes; level lines.

import { h } from "./dom.js";
import { colour } from "./theme.js";

/** @import { Figure } from "./types.js" */

/**
 * Put a canvas below a plot.
 * @param {Figure} figure
 * @returns {{canvas: HTMLCanvasElement, draw: (cell: (x: number, y: number) => number[], columns?: number, rows?: number) => void}}
 *   `cell` gives [r, g, b, a] (0 to 255) in data coordinates
 */
export function raster(figure) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const place = figure.root.parentElement;
  place.classList.add("stack");
  place.insertBefore(canvas, figure.root);
  return {
    canvas,
    draw(cell, columns = 110, rows = 80) {
      const { margin } = figure;
      if (!(figure.width > 0)) return;
      // in shares of the figure, which paper may scale
      const across = (v) => `${(100 * v) / (figure.width + margin.left + margin.right)}%`;
      const down = (v) => `${(100 * v) / (figure.height + margin.top + margin.bottom)}%`;
      canvas.style.cssText = `left:${across(margin.left)};top:${down(margin.top)};width:${across(figure.width)};height:${down(figure.height)}`;
      const [dx, dy] = [(figure.x[1] - figure.x[0]) / columns, (figure.y[1] - figure.y[0]) / rows];
      paint(canvas, columns, rows, (column, row) =>
        cell(figure.x[0] + (column + 0.5) * dx, figure.y[1] - (row + 0.5) * dy),
      );
    },
  };
}

/**
 * Colour a canvas of columns x rows pixels, from the top down.
 * @param {HTMLCanvasElement} canvas
 * @param {number} columns
 * @param {number} rows
 * @param {(column: number, row: number) => number[]} cell
 */
export function paint(canvas, columns, rows, cell) {
  Object.assign(canvas, { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  for (let i = 0; i < columns * rows; i++) image.data.set(cell(i % columns, Math.floor(i / columns)), 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A colour of the theme as [r, g, b]. @param {Element} element @param {string} name */
export const rgb = (element, name) => channels(colour(element, name));

/** "#1a2b3c" or "#123" as [r, g, b]. @param {string} hex */
export function channels(hex) {
  const text = hex.replace("#", "");
  const wide = text.length === 3 ? [...text].map((c) => c + c).join("") : text;
  return [0, 2, 4].map((i) => parseInt(wide.slice(i, i + 2), 16));
}

/**
 * Level lines of a function on a grid, by marching squares.
 * @param {Figure} figure
 * @param {(x: number, y: number) => number} f
 * @param {number[]} levels
 * @returns {string} path data of `figure`
 */
export function contours(figure, f, levels, columns = 60, rows = 45) {
  const xs = Array.from({ length: columns + 1 }, (_, i) => figure.x[0] + ((figure.x[1] - figure.x[0]) * i) / columns);
  const ys = Array.from({ length: rows + 1 }, (_, j) => figure.y[0] + ((figure.y[1] - figure.y[0]) * j) / rows);
  const values = ys.map((y) => xs.map((x) => f(x, y)));
  let d = "";
  for (const level of levels) {
    for (let j = 0; j < rows; j++) {
      for (let i = 0; i < columns; i++) {
        const corners = [
          [i, j],
          [i + 1, j],
          [i + 1, j + 1],
          [i, j + 1],
        ];
        const cuts = [];
        corners.forEach(([a, b], k) => {
          const [c, e] = corners[(k + 1) % 4];
          const [v, w] = [values[b][a] - level, values[e][c] - level];
          if (v < 0 === w < 0 || !Number.isFinite(v) || !Number.isFinite(w)) return;
          const t = v / (v - w);
          cuts.push(
            `${figure.sx(xs[a] + t * (xs[c] - xs[a])).toFixed(1)} ${figure.sy(ys[b] + t * (ys[e] - ys[b])).toFixed(1)}`,
          );
        });
        for (let k = 0; k + 1 < cuts.length; k += 2) d += `M${cuts[k]}L${cuts[k + 1]}`;
      }
    }
  }
  return d;
}
