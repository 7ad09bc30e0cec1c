// What the terms of a loss are made of, held to golden.json: the KL of a unit, what each feature costs, the noise behind a
// code, what was minimized.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { estimator } from "../../../src/nelbo/studio/static/pages/inspector/estimate.js";
import { likelihood } from "../../../src/nelbo/studio/static/pages/inspector/likelihood.js";
import { klParts } from "../../../src/nelbo/studio/static/pages/inspector/normal.js";
import {
  codeOf,
  largest,
  minimized,
  noiseOf,
  ofPixels,
  unitParts,
} from "../../../src/nelbo/studio/static/pages/inspector/parts.js";

const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8"));
const NORMAL = { is_point: false, is_normal: true, standard_normal_prior: true };

function close(found, expected, words, relative = 1e-12, tiny = 1e-14) {
  const off = Math.abs(found - expected);
  assert.ok(off <= relative * Math.abs(expected) + tiny, `${words}: ${found}, expected ${expected}`);
}

test("the KL of a unit, its place and its width", () => {
  for (const [mean, sd, place, width] of golden.units) {
    const found = klParts(mean, sd);
    close(found.place, place, `place of ${mean}`, 1e-12, 1e-300);
    close(found.width, width, `width of ${sd}`);
    close(found.kl, place + width, `KL of ${mean}, ${sd}`);
  }
});

test("what each feature costs is nelbo's log-probability, and their sum is the error", () => {
  for (const [name, [form, outputs, x, expected]] of Object.entries(golden.features)) {
    const px = likelihood(form);
    const found = new Float64Array(x.length);
    const sum = px.error(outputs, x, found);
    found.forEach((value, i) => close(value, expected[i], `${name} ${i}`, 1e-12));
    const total = expected.reduce((all, value) => all + value, 0);
    close(sum, total, `sum of ${name}`, 1e-12);
    assert.equal(px.error(outputs, x), sum);
  }
});

test("the KL is a sum over units where q and p factorize, and nowhere else", () => {
  const q = { mean: [0.5, -2], covariance: [[0.25, 0], [0, 4]] }; // prettier-ignore
  const parts = unitParts(NORMAL, q);
  close(parts[0].kl, 0.125 - 0.375 + Math.log(2), "first unit");
  close(parts[1].kl, 2 + 1.5 - Math.log(2), "second unit");
  const joint = { ...q, covariance: [[0.25, 0.1], [0.1, 4]] }; // prettier-ignore
  assert.equal(unitParts(NORMAL, joint), null);
  assert.equal(unitParts({ ...NORMAL, standard_normal_prior: false }, q), null);
  assert.equal(unitParts({ ...NORMAL, is_normal: false }, q), null);
  assert.equal(unitParts({ ...NORMAL, is_normal: false }, q, true).length, 2); // a q of one's own is a normal
});

test("noise and code are each other's inverse, for a joint q too", () => {
  for (const covariance of [
    [
      [0.25, 0],
      [0, 4],
    ],
    [
      [1, 0.6],
      [0.6, 0.5],
    ],
    [
      [0.09, 0],
      [0, 0],
    ],
  ]) {
    // prettier-ignore
    const q = { mean: [0.5, -2], covariance };
    const eps = covariance[1][1] ? [1.5, -0.7] : [1.5, 0];
    const z = codeOf(q, eps);
    noiseOf(q, z).forEach((value, i) => close(value, eps[i], `eps ${i}`));
  }
  const diagonal = { mean: [1, 2], covariance: [[4, 0], [0, 9]] }; // prettier-ignore
  assert.deepEqual(codeOf(diagonal, [1, -1]), [3, -1]); // mean + sigma eps
});

test("an estimate says what each feature costs, and they add up to it", async () => {
  // "features" that cost (z_1 - x_1)^2 and z_1 z_2
  const features = (a, b, x) => [(a - x[0]) ** 2, a * b];
  const estimates = estimator((codes, count, x, weights, sums) => {
    const all = Array.from({ length: count }, (_, i) => features(codes[2 * i], codes[2 * i + 1], x));
    all.forEach((each, i) => each.forEach((value, k) => (sums[k] += weights[i] * value)));
    return Float64Array.from(all, ([u, v]) => u + v);
  }, 2);
  const q = { mean: Float32Array.from([1, 2]), root: [[0.5, 0], [0.3, 0.4]] }; // prettier-ignore
  const x = Float32Array.from([0.25, 0]);
  const quick = estimates.quickly(x, q);
  close(quick.errors[0], 0.75 ** 2 + 0.25, "first feature", 1e-6);
  close(quick.errors[1], 2 + 0.15, "second feature", 1e-6);
  close(quick.errors[0] + quick.errors[1], quick.value, "their sum");
  const close_ = await estimates.closely(x, q, () => true);
  close(close_.errors[0] + close_.errors[1], close_.value, "their sum over many draws");
  const point = estimates.quickly(x, { ...q, root: [[0, 0], [0, 0]] }); // prettier-ignore
  assert.deepEqual([...point.errors], [0.75 ** 2, 2]);
});

test("channels of a pixel cost together, and the dearest come first", () => {
  const pixels = ofPixels([1, 2, 3, 4, 10, 20, 30, 40, 100, 200, 300, 400], [3, 2, 2]);
  assert.deepEqual([...pixels], [111, 222, 333, 444]);
  assert.deepEqual(largest(pixels, 2), [3, 2]);
});

test("what training minimized is told where it is not the total loss", () => {
  const terms = { reconstruction_error: 90, kl: 3 };
  const told = (objective) => minimized(objective, terms, String);
  assert.equal(told({ name: "ELBO", samples: 1 }), "");
  assert.equal(told({ name: "Beta", beta: 1 }), "");
  assert.equal(told(null), "");
  assert.equal(told({ name: "mine.Own", repr: "Own()" }), "");
  assert.match(told({ name: "Beta", beta: 4 }), /β = 4: 90 \+ 4 · 3 = 102\.$/);
  assert.match(
    told({ name: "Beta", beta: { name: "Linear", end: 2 } }),
    /β = 2 at the end of its schedule: .* = 96\.$/,
  );
  assert.match(told({ name: "Capacity", capacity: 25, gamma: 30 }), /90 \+ 30 · 22 = 750\.$/);
  assert.match(told({ name: "FreeBits", floor: 0.1 }), /max\(KL of a unit, 0\.1\)/);
  assert.match(minimized({ name: "Beta", beta: 4 }, { reconstruction_error: 90, kl: null }, String), /β = 4\.$/);
});
