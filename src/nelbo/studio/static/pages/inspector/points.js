// The points of a latent plane, on a canvas within its figure: drawn anew in every frame in which the view moves, and as
// pictures of the examples where few of them are in view.

import { along } from "./axes.js";
import { canvasIn, cloudOf } from "./cloud.js";
import { closeUps } from "./closeups.js";

/** @import { Axes, Figure, Source } from "../../core/types.js" */
/** @import { Cloud, Inks } from "./cloud.js" */

/** @type {WeakMap<Source, Map<string, Cloud>>} */
const known = new WeakMap(); // the rows of the page show the same points

/** Where the examples of a source lie in the plane of these axes; on a line, scattered across it. @param {Source} source @param {Axes} axes */
export function cloudIn(source, { w }) {
  if (!known.has(source)) known.set(source, new Map());
  const clouds = known.get(source);
  const key = JSON.stringify(w);
  if (!clouds.has(key)) {
    const coordinates = w.map(() => new Float32Array(source.n));
    for (let row = 0; row < source.n; row++) {
      const place = along(w, source.meanOf(row));
      for (let d = 0; d < w.length; d++) coordinates[d][row] = place[d];
    }
    const [xs, ys = scattered(source.n)] = coordinates;
    clouds.set(key, cloudOf(xs, ys));
  }
  return clouds.get(key);
}

const scattered = (n) => Float32Array.from({ length: n }, (_, row) => 0.8 * Math.sin(12.9898 * (row + 1) * 78.233));

/**
 * @param {Figure} figure
 * @param {Source} source
 * @param {Cloud} cloud
 */
export function pointsIn(figure, source, cloud) {
  const canvas = canvasIn(figure);
  /** @type {?Inks} */
  let inks = null;
  const near = closeUps(source, cloud, draw);

  function draw() {
    if (!inks || figure.asleep()) return;
    const drawn = canvas.draw(cloud, inks);
    if (drawn) near.draw(canvas.context, drawn.view, inks, drawn.ratio);
  }

  return {
    draw,
    /** @param {Inks} next */
    colour(next) {
      inks = next;
      draw();
    },
    remove: near.remove,
  };
}
