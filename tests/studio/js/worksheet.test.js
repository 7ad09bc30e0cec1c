// The worksheet's steps: what they ask, what they accept, and which of them a class's link names.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PAGES } from "../../../src/nelbo/studio/static/core/pages.js";
import { checked } from "../../../src/nelbo/studio/static/core/state.js";
import { orderOf, readSteps } from "../../../src/nelbo/studio/static/pages/worksheet/course.js";
import { rolesOf } from "../../../src/nelbo/studio/static/pages/worksheet/models.js";
import { cauchyKL } from "../../../src/nelbo/studio/static/core/families.js";
import { dip, STEPS } from "../../../src/nelbo/studio/static/pages/worksheet/steps.js";

const NUMBERS = STEPS.map((_, i) => i + 1);

test("a step can be answered, and printed with the others on two pages", () => {
  assert.ok(STEPS.length >= 16 && STEPS.length <= 18);
  assert.equal(new Set(STEPS.map(({ id }) => id)).size, STEPS.length);
  for (const { id, page, options, right, ask, goal, reveal } of STEPS) {
    assert.ok(PAGES[page], id);
    assert.ok(options.length >= 3 && options.length <= 5, id);
    assert.equal(new Set(options).size, options.length, id);
    assert.ok(options[right], id);
    assert.ok(
      ask.length <= 170 && goal.length <= 200 && reveal.length <= 300,
      `${id} is too long for its line on paper`,
    );
  }
});

test("no goal holds where its page begins", () => {
  for (const { id, page, start = {}, look, met } of STEPS) {
    if (look) continue; // it needs runs
    const state = { ...PAGES[page].defaults, ...start };
    for (const [name, value] of Object.entries(start))
      assert.deepEqual(checked(PAGES[page], name, value), [value, null], `${id}: ${name}`);
    assert.equal(met(state), false, id);
  }
});

test("KL between Cauchy distributions is the integral, in both directions", () => {
  const log = (x, m, s) => -Math.log(Math.PI * s * (1 + ((x - m) / s) ** 2));
  const integral = (m, s, n, r) => {
    let sum = 0;
    const count = 200_000;
    for (let i = 0; i < count; i++) {
      const x = m + s * Math.tan(Math.PI * ((i + 0.5) / count - 0.5)); // p(x) dx = 1 / count
      sum += (log(x, m, s) - log(x, n, r)) / count;
    }
    return sum;
  };
  for (const four of [
    [0, 1, 1, 2],
    [-2, 0.3, 1.5, 4],
    [0, 1, 0, 1],
  ]) {
    const [m, s, n, r] = four;
    for (const one of [integral(m, s, n, r), integral(n, r, m, s)])
      assert.ok(Math.abs(cauchyKL(m, s, n, r) - one) < 1e-4, `${four}: ${one}`);
  }
});

test("the running integral dips where q is above p, never below -1/e", () => {
  assert.equal(dip(0, 1, 0, 1), 0);
  for (const four of [
    [0, 1, -1, 1],
    [0, 1, -2, 2],
    [3, 0.1, 2.9, 0.1],
    [0, 10, -20, 3],
  ])
    assert.ok(dip(...four) < -0.05 && dip(...four) >= -1 / Math.E, String(dip(...four)));
});

test("a class's link names its steps", () => {
  assert.deepEqual(orderOf(""), NUMBERS);
  assert.deepEqual(orderOf("3,1, 7-9"), [3, 1, 7, 8, 9]);
  assert.deepEqual(orderOf("2;2 2-3"), [2, 3]);
  const { order, said } = readSteps("4,99,x,9-7,0");
  assert.deepEqual(order, [4]);
  assert.equal(said.length, 4);
  assert.match(said[0], /“99” is no step; there are 1 to \d+/);
  assert.deepEqual(orderOf("99"), NUMBERS); // rather all than none
});

test("the steps on models look at the demo's runs, or at others of their kinds", () => {
  const entry = (run, recipe, more = {}) => ({
    run,
    title: run,
    recipe,
    status: "finished",
    data: "d",
    latent: 2,
    terms: {},
    ...more,
  });
  const demo = { out: "runs/demo" };
  const made = [
    entry("runs/a", "vae"),
    entry("runs/demo/vae", "vae"),
    entry("runs/demo/autoencoder", "autoencoder"),
    entry("runs/demo/beta-vae", "beta_vae"),
  ];
  assert.deepEqual(rolesOf({ runs: made, demo }), {
    autoencoder: "runs/demo/autoencoder",
    vae: "runs/demo/vae",
    heavy: "runs/demo/beta-vae",
  });
  const others = [
    entry("x/other", "autoencoder", { data: "e" }),
    entry("x/ae", "autoencoder"),
    entry("x/half", "vae", { status: "training" }),
    entry("x/vae", "vae"),
  ];
  assert.deepEqual(rolesOf({ runs: others, demo }), { autoencoder: "x/ae", vae: "x/vae" });
});
