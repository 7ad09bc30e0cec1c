// The names of the classes, where their points are.

import { s, set } from "../../core/dom.js";

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
 * Names of classes in their colours, each at the median of its points, moved apart where two would overlap.
 * @param {import("../../core/types.js").Figure} figure
 * @param {SVGGElement} group that holds them
 * @returns {(middles: ReturnType<typeof classMiddles>, colour: ?((row: number) => string)) => void} draw them; `colour`
 *   is null where it does not stand for the class
 */
export function classNames(figure, group) {
  let shown = "";
  return (middles, colour) => {
    const discs = colour
      ? middles.map(({ name, row, x, y }) => ({ name, colour: colour(row), x: figure.sx(x), y: figure.sy(y) }))
      : [];
    spread(discs);
    const now = JSON.stringify(discs.map(({ name, colour: own }) => [name, own]));
    if (now !== shown) group.replaceChildren(...discs.map(disc)); // otherwise they have only moved
    shown = now;
    discs.forEach(({ x, y }, i) => set(group.children[i], { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }));
  };
}

function disc({ name, colour }) {
  if (name.length > SHORT)
    return s(
      "g",
      {},
      s("circle", { r: 4.5, fill: colour }),
      s("text", { class: "halo", y: -8, "text-anchor": "middle" }, name),
    );
  return s(
    "g",
    {},
    s("circle", { r: 8, fill: colour }),
    s("text", { y: 4, "text-anchor": "middle", style: `fill:${inkOn(colour)}` }, name),
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
