// The families of the KL explorer, held to golden.json: log-densities, closed forms, sums, and integrals whose tails are
// so heavy that no panel reaches their end.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as families from "../../../src/nelbo/studio/static/core/families.js";
import { meanAndError, randomness } from "../../../src/nelbo/studio/static/core/math.js";

const { binned, closedForms, density, integrals } = families;
const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8"));

/** Within a relative error of what is expected; null stands for a number that JSON cannot hold. */
function close(found, expected, words, { relative = 1e-12, tiny = 1e-300 } = {}) {
  if (expected === null) return assert.ok(!Number.isFinite(found), `${words}: ${found} is finite`);
  const off = Math.abs(found - expected);
  assert.ok(off <= relative * Math.abs(expected) + tiny, `${words}: ${found}, expected ${expected}`);
}

test("log-densities and log-masses", () => {
  for (const [shape, values] of golden.logs)
    for (const [x, expected] of values)
      close(density(shape).log(x), expected, `log p(${x}), ${JSON.stringify(shape)}`, { tiny: 1e-14 });
});

test("KL of two Laplace and of two Cauchy distributions", () => {
  for (const [name, expected] of Object.entries(golden.widths))
    golden.numbers.forEach((four, i) => close(families[name](...four), expected[i], `${name}(${four})`));
});

test("KL of rates and of coins", () => {
  for (const [a, b, expected] of golden.rates)
    for (const name in expected) close(families[name](a, b), expected[name], `${name}(${a}, ${b})`);
  // 1 - a is rounded: where a lies next to 1, digits are lost
  for (const [a, b, expected] of golden.coins)
    close(families.bernoulliKL(a, b), expected, `coins ${a}, ${b}`, { relative: 1e-11 });
});

test("counts: closed forms and sums", () => {
  for (const [a, b, expected] of golden.counts) {
    const [p, q] = [density(a), density(b)];
    const [closed, summed] = [closedForms(p, q), integrals(p, q)];
    const words = JSON.stringify([a, b]);
    close(closed.pq, expected.pq, `KL, ${words}`);
    close(summed.pq, expected.pq, `KL summed, ${words}`, { relative: 1e-11 });
    for (const name of ["js", "tv", "hellinger"])
      close(summed[name], expected[name], `${name}, ${words}`, { tiny: 1e-15 });
    close(summed.mass, 1, `mass, ${words}`, { relative: 1e-13 });
  }
});

test("heavy tails", () => {
  for (const [a, b, expected] of golden.heavy)
    close(integrals(density(a), density(b)).pq, expected, JSON.stringify([a, b]));
});

test("quadrature and closed forms agree", () => {
  const random = randomness(5);
  const between = (low, high) => low + (high - low) * random.uniform();
  for (const family of ["laplace", "cauchy", "exponential"]) {
    for (let i = 0; i < 60; i++) {
      const some = () => ({
        family,
        mu: between(-20, 20),
        sigma: Math.exp(between(-3, 3)),
        rate: Math.exp(between(-3, 3)),
      });
      const [p, q] = [density(some()), density(some())];
      const [closed, found] = [closedForms(p, q), integrals(p, q)];
      for (const name of ["pq", "qp"]) close(found[name], closed[name], `${name}, ${family}`, { relative: 1e-11 });
    }
  }
  const [t, cauchy] = ["student", "cauchy"].map((family) => density({ family, mu: 0.5, sigma: 2, nu: 1 }));
  assert.equal(closedForms(t, cauchy).pq, 0);
});

test("where KL is the same both ways", () => {
  const both = (a, b) => {
    const [p, q] = [density(a), density(b)];
    return { ...integrals(p, q), ...closedForms(p, q) };
  };
  const random = randomness(6);
  const number = () => ({ mu: 8 * random.uniform() - 4, sigma: Math.exp(4 * random.uniform() - 2) });
  for (let i = 0; i < 40; i++) {
    const [a, b] = [number(), number()];
    const of = (family, nu, sigma = b.sigma) => both({ ...a, family, nu }, { ...b, family, nu, sigma });
    const cauchy = of("cauchy");
    assert.equal(cauchy.pq, cauchy.qp);
    for (const [family, nu] of [["normal"], ["laplace"], ["student", 0.6], ["student", 5]]) {
      const [equal, other] = [of(family, nu, a.sigma), of(family, nu)];
      assert.equal(equal.pq, equal.qp, family);
      // the wider one's direction is the larger, but for tails heavier than Cauchy's, where it is the smaller
      const sign = Math.sign(a.sigma - b.sigma) * (nu < 1 ? -1 : 1);
      assert.ok((other.pq - other.qp) * sign > 0, `${family} ${nu}: ${other.pq}, ${other.qp}`);
    }
  }
  const [one, mirrored, third] = [0.2, 0.8, 0.5].map((prob) => ({ family: "bernoulli", prob }));
  close(both(one, mirrored).pq, both(one, mirrored).qp, "coins a and 1 - a");
  assert.ok(Math.abs(both(one, third).pq - both(one, third).qp) > 0.01);
});

test("a count and a density have nothing in common", () => {
  const { pq, qp, js, tv, hellinger } = integrals(
    density({ family: "poisson", rate: 2 }),
    density({ family: "normal", mu: 2, sigma: 1 }),
  );
  assert.deepEqual([pq, qp, js, tv, hellinger], [Infinity, Infinity, Math.LN2, 1, 1]);
});

test("binning loses information, whatever the family", () => {
  for (const [a, b] of [...golden.counts, ...golden.pairs]) {
    const [p, q] = [density(a), density(b)];
    const [few, many] = [[0.5], [-2, -1, 0, 0.5, 1, 2, 3]].map((edges) => binned(p, q, edges));
    const whole = { ...integrals(p, q), ...closedForms(p, q) };
    assert.ok(few.pq <= many.pq * (1 + 1e-9) + 1e-12, JSON.stringify([a, b]));
    assert.ok(many.pq <= whole.pq * (1 + 1e-9) + 1e-12, JSON.stringify([a, b]));
    const total = many.masses.reduce((sum, [mass]) => sum + mass, 0);
    close(total, 1, "mass of all bins", { relative: 1e-11 });
  }
});

test("draws follow their density", () => {
  const random = randomness(3);
  for (const [shape] of golden.logs) {
    const p = density(shape);
    const draws = Array.from({ length: 20000 }, () => p.draw(random));
    assert.ok(draws.every((x) => p.log(x) > -Infinity));
    // shares below some points against the density's mass there, in standard errors of a share
    const at = (k) => (p.isDiscrete ? Math.floor(p.parts[0][0]) + 0.5 + k : p.parts[0][0] + k * p.parts[0][1]);
    const edges = [at(0), at(1), at(3)];
    const { masses } = binned(p, p, edges);
    let below = 0;
    edges.forEach((edge, i) => {
      below += masses[i][0];
      const { mean } = meanAndError(draws.map((x) => (x < edge ? 1 : 0)));
      const error = Math.sqrt((below * (1 - below)) / draws.length);
      assert.ok(Math.abs(mean - below) <= 5 * error + 1e-12, `${JSON.stringify(shape)}: ${mean}, ${below} ± ${error}`);
    });
  }
});

test("distances of transport", () => {
  const w2 = (a, b) => closedForms(density(a), density(b)).w2;
  const laplace = (mu, sigma) => ({ family: "laplace", mu, sigma });
  const cauchy = (mu, sigma) => ({ family: "cauchy", mu, sigma });
  const student = (mu, sigma, nu) => ({ family: "student", mu, sigma, nu });
  close(w2(laplace(0, 1), laplace(3, 3)), Math.sqrt(9 + 8), "Laplace");
  close(w2(cauchy(0, 1), cauchy(3, 1)), 3, "Cauchy, equal widths");
  assert.equal(w2(cauchy(0, 1), cauchy(0, 2)), Infinity);
  assert.equal(w2(cauchy(0, 1), { family: "normal", mu: 0, sigma: 1 }), Infinity);
  close(w2(student(0, 1, 4), student(1, 2, 4)), Math.sqrt(1 + 2), "Student");
  assert.equal(w2(student(0, 1, 4), student(1, 2, 3)), undefined);
  close(w2({ family: "bernoulli", prob: 0.3 }, { family: "bernoulli", prob: 0.9 }), Math.sqrt(0.6), "coins");
  close(w2({ family: "poisson", rate: 3 }, { family: "poisson", rate: 7 }), 4.128432, "Poisson", { relative: 1e-6 });
  close(w2({ family: "exponential", rate: 2 }, { family: "exponential", rate: 0.5 }), Math.SQRT2 * 1.5, "exponential");
});
