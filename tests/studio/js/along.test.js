// Places along a series of models, and what lies between two of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { between, betaAt, mixed, mixedInto, placeOf } from "../../../src/nelbo/studio/static/pages/beta/along.js";

const BETAS = [0, 0.1, 1, 10];

test("a beta has its place, and a place its beta", () => {
  BETAS.forEach((beta, i) => {
    assert.equal(placeOf(BETAS, beta), i);
    assert.equal(betaAt(BETAS, i), beta);
  });
  assert.equal(placeOf(BETAS, 0.05), 0.5); // from an autoencoder, which has no logarithm
  assert.ok(Math.abs(placeOf(BETAS, Math.sqrt(10)) - 2.5) < 1e-12);
  assert.equal(placeOf(BETAS, 1000), 3);
  assert.equal(placeOf([0.3, 3], 0.1), 0);
  for (let place = 0; place <= 3; place += 0.125)
    assert.ok(Math.abs(placeOf(BETAS, betaAt(BETAS, place)) - place) < 1e-12);
});

test("between two models everything is between, at a model it is the model's", () => {
  assert.deepEqual(between(4, 2), { i: 2, t: 0 });
  assert.deepEqual(between(4, 2.25), { i: 2, t: 0.25 });
  assert.deepEqual(between(4, 9), { i: 3, t: 0 });
  assert.deepEqual(between(4, -1), { i: 0, t: 0 });
  assert.equal(mixed([Infinity, 4, 2, 1], 0), Infinity);
  assert.equal(mixed([Infinity, 4, 2, 1], 0.9), Infinity);
  assert.equal(mixed([Infinity, 4, 2, 1], 1), 4);
  assert.equal(mixed([Infinity, 4, 2, 1], 1.5), 3);
  const into = new Float32Array(2);
  assert.deepEqual(
    Array.from(
      mixedInto(
        [
          [0, 8],
          [4, 0],
        ],
        0.75,
        into,
      ),
    ),
    [3, 2],
  );
  assert.deepEqual(
    Array.from(
      mixedInto(
        [
          [0, 8],
          [4, 0],
        ],
        1,
        into,
      ),
    ),
    [4, 0],
  );
});
