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

/** Whether a point lies within the polygon: a ray from it crosses the outline an odd number of times. @param {number[]} flat @param {number[]} point */
export function isInside(flat, point) {
  const [x, y] = point;
  const around = corners(flat);
  let odd = false;
  around.forEach(([ax, ay], i) => {
    const [bx, by] = around[(i + 1) % around.length];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) odd = !odd;
  });
  return odd;
}
