// Encoders, decoders and the terms of the loss in the page, held to nelbo's numbers (golden_networks.py).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { keyOf, normals } from "../../../src/nelbo/studio/static/pages/inspector/draws.js";
import { quadrature } from "../../../src/nelbo/studio/static/pages/inspector/estimate.js";
import { inPage } from "../../../src/nelbo/studio/static/pages/inspector/inpage.js";

const golden = JSON.parse(readFileSync(new URL("networks.json", import.meta.url), "utf8"));
const TERMS = ["reconstruction_error", "kl", "nelbo"];

const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const floats = (text) => new Float32Array(bytes(text).buffer);

/** Within what float32 allows over a few layers. */
function close(found, expected, words) {
  if (expected === null) return assert.equal(found, null, words);
  const off = Math.abs(found - expected);
  assert.ok(off <= 1e-5 * (1 + Math.abs(expected)), `${words}: ${found}, expected ${expected}`);
}

/** @param {any} one */
async function opened(one) {
  const here = inPage(one.info, async (part) => ({
    content: { steps: one[part].steps },
    buffers: one[part].weights.map((text) => new DataView(bytes(text).buffer)),
  }));
  await here.fetchBoth();
  return here;
}

function sameTerms(found, expected, words) {
  for (const term of TERMS) {
    close(found[term], expected[term]?.[0] ?? null, `${words}, ${term}`);
    if (expected[term]) close(found.standard_errors[term], expected[term][1], `${words}, error of ${term}`);
  }
}

for (const [name, one] of Object.entries(golden)) {
  test(`${name}: q(z|x), its reconstruction and the terms over 1,024 draws are Python's`, async () => {
    const here = await opened(one);
    const x = floats(one.x);
    const example = await here.encode(x, () => true);
    one.mean.forEach((v, i) => close(example.mean[i], v, `mean ${i}`));
    one.covariance.forEach((v, i) => close(example.covariance[i], v, `covariance ${i}`));
    assert.equal(example.reconstruction.length, one.decoded.length);
    one.decoded.forEach((v, i) => close(example.reconstruction[i], v, `pixel ${i}`));
    close(example.at_mean, one.at_mean, "-log p(x|mean)");
    sameTerms(example, one.terms, "terms");
    assert.equal(example.draws, 1024);
    assert.deepEqual(example.x, x);
  });

  test(`${name}: the terms under a q of one's own are Python's`, async () => {
    const here = await opened(one);
    const { mean, covariance, terms } = one.own;
    const n = mean.length;
    const rows = mean.map((_, r) => covariance.slice(r * n, (r + 1) * n));
    sameTerms(await here.termsUnder(floats(one.x), mean, rows, () => true), terms, "terms");
  });

  test(`${name}: what a hand sees is close to what it sees at rest`, async () => {
    const here = await opened(one);
    const x = floats(one.x);
    for (let i = 0; i < 50; i++) here.encodeNow(x); // how long a decoding takes is known afterwards
    const [now, settled] = [here.encodeNow(x), await here.encode(x, () => true)];
    assert.deepEqual([now.mean, now.reconstruction], [settled.mean, settled.reconstruction]);
    assert.equal(now.kl, settled.kl);
    const allowed = 20 * settled.standard_errors.reconstruction_error + 0.02 * settled.reconstruction_error; // as of 64 draws
    assert.ok(Math.abs(now.reconstruction_error - settled.reconstruction_error) <= allowed + 1e-9, now.how);
  });
}

test("several examples at once give what each gives alone", async () => {
  for (const [name, one] of Object.entries(golden)) {
    const here = await opened(one);
    const n = one.info.latent;
    const codes = Array.from({ length: 7 }, (_, i) => normals(3n, i, n));
    const together = here.means(codes);
    codes.forEach((z, i) => {
      const alone = here.mean(z);
      const part = together.subarray(i * alone.length, (i + 1) * alone.length);
      part.forEach((v, k) => close(v, alone[k], `${name}, example ${i}`));
    });
  }
});

test("an estimate that was overtaken ends", async () => {
  const here = await opened(golden["conv 1x28x28"]);
  assert.equal(await here.encode(floats(golden["conv 1x28x28"].x), () => false), null);
});

test("a model whose KL has no formula here says so", async () => {
  const one = structuredClone(golden["dense 8x8"]);
  one.info.standard_normal_prior = false;
  const example = (await opened(one)).encodeNow(floats(one.x));
  assert.deepEqual([example.kl, example.nelbo, example.missing], [null, null, "–"]);
  assert.match(example.how, /KL to this prior needs the studio/);
  assert.ok(example.reconstruction_error > 0);
});

test("equal examples have equal draws, also with zeros of either sign", () => {
  const key = keyOf([1, 0, 0.5]);
  assert.equal(keyOf([1, -0, 0.5]), key);
  assert.notEqual(keyOf([1, 0.5, 0]), key);
  const all = Array.from({ length: 4000 }, (_, i) => normals(key, i, 3)[2]);
  const mean = all.reduce((a, b) => a + b) / all.length;
  assert.ok(Math.abs(mean) < 0.08);
});

test("quadratures are exact for the polynomials they are made for, and take no more nodes than allowed", () => {
  for (const [n, most, degree] of [
    [1, 5, 9],
    [2, 25, 5],
    [2, 9, 5],
    [2, 4, 3],
    [3, 19, 5],
    [4, 33, 5],
    [3, 18, 3],
    [7, 14, 3],
  ]) {
    const { nodes, weights } = quadrature(n, most);
    assert.ok(nodes.length <= most);
    const holds = (f, expected) => {
      const found = weights.reduce((sum, weight, i) => sum + weight * f(nodes[i]), 0);
      close(found, expected, `${f} of ${n} numbers with ${most} nodes`);
    };
    holds(() => 1, 1);
    for (let d = 0; d < n; d++) {
      const next = (d + 1) % n;
      holds((z) => z[d] ** 2, 1);
      holds((z) => z[d] ** 3, 0);
      if (degree > 3) holds((z) => z[d] ** 4, 3);
      if (degree > 3 && n > 1) holds((z) => (z[d] * z[next]) ** 2, 1);
    }
  }
  assert.equal(quadrature(30, 20), null);
});
