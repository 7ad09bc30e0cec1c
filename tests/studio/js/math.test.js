// The mathematics of the browser, held to golden.json: closed forms in forty digits, integrals by nelbo (golden.py).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { binned, closedForms, density, integrals } from "../../../src/nelbo/studio/static/core/families.js";
import * as math from "../../../src/nelbo/studio/static/core/math.js";

const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8"));

/** Within 1e-12 of what is expected; null stands for a number that JSON cannot hold. */
function close(found, expected, words, tiny = 1e-15) {
  if (expected === null) return assert.ok(!Number.isFinite(found), `${words}: ${found} is finite`);
  const off = Math.abs(found - expected);
  assert.ok(off <= 1e-12 * Math.abs(expected) + tiny, `${words}: ${found}, expected ${expected}`);
}

for (const [name, expected] of Object.entries(golden.closed)) {
  test(`${name} of two normals`, () => {
    // no cancellation: what is 0 or tiny is right to its last digits too, but where digits of numbers near 1 are lost
    const tiny = ["normalKL", "klAsymmetry"].includes(name) ? 1e-300 : 1e-15;
    golden.numbers.forEach((four, i) => close(math[name](...four), expected[i], `${name}(${four})`, tiny));
  });
}

test("log densities of all families", () => {
  for (const [shape, logs] of golden.shapes)
    golden.points.forEach((x, i) => close(density(shape).log(x), logs[i], `log p(${x}), ${JSON.stringify(shape)}`));
});

test("integrals over pairs of families", () => {
  for (const [a, b, expected] of golden.pairs) {
    const found = integrals(density(a), density(b));
    for (const name in expected) close(found[name], expected[name], `${name}, ${JSON.stringify([a, b])}`);
    close(found.mass, 1, "mass");
  }
});

test("quadrature and closed forms agree between normals", () => {
  for (const [m, s, n, r] of golden.numbers) {
    if (Math.abs(m - n) > 30 * Math.min(s, r) || Math.max(s, r) > 100 * Math.min(s, r)) continue;
    const [p, q] = [density({ mu: m, sigma: s }), density({ mu: n, sigma: r })];
    const [closed, found] = [closedForms(p, q), integrals(p, q)];
    for (const name of ["pq", "qp", "js", "tv", "hellinger"]) {
      const off = Math.abs(found[name] - closed[name]);
      assert.ok(off <= 1e-9 * closed[name] + 1e-9, `${name}(${[m, s, n, r]}): ${found[name]}, ${closed[name]}`);
    }
  }
});

test("binning loses information, and never makes some", () => {
  for (const [a, b] of golden.pairs) {
    const [p, q] = [density(a), density(b)];
    const [few, many] = [[0], [-2, -1, 0, 0.5, 1, 2, 3]].map((edges) => binned(p, q, edges));
    const whole = integrals(p, q);
    assert.ok(few.pq <= many.pq * (1 + 1e-9) + 1e-12 && many.pq <= whole.pq * (1 + 1e-9) + 1e-12);
    close(
      many.masses.reduce((sum, [mass]) => sum + mass, 0),
      1,
      "mass of all bins",
      1e-11,
    );
  }
});

test("the chain of the bound", () => {
  for (const [five, expected] of golden.chains) {
    const found = math.elboChain(...five);
    for (const name in expected) close(found[name], expected[name], `${name}(${five})`);
    close(found.logEvidence - found.elbo, found.gap, `the gap of ${five}`, 1e-11 * Math.abs(found.elbo));
  }
});

test("draws repeat, and have the moments of their densities", () => {
  const [one, other] = [math.randomness(7), math.randomness(7)];
  assert.deepEqual(
    Array.from({ length: 5 }, () => one.normal()),
    Array.from({ length: 5 }, () => other.normal()),
  );
  const random = math.randomness(1);
  for (const [shape] of golden.shapes) {
    const p = density(shape);
    const draws = Array.from({ length: 20000 }, () => p.draw(random));
    assert.ok(draws.every((x) => x >= p.support[0] && x <= p.support[1]));
    // E[p'/p] = 0 where the density is smooth on the whole line
    if (Number.isFinite(p.support[0])) continue;
    const { mean, error } = math.meanAndError(draws, (x) => (p.log(x + 1e-5) - p.log(x - 1e-5)) / 2e-5);
    assert.ok(Math.abs(mean) < 5 * error, `${JSON.stringify(shape)}: ${mean} ± ${error}`);
  }
});
