// What a search means, and the order of many examples by a term.

import assert from "node:assert/strict";
import { test } from "node:test";
import { around, search } from "../../../src/nelbo/studio/static/pages/inspector/search.js";
import { termsOf } from "../../../src/nelbo/studio/static/pages/inspector/terms.js";

const KL = [1, 12, 30, 7];
/** @type {any} */
const source = {
  n: 4,
  latent: 2,
  features: 2,
  labels: Float32Array.of(0, 1, 1, 0),
  meanOf: (row) => [row, -row],
  loss: { values: { kl: KL, nelbo: KL.map((v) => v + 100), reconstruction_error: [100, 100, 100, 100] } },
  columns: async () => (i) => (i ? [0, 1, 2, 3] : [-1, 0, 1, 2]),
  info: {
    label_names: ["lark", "wren"],
    features: ["Weight", "age"],
    columns: { low: [-1, 0], high: [2, 3] },
    preparation: { mean: [30, 5], std: [2, 1], scale: 1 },
    is_point: false,
  },
};
const rows = async (text) => (await search(source, text)).rows;

test("a number, a class, a term, a latent unit, and a column in the units of the data", async () => {
  assert.deepEqual(await rows("#2"), [2]);
  assert.deepEqual(await rows("Wren"), [1, 2]);
  assert.deepEqual(await rows("class lark"), [0, 3]);
  assert.deepEqual(await rows("kl > 7"), [1, 2]);
  assert.deepEqual(await rows("KL ≥ 7"), [1, 2, 3]);
  assert.deepEqual(await rows("loss < 108"), [0, 3]);
  assert.deepEqual(await rows("z2 <= −2"), [2, 3]);
  assert.deepEqual(await rows("weight > 30"), [2, 3]);
  assert.deepEqual(await rows("weight = 34"), [3]);
  assert.deepEqual(await rows("age<6"), [0]);
});

test("what means nothing is said with what would", async () => {
  await assert.rejects(rows("9"), /Examples are 0 to 3; 9 is none/);
  await assert.rejects(
    rows("height > 1"),
    /“height > 1” means nothing here; write .*class lark, Weight > 1 or kl > 10/,
  );
  await assert.rejects(rows("albatross"), /means nothing here/);
});

test("what was found is looked at, an outlier aside, unless it is nearly all", () => {
  const n = 101;
  const xs = Float64Array.from({ length: n }, (_, i) => (i === n - 1 ? 50 : 1 + i / 100));
  const cloud = /** @type {any} */ ({ xs, ys: xs });
  const all = [...xs.keys()];
  const { middle, half } = around(all, cloud, 10, 2);
  assert.ok(Math.abs(middle[0] - 1.5) < 0.02 && middle[0] === middle[1]);
  assert.ok(half > 0.5 && half < 0.8);
  assert.equal(around(all, cloud, 0.6, 2), null);
  assert.equal(around([3], cloud, 10, 1).half, 0.5);
});

test("the first of many examples are those of the whole order, and ranks follow what is looked at closely", async () => {
  const n = 3000;
  const value = (i) => Math.fround(Math.sin(12.9898 * i) * 43758.5453) % 50;
  const column = (f) => Float32Array.from({ length: n }, (_, i) => f(i));
  const columns = [
    column(value),
    column(() => 1),
    column((i) => value(i) + 1),
    ...[0, 1, 2, 8].map((v) => column(() => v)),
  ];
  const store = termsOf(/** @type {any} */ ({ n, draws: 8, is_point: false }), columns, async () => []);
  const all = () => Array.from({ length: n }, (_, i) => i);
  for (const largest of [true, false]) {
    const whole = store.sort(all(), "nelbo", largest);
    const some = store.sort(all(), "nelbo", largest, 20);
    assert.deepEqual(some.slice(0, 20), whole.slice(0, 20));
    assert.equal(new Set(some).size, n);
  }
  const before = store.rank("nelbo", 0);
  const row = all().find((i) => store.values.nelbo[i] > 0);
  const looked = { row, draws: 1024, reconstruction_error: -90, kl: 1, nelbo: -89, standard_errors: {} };
  store.write(/** @type {any} */ (looked));
  assert.equal(store.rank("nelbo", 0), before + 1);
  assert.equal(store.quantile("nelbo", 0), -89);
  store.write(/** @type {any} */ ({ ...looked, draws: 2048, nelbo: 89, reconstruction_error: 88 }));
  assert.equal(store.rank("nelbo", 0), before);
  assert.equal(store.quantile("nelbo", 1), 89);
});
