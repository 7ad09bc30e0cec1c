// The axioms that the metric page claims, tried on many triples of normals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { randomness } from "../../../src/nelbo/studio/static/core/math.js";
import { AXIOMS, DIVERGENCES, sides } from "../../../src/nelbo/studio/static/pages/metric/divergences.js";
import { climbed, simplest } from "../../../src/nelbo/studio/static/pages/metric/search.js";

const random = randomness(11);
const normal = () => [8 * random.uniform() - 4, 0.2 + 2 * random.uniform()];
const triples = Array.from({ length: 400 }, () => [normal(), normal(), normal()]);

for (const [name, { title, f, axioms }] of Object.entries(DIVERGENCES)) {
  test(`${title}: what is said to hold holds, and every witness breaks its axiom`, () => {
    const holds = Object.fromEntries(AXIOMS.map((axiom, i) => [axiom, axioms[i].holds]));
    for (const triple of triples) {
      const [p, q] = triple;
      const { pq, excess } = sides(f, triple);
      if (holds["never negative"]) assert.ok(pq >= 0, name);
      if (holds["zero only if equal"]) assert.ok(pq > 0 && Math.abs(f(...p, ...p)) < 1e-7, name);
      if (holds.symmetric) assert.ok(Math.abs(pq - f(...q, ...p)) < 1e-9 * (1 + pq), `${name}(${p}; ${q})`);
      if (holds["triangle inequality"]) assert.ok(excess < 1e-9, `${name}: ${triple}`);
    }
    const witness = Object.fromEntries(AXIOMS.map((axiom, i) => [axiom, axioms[i].witness]));
    if (!holds.symmetric) {
      const [p, , r] = witness.symmetric;
      const [q] = witness.symmetric.filter((one) => f(...p, ...one) !== f(...one, ...p));
      assert.ok(q, `${name} is the same both ways between ${p} and ${r}`);
    }
    if (!holds["triangle inequality"]) assert.ok(sides(f, witness["triangle inequality"]).excess > 0.001, name);
  });

  test(`${title}: a search finds what there is`, () => {
    const found = simplest(f);
    assert.equal(found !== undefined, !axioms[3].holds);
    if (!found) return;
    assert.ok(sides(f, climbed(f, found)).excess >= sides(f, found).excess - 0.05);
  });
}
