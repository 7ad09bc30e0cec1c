// The VAE that trains in the browser: its loss, every gradient and Adam's steps are torch's (golden.json), and the same
// seed repeats the same training.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { COUNT, labels, pixels, TRAINING } from "../../../src/nelbo/studio/static/pages/playground/digits.js";
import { network, training } from "../../../src/nelbo/studio/static/pages/playground/training.js";
import { adam, vae } from "../../../src/nelbo/studio/static/pages/playground/vae.js";

const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8"));
const waves = (n, shift, scale) => Float64Array.from({ length: n }, (_, i) => scale * Math.sin(1.7 * i + shift));

function close(found, expected, words) {
  assert.equal(found.length, expected.length, words);
  found.forEach((value, i) => {
    const off = Math.abs(value - expected[i]);
    assert.ok(off <= 1e-10 * Math.max(1, Math.abs(expected[i])), `${words} ${i}: ${value}, expected ${expected[i]}`);
  });
}

test("loss, every gradient and two steps of Adam are torch's", () => {
  for (const [{ features, hidden, latent, examples, beta, rate }, steps] of golden.networks) {
    const net = vae({ features, hidden, latent });
    const w = waves(net.count, 0.3, 0.6);
    const x = waves(examples * features, 2, 1).map((v) => Number(v > 0));
    const eps = waves(examples * latent, 5, 1.5);
    const rows = Array.from({ length: examples }, (_, i) => i);
    const [gradient, move] = [new Float64Array(net.count), adam(net.count)];
    for (const [reconstruction, kl, slopes, moved] of steps) {
      const found = net.loss(w, x, rows, eps, beta, gradient);
      close([found.reconstruction, found.kl], [reconstruction, kl], "terms");
      close(gradient, slopes, "gradient");
      move(w, gradient, rate);
      close(w, moved, "weight");
    }
  }
});

test("the gradient is that of finite differences, for the network of the page", () => {
  const { weights } = training({ seed: 3, batch: 32 });
  const [rows, eps] = [[5, 900, 1700], waves(6, 1, 1)];
  const gradient = new Float64Array(network.count);
  network.loss(weights, pixels, rows, eps, 2, gradient);
  const total = (w) => {
    const { reconstruction, kl } = network.loss(w, pixels, rows, eps, 2);
    return reconstruction + 2 * kl;
  };
  for (let i = 7; i < network.count; i += 311) {
    const [up, down] = [1e-6, -1e-6].map((d) => total(weights.map((v, j) => (j === i ? v + d : v))));
    assert.ok(Math.abs((up - down) / 2e-6 - gradient[i]) < 1e-6, String(i));
  }
});

test("there are 1,617 digits to train on and 180 held out, all of ten kinds", () => {
  assert.deepEqual([TRAINING, COUNT - TRAINING, pixels.length], [1617, 180, 64 * 1797]);
  assert.equal(new Set(labels).size, 10);
});

/** @param {{seed?: number, beta?: number, epochs?: number}} [options] */
function trained({ seed = 0, beta = 1, epochs = 2 } = {}) {
  const run = training({ seed, batch: 32 });
  const points = [run.point(beta)];
  while (run.epoch < epochs) {
    run.step({ beta, rate: 0.003 });
    const point = run.point(beta);
    if (point) points.push(point);
  }
  return { run, points };
}

test("the loss falls, and the same seed repeats the same numbers", () => {
  const { run, points } = trained({ epochs: 1 });
  const total = ({ held }) => held.reconstruction + held.kl;
  assert.ok(total(points.at(-1)) < total(points[0]) - 0.8);
  const again = trained({ epochs: 1 });
  assert.deepEqual(again.points, points);
  assert.deepEqual(again.run.weights, run.weights);
  assert.notDeepEqual(trained({ seed: 1, epochs: 1 }).points, points);
});

test("looking does not change a training", () => {
  const [{ run }, watched] = [trained({ epochs: 1 }), training({ seed: 0, batch: 32 })];
  watched.point(1);
  while (watched.epoch < 1) {
    const told = watched.step({ beta: 1, rate: 0.003 }, true);
    assert.ok(told.after.reconstruction + told.after.kl < told.before.reconstruction + told.before.kl + 0.5);
    watched.measure(1);
    watched.point(1);
  }
  assert.deepEqual(watched.weights, run.weights);
});

test("β = 20 switches both units off, and β = 0 lets them say more", () => {
  const kl = (beta) => trained({ beta, epochs: 3 }).points.at(-1).held.kl;
  assert.ok(kl(20) < 0.01);
  assert.ok(kl(0) > 3 * kl(1));
});
