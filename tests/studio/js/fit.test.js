// The fit of a normal to two bumps, and the map of the asymmetry: what they end at and say is what the numbers are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { density, integrals } from "../../../src/nelbo/studio/static/core/families.js";
import { asymmetry } from "../../../src/nelbo/studio/static/pages/kl/asymmetry.js";
import { GOALS, minimaOf, objectives, racer } from "../../../src/nelbo/studio/static/pages/kl/descent.js";

const TWO = { family: "mixture", mu: -2, sigma: 0.6, mu2: 2, sigma2: 0.6, weight: 0.5 };
const normal = (mu, sigma) => density({ family: "normal", mu, sigma });

test("what is descended is what the cards show", () => {
  const p = density(TWO);
  objectives(p).forEach((value, i) => {
    for (const [m, s] of [
      [-0.8, 0.8],
      [0, 2.5],
      [2, 0.6],
    ]) {
      const found = integrals(p, normal(m, s))[GOALS[i].key];
      const expected = i === 3 ? found ** 2 : found;
      assert.ok(Math.abs(value(m, Math.log(s)) - expected) < 1e-4 * expected + 1e-6, `${GOALS[i].name} ${m} ${s}`);
    }
  });
});

test("beside a bump, KL(q‖p) settles on it and KL(p‖q) covers both", () => {
  const values = objectives(density(TWO));
  const ends = [0, 1].map((i) => {
    const one = racer([-0.8, Math.log(0.8)]);
    while (!one.hasArrived()) one.step(values[i]);
    return [one.at[0], Math.exp(one.at[1])];
  });
  const near = (found, expected) => found.every((v, k) => Math.abs(v - expected[k]) < 0.02);
  assert.ok(near(ends[0], [0, Math.sqrt(4 + 0.36)]), String(ends[0]));
  assert.ok(near(ends[1], [-2, 0.604]), String(ends[1]));
});

test("KL(q‖p) has a minimum on each bump, KL(p‖q) one in all", () => {
  const values = objectives(density(TWO));
  const places = (i) => minimaOf(values[i], { x: [-4.5, 4.5], y: [-2.4, 1.3] }).map(({ at }) => Math.round(at[0]) + 0);
  assert.deepEqual(places(0), [0]);
  assert.ok([-2, 2].every((bump) => places(1).includes(bump)));
});

test("the map of a Student’s t is that of its integrals, and is 0 for a Cauchy", () => {
  for (const nu of [0.6, 3, 20]) {
    const map = asymmetry("student", nu, [4, 1.6]);
    for (const [d, t] of [
      [0, 0.8],
      [2, 0.8],
      [-2, -0.8],
    ]) {
      const [p, q] = [
        [d, Math.exp(t / 2)],
        [0, Math.exp(-t / 2)],
      ].map(([mu, sigma]) => density({ family: "student", nu, mu, sigma }));
      const { pq, qp } = integrals(p, q);
      assert.ok(Math.abs(map(d, t) - (pq - qp)) < 0.03 * Math.abs(pq - qp) + 0.01, `${nu} ${d} ${t}`);
    }
  }
  assert.equal(asymmetry("cauchy", 0, [4, 1.6])(1.5, 0.7), 0);
});
