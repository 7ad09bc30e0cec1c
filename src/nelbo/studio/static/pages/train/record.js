// What is known of one run while it trains or after: epochs, steps, snapshots; kept up to date by events.

import { ask, floats } from "../../core/store.js";

export const TERMS = ["reconstruction_error", "kl", "nelbo"];
const POLL = 2000; // ms between two looks at a run that another process trains
const STEPS = 4000;

/**
 * @typedef {Object} Tensor
 * @property {number[]} shape
 * @property {Float32Array} values
 *
 * @typedef {Object} Snapshot what the model looked like at one moment
 * @property {any} at an epoch, or a step
 * @property {Tensor} z means of q(z|x)
 * @property {Tensor} x
 * @property {Tensor} reconstruction
 * @property {Tensor} samples
 * @property {Tensor} kl_per_unit
 * @property {Tensor} [labels]
 *
 * @typedef {Object} RunRecord
 * @property {string} name
 * @property {Record<string, any>[]} history lines of history.jsonl
 * @property {Record<string, any>[]} steps
 * @property {number[]} snapshots epochs of which a picture is kept
 * @property {Map<number, number[]>} units KL of each unit after some epochs
 * @property {?any} job
 * @property {string} status
 * @property {string} message
 * @property {string} stage what a training does before its first step
 * @property {?Snapshot} latest
 * @property {?any} settings of run.json
 * @property {?number} of epochs asked for
 * @property {Map<number, Snapshot>} cache
 * @property {boolean} closed
 * @property {() => Promise<void>} load
 * @property {(content: any, buffers: DataView[]) => void} event takes an event of the studio
 * @property {() => void} close
 * @property {(epoch: ?number) => Promise<Snapshot>} snapshot the picture after an epoch, or, for null, the latest
 */

/**
 * @param {import("../../core/types.js").Model} model
 * @param {string} name
 * @param {() => void} changed
 * @returns {RunRecord}
 */
export function runRecord(model, name, changed) {
  /** @type {RunRecord} */
  const record = {
    name,
    history: [],
    steps: [],
    snapshots: [],
    units: new Map(),
    job: null,
    status: "loading",
    message: "",
    stage: "",
    latest: null,
    settings: null,
    of: null,
    cache: new Map(),
    closed: false,
    load,
    event,
    close,
    snapshot,
  };
  let timer = 0;

  async function load() {
    try {
      const { content } = await ask(model, "train.state", { run: name });
      if (record.closed) return;
      Object.assign(record, {
        name: content.run,
        history: content.history,
        steps: content.steps,
        snapshots: content.snapshots,
        job: content.job,
      });
      for (const [epoch, kl] of content.units) record.units.set(epoch, kl);
      record.status = content.job?.status ?? content.record.status ?? "unfinished";
      record.message = content.job?.message ?? content.record.error ?? "";
      record.stage = content.job?.stage ?? "";
      record.settings = content.record;
      record.of = content.record.training?.epochs ?? record.of;
      if (record.job && ["training", "paused", "starting"].includes(record.status))
        await snapshot(null).catch(() => {});
      clearTimeout(timer);
      if (!record.job && record.status === "training") timer = setTimeout(load, POLL);
    } catch (error) {
      record.status = "damaged";
      record.message = error.message;
    }
    if (!record.closed) changed();
  }

  /** Take an event of the studio; those of other runs are not ours. */
  function event(content, buffers) {
    if (content.run !== record.name && content.job !== record.name) return;
    record.stage = content.what === "stage" ? content.title : "";
    if (content.what === "begin") {
      record.history = content.lines ?? [];
      record.of = content.epochs;
      record.status = "training";
      load();
    } else if (content.what === "step") {
      record.steps.push(content);
      if (record.steps.length > STEPS) record.steps = record.steps.filter((_, i) => i % 2);
      if (record.status === "starting") record.status = "training";
    } else if (content.what === "epoch") {
      if (!record.history.some((line) => line.epoch === content.line.epoch)) record.history.push(content.line);
      if (!record.settings?.training) load(); // run.json is written when the first step begins
    } else if (content.what === "snapshot") {
      record.latest = read(content, buffers);
      if (Number.isInteger(content.at)) {
        record.cache.set(content.at, record.latest);
        record.units.set(content.at, Array.from(record.latest.kl_per_unit.values));
        if (!record.snapshots.includes(content.at)) record.snapshots.push(content.at);
        if (record.cache.size > 60) record.cache.delete(record.cache.keys().next().value);
      }
    } else if (content.what === "paused") record.status = "paused";
    else if (content.what === "playing") record.status = "training";
    else if (content.what === "end") {
      record.status = content.status;
      record.message = content.message ?? "";
      load();
    }
    changed();
  }

  /** The picture after an epoch, or, for null, the latest. */
  async function snapshot(epoch) {
    if (epoch === null && record.latest) return record.latest;
    if (epoch !== null && record.cache.has(epoch)) return record.cache.get(epoch);
    const { content, buffers } = await ask(
      model,
      "train.snapshot",
      epoch === null ? { run: record.name } : { run: record.name, epoch },
    );
    const found = read(content, buffers);
    if (epoch === null) record.latest = found;
    else record.cache.set(epoch, found);
    return found;
  }

  function close() {
    record.closed = true;
    clearTimeout(timer);
  }
  return record;
}

/** @param {any} content @param {DataView[]} buffers @returns {Snapshot} */
function read(content, buffers) {
  const found = /** @type {Snapshot} */ ({ at: content.at });
  content.names.forEach((name, i) => (found[name] = { shape: content.shapes[i], values: floats(buffers[i]).slice() }));
  return found;
}

/**
 * One number a line: [epochs, values], for train_ or validation_.
 * @param {Record<string, any>[]} history
 * @param {string} name
 * @returns {[number[], number[]]}
 */
export function series(history, name) {
  const lines = history.filter((line) => line[name] !== null && line[name] !== undefined);
  return [lines.map((line) => line.epoch), lines.map((line) => line[name])];
}

export const COLLAPSED = 0.01; // nats: less is no information about x

/**
 * Units whose KL fell below COLLAPSED and stayed there, with the epoch from which on.
 * @param {Map<number, number[]>} units KL of each unit after some epochs
 * @returns {{unit: number, epoch: number}[]}
 */
export function collapses(units) {
  const epochs = [...units.keys()].sort((a, b) => a - b);
  const found = [];
  for (let unit = 0; unit < (units.get(epochs[0])?.length ?? 0); unit++) {
    const last = epochs.findLastIndex((epoch) => units.get(epoch)[unit] >= COLLAPSED);
    if (last >= 0 && last < epochs.length - 1) found.push({ unit, epoch: epochs[last + 1] });
  }
  return found;
}

/** How many units carry information after an epoch, as words; "" where that was not kept. */
export function inUse(units, epoch) {
  const kl = units.get(epoch);
  return kl ? `; ${kl.filter((v) => v >= COLLAPSED).length} of ${kl.length} units in use` : "";
}
