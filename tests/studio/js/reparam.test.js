// The draw that is held, the race of descents and the variances of the reparameterization page are Python's.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PAGES } from "../../../src/nelbo/studio/static/core/pages.js";
import { localModel } from "../../../src/nelbo/studio/static/core/store.js";
import { cost, descent } from "../../../src/nelbo/studio/static/pages/reparam/descents.js";
import { keepSample, oneDraw } from "../../../src/nelbo/studio/static/pages/reparam/draw.js";
import { ESTIMATORS, FUNCTIONS, variances } from "../../../src/nelbo/studio/static/pages/reparam/estimators.js";
import { tracesOf } from "../../../src/nelbo/studio/static/pages/reparam/race.js";

const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf-8"));
const close = (found, expected, words) =>
  assert.ok(Math.abs(found - expected) <= 1e-10 * (1 + Math.abs(expected)), `${words}: ${found} for ${expected}`);

test("one draw and both its gradients are those of autograd", () => {
  for (const [state, expected] of golden.draws) {
    const found = oneDraw(state);
    for (const name of ["z", "f", "slope"]) close(found[name], expected[name], `${name} of ${state.fn}`);
    for (const way of ["pathwise", "score"])
      found[way].forEach((g, i) => close(g, expected[way][i], `${way} ${i} of ${JSON.stringify(state)}`));
  }
});

test("the descents go where autograd leads with the same draws", () => {
  for (const [state, pairs, expected] of golden.descents)
    for (const [way, places] of Object.entries(expected))
      descent(state, way, pairs).forEach((mu, i) => close(mu, places[i], `${way} of ${state.fn}, step ${i}`));
});

test("the variances of one draw are those of the quadrature", () => {
  for (const [state, expected] of golden.gradientVariances)
    for (const way of ["pathwise", "score"])
      close(variances(state)[way], expected[way], `${way} ${JSON.stringify(state)}`);
});

test("where a function is least, its slope is none", () => {
  for (const [name, { best, exact }] of Object.entries(FUNCTIONS))
    if (best) close(exact(best(0.7), 0.4, 0.7)[1], 0, name);
});

test("at first, the score function wanders and the pathwise gradient goes straight, whatever the draws", () => {
  const { defaults } = PAGES.reparam;
  for (let seed = 0; seed < 12; seed++) {
    const state = { ...defaults, seed };
    const traces = tracesOf(state);
    const [pathwise, score, baseline] = traces.map((trace) => cost(state, trace));
    assert.deepEqual(ESTIMATORS, ["pathwise", "score", "baseline"]);
    assert.ok(score > 10 * pathwise && score > 3 * baseline, `${seed}: ${pathwise}, ${score}, ${baseline}`);
  }
});

test("z goes along with mu and sigma, and a stochastic node's z stays", () => {
  const model = localModel({ ...PAGES.reparam.defaults, mu: 1, sigma: 2, eps: 0.5 });
  const stop = keepSample(model);
  const z = () => model.get("mu") + model.get("sigma") * model.get("eps");
  model.set("mu", 2);
  assert.equal(z(), 3);
  model.set("node", "stochastic");
  model.set("mu", 0);
  model.set("sigma", 0.5);
  close(z(), 3, "z");
  assert.equal(model.get("eps"), 6);
  model.set("eps", 1);
  model.set("mu", -1);
  close(z(), 0.5, "z after it was dragged");
  stop();
});
