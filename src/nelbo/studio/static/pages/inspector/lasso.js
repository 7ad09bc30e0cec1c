// Examples chosen by a line drawn around them in the latent plane.

const MOST = 40; // corners that are kept: the polygon stands in the address
const round = (v) => Number(v.toPrecision(4));

/** A polygon under the hand. @param {import("../../core/types.js").Figure} figure */
export function lasso(figure) {
  const outline = figure.path({ class: "lasso" });
  let points = [];
  let kept = [];
  const path = (corners) =>
    corners.length < 2
      ? ""
      : `${figure.line(
          corners.map(([x]) => x),
          corners.map(([, y]) => y),
        )}Z`;
  const one = {
    begin: (event) => (points = [figure.at(event)]),
    move(event) {
      points.push(figure.at(event));
      outline.setAttribute("d", path(points));
    },
    /** The corners as flat numbers; none where the hand did not go around anything. */
    end() {
      const step = Math.ceil(points.length / MOST);
      const corners = points.filter((_, i) => i % step === 0);
      points = [];
      one.redraw();
      return corners.length < 3 ? [] : corners.flat().map(round);
    },
    /** @param {number[]} flat [x0, y0, x1, y1, ...] */
    show(flat) {
      kept = corners(flat);
      one.redraw();
    },
    redraw: () => outline.setAttribute("d", path(kept)),
  };
  return one;
}

const corners = (flat) => Array.from({ length: flat.length >> 1 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

/**
 * The points within a polygon: a ray from each crosses the outline an odd number of times.
 * @param {number[]} flat corners, [x0, y0, x1, y1, ...]
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys
 * @returns {number[]} their positions
 */
export function inside(flat, xs, ys) {
  const around = Float64Array.from(flat);
  const [across, down] = [0, 1].map((d) => around.filter((_, k) => k % 2 === d).sort());
  const rows = [];
  for (let i = 0; i < xs.length; i++) {
    const [x, y] = [xs[i], ys[i]];
    if (!(x >= across[0] && x <= across.at(-1) && y >= down[0] && y <= down.at(-1))) continue;
    let odd = false;
    for (let k = 0, last = around.length - 2; k < around.length; last = k, k += 2) {
      const [ax, ay, bx, by] = [around[k], around[k + 1], around[last], around[last + 1]];
      if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) odd = !odd;
    }
    if (odd) rows.push(i);
  }
  return rows;
}
