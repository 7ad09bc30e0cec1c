// A run as the inspector sees it: its examples in latent space, their terms, and its networks, here or in Python.

import { ask, floats } from "../../core/store.js";
import { movedTo } from "./axes.js";
import { inPage } from "./inpage.js";
import { termsOf, TERMS } from "./terms.js";

const GRID = 15; // decoded pictures along an axis of the plane
const VIEWS = 12; // views of planes that are kept

/** @import { Answer, Code, Example, Model, Plane, Range, RunInfo, Source, Term } from "../../core/types.js" */

/**
 * @param {Model} model the host
 * @param {string} run
 * @param {string} split "" for what was held out
 * @param {{isWhole?: boolean, isAlone?: boolean}} [options] `isWhole`: all examples, up to 100,000, and not the first
 *   thousand; `isAlone`: there is no Python to ask, as in a file and on a site
 * @returns {Promise<Source>}
 */
export async function openRun(model, run, split, { isWhole = false, isAlone = false } = {}) {
  const which = { run, ...(split ? { split } : {}), ...(isWhole ? { all: true } : {}) };
  const opened = await ask(model, "inspect.open", which);
  const info = /** @type {RunInfo} */ (opened.content);
  const [means, sd, ...columns] = opened.buffers.map((buffer) => floats(buffer));
  const labels = columns.pop();
  const features = info.event.reduce((product, size) => product * size, 1);
  const loss = termsOf(info, columns, async (rows) => {
    const { content } = await ask(model, "inspect.refine", { ...which, rows });
    return content.examples;
  });
  const here = inPage(info, (part) => ask(model, "inspect.weights", { run, part }));
  const hasTerms = isAlone || info.standard_normal_prior; // else Python is asked for the KL
  const answers = remembering();
  const views = remembering(VIEWS);
  const together = (pictures) => concatenated(pictures, features);

  /** @type {Source} */
  const source = {
    run,
    split: info.split,
    info,
    features,
    mean: means,
    sd,
    labels,
    n: info.n,
    isWhole,
    latent: info.latent,
    terms: loss.values,
    loss,
    range: pictureRange(info),
    get isLocal() {
      return here.decodes;
    },
    get isEncoded() {
      return here.encodes && hasTerms;
    },
    canDecode: !isAlone || here.canDecode,
    canEncode: !isAlone || here.canEncode,
    meanOf: (row) => means.subarray(row * info.latent, (row + 1) * info.latent),
    decodeNow: (z) => (here.decodes ? here.mean(z) : null),
    errorNow: (z, x) => (here.decodes ? here.error(z, x) : null),
    errorUnder: (x, mean, covariance) => (here.decodes ? here.errorUnder(x, mean, covariance) : null),
    encodeNow: (x) => (source.isEncoded ? here.encodeNow(x) : null),
    errorsNow: (z, x) => (here.decodes ? here.errors(z, x) : null),
    async errorsAt(z, x) {
      await source.fetchDecoder().catch(() => {}); // Python is asked instead
      if (here.decodes) return here.errors(z, x);
      const asked = [x, z].map((values) => Float32Array.from(values).buffer);
      const { content, buffers } = await ask(model, "inspect.errors", which, asked);
      return { sum: content.sum, errors: some(buffers[0]) };
    },
    async decode(codes) {
      await source.fetchDecoder().catch(() => {}); // Python is asked instead
      if (source.isLocal) return here.means(codes);
      const flat = new Float32Array(codes.length * info.latent);
      codes.forEach((z, i) => flat.set(z, i * info.latent));
      try {
        const answer = await ask(model, "inspect.decode", { run }, [flat.buffer]);
        source.isBlended = false;
        return floats(answer.buffers[0]);
      } catch (error) {
        const blends = codes.map(source.blend);
        if (blends.includes(null)) throw error;
        source.isBlended = true; // a file, whose decoder stayed in Python
        return together(blends);
      }
    },
    isBlended: false,
    blend: (z) => (source.grid ? blended(source.grid, z, features) : null),
    example: (row) =>
      answers(`example ${row}`, async () => {
        const asked = ask(model, "inspect.examples", { ...which, rows: [row] });
        const example = await asked.then(firstExample, (error) => putTogether(row, error));
        loss.write(example);
        return example;
      }),
    async glance(rows) {
      try {
        const { buffers } = await ask(model, "inspect.pictures", { ...which, split: info.split, rows });
        const [x, rebuilt] = buffers.map((buffer) => floats(buffer));
        return rows.map((_, i) => [x, rebuilt].map((all) => all.subarray(i * features, (i + 1) * features)));
      } catch {
        return Promise.all(rows.map((row) => source.example(row).then((one) => [one.x, one.reconstruction])));
      }
    },
    async inputs(rows) {
      try {
        const asked = { ...which, split: info.split, rows, inputs: true };
        const all = floats((await ask(model, "inspect.pictures", asked)).buffers[0]);
        return rows.map((_, i) => all.subarray(i * features, (i + 1) * features));
      } catch {
        const input = await allInputs(); // a file without Python
        return rows.map(input);
      }
    },
    async columns() {
      const input = await allInputs();
      return (i) => Float32Array.from({ length: info.n }, (_, row) => input(row)[i]);
    },
    async encode(x, draws, goesOn = () => true) {
      if (!isAlone || !here.canEncode)
        return ask(model, "inspect.encode", { ...which, draws }, [x.slice().buffer]).then(firstExample);
      await here.fetchBoth();
      return here.encode(x, goesOn);
    },
    async termsUnder(x, own, covariance, goesOn = () => true) {
      if (isAlone && here.canDecode) {
        await here.fetchDecoder();
        return here.termsUnder(x, own, covariance, goesOn);
      }
      const parts = [x, own, covariance.flat()].map((values) => Float32Array.from(values).buffer);
      const { content, buffers } = await ask(model, "inspect.terms", which, parts);
      return { ...content.terms, errors: some(buffers[0]) };
    },
    plane(axes, layers, n, at = null, ends = null) {
      const own = { ...(axes.asked ? { axes: axes.asked } : {}), ...(at ? { at } : {}), ...ends };
      const asked = () => ask(model, "inspect.plane", { ...which, ...own, layers, n }).then(readPlane);
      const key = JSON.stringify([own, layers, n]);
      return ends ? views(key, asked) : answers(key, asked);
    },
    async boxes(axes) {
      if (!axes.asked) return { whole: info.box, prior: info.prior_box };
      const { low, high, prior_box } = await source.plane(axes, ["prior"], 8);
      return { whole: [low, high], prior: prior_box };
    },
    async decodedGrid(axes, at, view) {
      const ends = view && { low: [view.x[0], view.y[0]], high: [view.x[1], view.y[1]] };
      await source.fetchDecoder().catch(() => {});
      if (!source.isLocal) {
        const whole = () => source.plane(axes, ["decoded"], GRID, at);
        return ends ? source.plane(axes, ["decoded"], GRID, at, ends).catch(whole) : whole();
      }
      const [low, high] = ends ? [ends.low, ends.high] : (await source.boxes(axes)).whole;
      const middle = (end, i) => low[end] + ((high[end] - low[end]) * (i + 0.5)) / GRID;
      const base = at ?? new Array(info.latent).fill(0);
      const codes = Array.from({ length: GRID ** 2 }, (_, i) =>
        movedTo(axes.w, base, [middle(0, i % GRID), middle(1, GRID - 1 - Math.floor(i / GRID))]),
      );
      return { n: GRID, low, high, prior_box: info.prior_box, layers: { decoded: here.means(codes) } };
    },
    grid: null,
    fetchDecoder: here.fetchDecoder,
    fetchBoth: here.fetchBoth,
    nearest(z, count) {
      const far = new Float64Array(info.n);
      for (let i = 0, k = 0; i < info.n; i++) {
        for (let d = 0; d < info.latent; d++, k++) far[i] += (means[k] - z[d]) * (means[k] - z[d]);
      }
      const rows = [];
      for (let i = 0; i < info.n; i++) {
        if (rows.length === count && !(far[i] < far[rows[count - 1]])) continue;
        let place = rows.length;
        while (place > 0 && far[i] < far[rows[place - 1]]) place--;
        rows.splice(place, 0, i);
        rows.length = Math.min(rows.length, count);
      }
      return rows;
    },
    className: (row) => (info.label_names?.length ? info.label_names[labels[row]] : null),
  };
  if (!here.canDecode && info.latent === 2) {
    source.plane({ asked: null, w: [] }, ["decoded"], GRID).then(
      (plane) => (source.grid = plane),
      () => {},
    );
  }
  return source;

  /** What gives the input of any example. @returns {Promise<(row: number) => Float32Array>} */
  async function allInputs() {
    const { content, buffers } = await answers("inputs", () => ask(model, "inspect.inputs", which));
    const all = unpacked(content.coding, buffers[0]);
    return (row) => Float32Array.from({ length: features }, (_, i) => all(row * features + i));
  }

  /** An example from its input and the terms of the set. @param {number} row @param {Error} error @returns {Promise<Example>} */
  async function putTogether(row, error) {
    if (!here.canDecode) throw error;
    await source.fetchDecoder();
    const { content, buffers } = await answers("inputs", () => ask(model, "inspect.inputs", which)).catch(() => {
      throw error;
    });
    const all = unpacked(content.coding, buffers[0]);
    const covariances = buffers[1] && floats(buffers[1]);
    const x = Float32Array.from({ length: features }, (_, i) => all(row * features + i));
    const center = Float32Array.from(source.meanOf(row));
    const size = info.latent ** 2;
    const covariance = covariances?.subarray(row * size, (row + 1) * size) ?? new Float32Array(size);
    if (!covariances)
      for (let d = 0; d < info.latent; d++) covariance[d * (info.latent + 1)] = sd[row * info.latent + d] ** 2;
    const finite = (v) => (Number.isFinite(v) ? v : null);
    const [values, errors] = [loss.values, loss.errors].map((of) =>
      Object.fromEntries(TERMS.map((term) => [term, finite(of[term][row])])),
    );
    return {
      row,
      draws: loss.draws[row],
      .../** @type {Record<Term, ?number>} */ (values),
      standard_errors: errors,
      at_mean: source.errorNow(center, x),
      x,
      reconstruction: source.decodeNow(center),
      mean: center,
      covariance,
    };
  }
}

/** Promises by a key; one that fails is asked for again, and the oldest of more than `most` is forgotten. */
function remembering(most = Infinity) {
  const known = new Map();
  return (key, make) => {
    if (!known.has(key)) {
      const asked = make();
      asked.catch(() => known.delete(key));
      known.set(key, asked);
      if (known.size > most) known.delete(known.keys().next().value);
    }
    return known.get(key);
  };
}

/** @param {Answer} answer @returns {Example} */
function firstExample({ content, buffers }) {
  const [x, reconstruction, mean, covariance] = buffers.slice(0, 4).map((buffer) => floats(buffer));
  return { ...content.examples[0], x, reconstruction, mean, covariance, errors: some(buffers[4]) };
}

/** The numbers of a buffer; null where it is empty. @param {DataView|undefined} buffer */
const some = (buffer) => (buffer?.byteLength ? floats(buffer) : null);

/** @param {Answer} answer @returns {Plane} */
function readPlane({ content, buffers }) {
  const layers = Object.fromEntries(content.layers.map((name, i) => [name, floats(buffers[i])]));
  const { n, low, high, prior_box, holes } = content;
  return { n, low, high, prior_box, holes, layers };
}

function concatenated(pictures, features) {
  const all = new Float32Array(pictures.length * features);
  pictures.forEach((picture, i) => all.set(picture, i * features));
  return all;
}

/**
 * The picture of a code from those of the four cells around it, bilinearly.
 * @param {Plane} grid
 * @param {Code} z
 * @param {number} features
 */
function blended({ n, low, high, layers: { decoded } }, z, features) {
  const at = (v, from, to) => Math.min(n - 1.001, Math.max(0, ((v - from) / (to - from)) * n - 0.5));
  const [column, row] = [at(z[0], low[0], high[0]), at(-z[1], -high[1], -low[1])];
  const [c, r] = [Math.floor(column), Math.floor(row)];
  const picture = new Float32Array(features);
  for (const i of [0, 1]) {
    for (const j of [0, 1]) {
      const share = (i ? column - c : 1 - column + c) * (j ? row - r : 1 - row + r);
      const start = ((r + j) * n + c + i) * features;
      for (let k = 0; k < features; k++) picture[k] += share * decoded[start + k];
    }
  }
  return picture;
}

/** The values of `inputs` in inspect.py, one by one. @returns {(i: number) => number} */
function unpacked(coding, buffer) {
  if (coding === "floats") {
    const values = floats(buffer);
    return (i) => values[i];
  }
  const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  if (coding === "bits") return (i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1;
  return coding === "pixels" ? (i) => bytes[i] / 255 : (i) => bytes[i];
}

/**
 * Which values are black and white: 0 and 1 where the data lie within, else the data's own range.
 * @param {RunInfo} info
 * @returns {Range}
 */
function pictureRange(info) {
  const [low, high] = info.range;
  return low >= 0 && high <= 1 ? [0, 1] : [low, high];
}
