// The names of the classes, where their points are.

import { s } from "../../core/dom.js";

const APART = 17; // pixels between the middles of two discs
const SHORT = 2; // characters that a disc holds

/**
 * The median of the points of each class, and one of its examples.
 * @param {import("../../core/types.js").Source} source
 * @param {(row: number) => number[]} at
 * @returns {{name: string, row: number, x: number, y: number}[]}
 */
export function classMiddles(source, at) {
  const names = source.info.label_names ?? [];
  /** @type {number[][]} */
  const rowsOf = names.map(() => []);
  source.labels.forEach((label, row) => rowsOf[label]?.push(row));
  return names.flatMap((name, k) => {
    const rows = rowsOf[k];
    const middle = (d) => Float64Array.from(rows, (i) => at(i)[d]).sort()[rows.length >> 1];
    return rows.length ? [{ name, row: rows[0], x: middle(0), y: middle(1) }] : [];
  });
}

/**
 * The name of each class in its colour, at the median of its points, moved apart where two would overlap.
 * @param {import("../../core/types.js").Figure} figure
 * @param {ReturnType<typeof classMiddles>} middles
 * @param {?((row: number) => string)} colour null where the colour does not stand for the class
 * @returns {SVGElement[]}
 */
export function classNames(figure, middles, colour) {
  const discs = colour
    ? middles.map(({ name, row, x, y }) => ({ name, colour: colour(row), x: figure.sx(x), y: figure.sy(y) }))
    : [];
  spread(discs);
  return discs.map((disc) =>
    s(
      "g",
      { transform: `translate(${disc.x.toFixed(1)} ${disc.y.toFixed(1)})` },
      ...(disc.name.length > SHORT
        ? [
            s("circle", { r: 4.5, fill: disc.colour }),
            s("text", { class: "halo", y: -8, "text-anchor": "middle" }, disc.name),
          ]
        : [
            s("circle", { r: 8, fill: disc.colour }),
            s("text", { y: 4, "text-anchor": "middle", style: `fill:${inkOn(disc.colour)}` }, disc.name),
          ]),
    ),
  );
}

function spread(discs) {
  for (let round = 0; round < 60; round++) {
    let moved = false;
    discs.forEach((a, i) =>
      discs.slice(i + 1).forEach((b) => {
        const [dx, dy] = [b.x - a.x || 0.01, b.y - a.y || 0.01];
        const far = Math.hypot(dx, dy);
        if (far >= APART) return;
        const push = (APART - far) / 2 / far;
        a.x -= dx * push;
        a.y -= dy * push;
        b.x += dx * push;
        b.y += dy * push;
        moved = true;
      }),
    );
    if (!moved) return;
  }
}

function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(colour.slice(i, i + 2), 16) / 255) ** 2.2);
  // where both contrast alike, at 4.58 to 1
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179 ? "#fff" : "#000";
}
