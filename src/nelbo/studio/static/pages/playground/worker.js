// Trains in a worker, so that the page stays quick; where a host refuses workers of modules, as Chromium does in a file
// on disk, in short slices between the page's frames.
// This module is both ends: the page imports `trainer`, and a worker that is started with it listens.

import { COUNT, FEATURES, labels, TRAINING } from "./digits.js";
import { LATENT, network, training } from "./training.js";

/** @import { Batch, Measured } from "./training.js" */

/** Steps in a second, as far as the machine goes. */
const PACES = { slow: 2, normal: 200, fast: Infinity };
const SLICE = 10; // ms of work between two looks at what was asked for
const SHOW = 60; // ms between two pictures of a training under way; more, where they would take over a fifth of the time

/**
 * @typedef {Object} Shown what the page is told
 * @property {number} run which training; another begins with each start
 * @property {Measured[]} points of the curves, since the last time
 * @property {Measured} now
 * @property {?Batch} batch what happened in the last step, where there was time to look
 * @property {Float32Array} means of q(z|x) of all digits
 * @property {Float32Array} weights
 * @property {boolean} isEnd whether it paused by itself
 * @property {number} speed epochs in a second
 */

/** Ten held-out digits, one of each kind, which are looked at all the time. */
export const LOOKED_AT = Array.from({ length: 10 }, (_, kind) => {
  let row = TRAINING;
  while (row < COUNT - 1 && labels[row] !== kind) row++;
  return row;
});

const ALL = Array.from({ length: COUNT }, (_, row) => row);

/**
 * The training as it is told to go: {do: "start", run, seed, batch}, {do: "set", beta, rate, pace, epochs},
 * {do: "play"}, {do: "pause"}, {do: "step"}.
 * @param {(shown: Shown) => void} show
 * @param {number} [slice] ms
 * @returns {(order: any) => void}
 */
export function loop(show, slice = SLICE) {
  let settings = { beta: 1, rate: 0.003, pace: "normal", epochs: 200 };
  let run = 0;
  let job = training({ seed: 0, batch: 32 });
  let playing = false;
  let until = 0;
  let scheduled = false;
  /** @type {Measured[]} */
  let points = [];
  /** @type {?Batch} */
  let batch = null;
  let shownNext = 0;
  let owed = 0; // steps that the pace asks for
  let last = 0;
  const done = { epoch: 0, at: 0 }; // when the speed was last taken
  let speed = 0;
  const { port1, port2 } = new MessageChannel(); // a timer would wait four milliseconds
  port1.onmessage = go;

  function schedule(wait = 0) {
    if (scheduled) return;
    scheduled = true;
    wait ? setTimeout(() => port2.postMessage(0), wait) : port2.postMessage(0);
  }

  function step(isTold) {
    batch = job.step(settings, isTold);
    const point = job.point(settings.beta);
    if (point) points.push(point);
  }

  function go() {
    scheduled = false;
    if (!playing) return;
    const pace = PACES[settings.pace];
    const begun = performance.now();
    owed = Math.min(owed + ((begun - last) / 1000) * pace, Math.max(1, 0.1 * pace));
    last = begun;
    while (owed >= 1 && job.epoch < until && performance.now() - begun < slice) {
      step(settings.pace === "slow");
      owed--;
    }
    if (job.epoch >= until) playing = false;
    if (performance.now() >= shownNext || !playing) report(!playing);
    if (playing) schedule(owed >= 1 ? 0 : Math.min(50, Math.max(4, (1000 * (1 - owed)) / pace)));
  }

  function report(isEnd = false) {
    const now = performance.now();
    if (now - done.at > 500) {
      speed = done.at && playing ? (1000 * (job.epoch - done.epoch)) / (now - done.at) : 0;
      Object.assign(done, { epoch: job.epoch, at: now });
    }
    show({
      run,
      points,
      now: job.measure(settings.beta),
      batch,
      means: Float32Array.from(job.codesOf(ALL).mean),
      weights: Float32Array.from(job.weights),
      isEnd,
      speed,
    });
    points = [];
    const end = performance.now();
    shownNext = end + Math.max(SHOW, 4 * (end - now));
  }

  const orders = {
    start({ run: number, seed, batch: size }) {
      run = number;
      job = training({ seed, batch: size });
      until = settings.epochs;
      batch = null;
      points = [job.point(settings.beta)];
      report();
    },
    set(order) {
      if (order.epochs !== settings.epochs) until = Math.max(order.epochs, Math.ceil(job.epoch));
      settings = { ...settings, ...order };
      owed = Math.min(owed, 1);
    },
    play() {
      playing = true;
      if (job.epoch >= until) until = Math.floor(job.epoch) + settings.epochs;
      Object.assign(done, { epoch: job.epoch, at: performance.now() });
      last = performance.now();
      owed = 1;
      schedule();
    },
    pause() {
      playing = false;
      report();
    },
    step() {
      playing = false;
      step(true);
      report();
    },
  };
  return (order) => orders[order.do](order);
}

/**
 * Begin to train, out of the page's way.
 * @param {(shown: Shown) => void} show
 * @returns {{tell: (order: any) => void, stop: () => void}}
 */
export function trainer(show) {
  /** @type {any[]} */
  let told = []; // until the worker has answered
  let hasAnswered = false;
  /** @type {?Worker} */
  let worker = null;
  /** @type {((order: any) => void)|null} */
  let here = null;
  let gone = false;
  const stayHere = () => {
    worker?.terminate();
    worker = null;
    if (gone || here || hasAnswered) return;
    here = loop((shown) => !gone && show(shown), SLICE / 2);
    told.forEach(here);
  };
  try {
    worker = new Worker(import.meta.url, { type: "module" });
    worker.onmessage = ({ data }) => {
      hasAnswered = true;
      told = [];
      show(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      stayHere();
    };
  } catch {
    stayHere();
  }
  return {
    tell(order) {
      if (here) return here(order);
      if (!hasAnswered) told.push(order);
      worker.postMessage(order);
    },
    stop() {
      gone = true;
      here?.({ do: "pause" });
      worker?.terminate();
    },
  };
}

/** Means of p(x|z) over a grid of the latent plane, from the top down. @param {ArrayLike<number>} weights */
export function grid(weights, n, reach) {
  const pictures = new Float32Array(n * n * FEATURES);
  const z = new Float64Array(LATENT);
  for (let i = 0; i < n * n; i++) {
    z[0] = reach * ((2 * ((i % n) + 0.5)) / n - 1);
    z[1] = reach * (1 - (2 * (Math.floor(i / n) + 0.5)) / n);
    network.picture(weights, z, pictures, i * FEATURES);
  }
  return pictures;
}

const scope = /** @type {any} */ (globalThis);
if (scope.WorkerGlobalScope && scope instanceof scope.WorkerGlobalScope) {
  const hear = loop((shown) => scope.postMessage(shown));
  scope.onmessage = ({ data }) => hear(data);
}
