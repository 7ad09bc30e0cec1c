// Points of a plane: drawn where they lie, found where they are, whatever their number.

import assert from "node:assert/strict";
import { test } from "node:test";

// the two fields of it that a drawing needs
globalThis.ImageData ??= /** @type {any} */ (
  class {
    constructor(width, height) {
      Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) });
    }
  }
);
const { cloudOf, mixed, radiusOf } = await import("../../../src/nelbo/studio/static/pages/inspector/cloud.js");
const { inside } = await import("../../../src/nelbo/studio/static/pages/inspector/lasso.js");

const RED = [200, 20, 30];
const BLUE = [10, 20, 220];

function draws(seed) {
  let state = seed;
  return () => (state = (1103515245 * state + 12345) % 2147483648) / 2147483648;
}

function pixel({ image, margin, wide }, column, line) {
  const at = 4 * ((line + margin) * wide + column + margin);
  return Array.from(image.data.slice(at, at + 4));
}

/** @param {Uint8Array} of @param {?Uint8Array} [found] */
const inks = (of, found = null) => ({ of, palette: [RED, BLUE], found });

test("a few points are discs of their colour where they lie, and nothing else", () => {
  const cloud = cloudOf([0, 1], [0, 0.5]);
  const sheet = cloud.draw({ x: [-1, 3], y: [-1, 1], width: 400, height: 200 }, inks(Uint8Array.of(0, 1)), 1);
  assert.deepEqual(pixel(sheet, 100, 100), [...RED, 153]);
  assert.deepEqual(pixel(sheet, 200, 50), [...BLUE, 153]);
  assert.deepEqual(pixel(sheet, 150, 75), [0, 0, 0, 0]);
});

test("colours of points that overlap are mixed", () => {
  const cloud = cloudOf([0, 0], [0, 0]);
  const sheet = cloud.draw({ x: [-1, 1], y: [-1, 1], width: 100, height: 100 }, inks(Uint8Array.of(0, 1)), 1);
  const [r, , b, alpha] = pixel(sheet, 50, 50);
  // 0.6 of the one over 0.6 of the other: 1 - 0.4 squared, and 0.6 / 0.84 of the newer colour
  assert.ok(Math.abs(alpha - 255 * 0.84) < 2);
  const share = (r - BLUE[0]) / (RED[0] - BLUE[0]);
  assert.ok(Math.abs(share - (share > 0.5 ? 0.6 / 0.84 : 1 - 0.6 / 0.84)) < 0.03, String([r, b]));
});

test("each of 100,000 points leaves its colour, moved with the view", () => {
  const n = 100_000;
  const next = draws(1);
  const [xs, ys] = [0, 1].map(() => Float32Array.from({ length: n }, () => 4 * next() - 2));
  const of = Uint8Array.from({ length: n }, () => (next() < 0.5 ? 0 : 1));
  const cloud = cloudOf(xs, ys);
  for (const x of [
    [-2, 2],
    [-1.5, 0.5],
  ]) {
    const view = { x: /** @type {[number, number]} */ (x), y: /** @type {[number, number]} */ ([-2, 2]) };
    const sheet = cloud.draw({ ...view, width: 600, height: 600 }, inks(of), 1);
    let covered = 0;
    for (let i = 0; i < n; i += 997) {
      const column = Math.floor(((xs[i] - x[0]) / (x[1] - x[0])) * 600);
      const line = Math.floor(((2 - ys[i]) / 4) * 600);
      if (column < 1 || column > 598) continue;
      covered += pixel(sheet, column, line)[3] > 0 ? 1 : -1000;
    }
    assert.ok(covered > 20);
  }
});

test("points that a search did not find are faint", () => {
  const cloud = cloudOf([0, 1], [0, 0]);
  const view = { x: /** @type {[number, number]} */ ([-1, 3]), y: /** @type {[number, number]} */ ([-1, 1]) };
  const sheet = cloud.draw({ ...view, width: 400, height: 200 }, inks(Uint8Array.of(0, 0), Uint8Array.of(0, 1)), 1);
  assert.ok(pixel(sheet, 100, 100)[3] < 50);
  assert.equal(pixel(sheet, 200, 100)[3], 153);
});

test("the nearest point and the points in a view are those of a search through all", () => {
  const n = 5000;
  const next = draws(2);
  const [xs, ys] = [0, 1].map(() => Float32Array.from({ length: n }, () => (next() + next() + next() - 1.5) * 3));
  xs[7] = NaN;
  const cloud = cloudOf(xs, ys);
  for (let k = 0; k < 200; k++) {
    const [px, py, r] = [6 * next() - 3, 6 * next() - 3, 0.02 + next() * 0.3];
    const far = (i) => Math.hypot(xs[i] - px, ys[i] - py);
    const best = Array.from(mixed(n)).reduce((a, i) => (a === null || far(i) < far(a) ? i : a), null);
    assert.equal(cloud.near(px, py, r, r), far(best) < r ? best : null);
    const view = { x: [px - r, px + r], y: [py - r, py + r] };
    const all = [...xs.keys()].filter(
      (i) => xs[i] >= view.x[0] && xs[i] <= view.x[1] && ys[i] >= view.y[0] && ys[i] <= view.y[1],
    );
    assert.deepEqual(
      cloud.within(/** @type {any} */ (view)).sort((a, b) => a - b),
      all,
    );
  }
});

test("points are the smaller, the more there are, and never vanish", () => {
  const sizes = [10, 1000, 10_000, 100_000, 1_000_000].map((count) => radiusOf(count, 1));
  assert.deepEqual(
    sizes,
    [...sizes].sort((a, b) => b - a),
  );
  assert.ok(sizes.at(-1) > 0.4);
});

test("a lasso holds what lies within its line", () => {
  const corners = [0, 0, 4, 0, 4, 4, 2, 1, 0, 4]; // with a dent from above
  assert.deepEqual(inside(corners, [1, 3.5, 2, 5, 2], [1, 2, 3, 1, 0.5]), [0, 1, 4]);
});
