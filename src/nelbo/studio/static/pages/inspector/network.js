// Encoders and decoders, computed in the page over several examples at once: dense and convolutional layers.

import { floats } from "../../core/store.js";

/** @typedef {(inputs: Float32Array, n: number) => Float32Array} Layer of n examples; the result is the layer's own buffer */
/** @typedef {{kind: string, [name: string]: any}} Step as `nelbo.studio.networks.Network` describes it */

/** @type {Record<string, (v: number) => number>} */
const ACTIVATIONS = {
  relu: (v) => (v > 0 ? v : 0),
  leaky_relu: (v) => (v > 0 ? v : 0.01 * v),
  tanh: Math.tanh,
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  silu: (v) => v / (1 + Math.exp(-v)),
  elu: (v) => (v > 0 ? v : Math.expm1(v)),
  softplus: (v) => (v > 20 ? v : Math.log1p(Math.exp(v))),
  log1p: Math.log1p,
  gelu: (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)),
};

/**
 * A network from the answer to "inspect.weights".
 * @param {{steps: Step[]}} content
 * @param {(ArrayBuffer|ArrayBufferView)[]} buffers float32, in the order in which the steps take them
 * @returns {(inputs: ArrayLike<number>, n?: number) => Float32Array} of n examples, one after the other; the next call
 *   overwrites its result
 */
export function network(content, buffers) {
  let next = 0;
  const run = sequence(content.steps, () => floats(buffers[next++]), false);
  return (inputs, n = 1) => run(Float32Array.from(inputs), n); // what is handed in stays as it is
}

/**
 * Convolutions work on pixels whose channels lie side by side, all else on channels one after the other, as torch does.
 * @param {Step[]} steps
 * @param {() => Float32Array} take the next weights
 * @param {boolean} isWithin a residual block, whose channels lie side by side when it begins and when it ends
 * @returns {Layer}
 */
function sequence(steps, take, isWithin) {
  /** @type {Layer[]} */
  const layers = [];
  /** @type {?number[]} channels, height and width, while they lie side by side */
  let beside = isWithin ? steps[0].of : null;
  const lay = (of) => {
    if (of && !beside) layers.push(turned(of[0], of[1] * of[2]));
    if (!of && beside) layers.push(turned(beside[1] * beside[2], beside[0]));
    beside = of;
  };
  for (const step of steps) {
    if (step.kind in ACTIVATIONS) {
      layers.push(activation(ACTIVATIONS[step.kind]));
    } else if (step.kind === "dense") {
      lay(null);
      layers.push(dense(step, take(), take()));
    } else {
      lay(step.from ?? step.of);
      layers.push(MAPS[step.kind](step, take));
      beside = step.to ?? beside;
    }
  }
  if (!isWithin) lay(null);
  return (inputs, n) => layers.reduce((h, layer) => layer(h, n), inputs);
}

/** @type {Record<string, (step: any, take: () => Float32Array) => Layer>} */
const MAPS = {
  conv: (step, take) => convolution(step, take(), take()),
  conv_transpose: (step, take) => transposed(step, take(), take()),
  group_norm: (step, take) => groupNorm(step, take(), take()),
  residual({ steps }, take) {
    const inner = sequence(steps, take, true);
    return (inputs, n) => {
      const outputs = inner(inputs, n); // begins with a layer that has a buffer of its own
      for (let i = 0; i < outputs.length; i++) outputs[i] += inputs[i];
      return outputs;
    };
  },
};

/** Room for n results that is kept between calls. @returns {(length: number) => Float32Array} */
function room() {
  let kept = new Float32Array(0);
  return (length) => {
    if (kept.length < length) kept = new Float32Array(length);
    return kept.subarray(0, length);
  };
}

/** @param {(v: number) => number} f @returns {Layer} */
function activation(f) {
  return (h) => {
    for (let i = 0; i < h.length; i++) h[i] = f(h[i]);
    return h;
  };
}

/** Rows and columns of each example exchanged. @param {number} rows @param {number} columns @returns {Layer} */
function turned(rows, columns) {
  const place = room();
  return (h, n) => {
    if (rows === 1 || columns === 1) return h;
    const out = place(h.length);
    for (let e = 0, at = 0; e < n; e++) {
      const from = e * rows * columns;
      for (let c = 0; c < columns; c++) for (let r = 0; r < rows; r++) out[at++] = h[from + r * columns + c];
    }
    return out;
  };
}

/** @param {Step} step @returns {Layer} */
function dense(step, weight, bias) {
  const { inputs, outputs } = step;
  const place = room();
  return (h, n) => multiplied(h, n, inputs, weight, outputs, bias, place(n * outputs));
}

/**
 * out = h weight' + bias, for h of n rows.
 * @param {Float32Array} h
 * @param {number} n
 * @param {number} inputs
 * @param {Float32Array} weight outputs x inputs
 * @param {number} outputs
 * @param {?Float32Array} bias
 * @param {Float32Array} out
 */
function multiplied(h, n, inputs, weight, outputs, bias, out) {
  if (bias) for (let from = 0; from < out.length; from += outputs) out.set(bias, from);
  else out.fill(0);
  let row = 0;
  for (; row + 4 <= n; row += 4) addFourRows(h, row, inputs, weight, outputs, out);
  for (; row < n; row++) addRow(h, row, inputs, weight, outputs, out);
  return out;
}

/** Four rows and two outputs at once: six numbers are read for eight products. */
function addFourRows(h, row, inputs, weight, outputs, out) {
  const a = row * inputs;
  const [b, c, d] = [a + inputs, a + 2 * inputs, a + 3 * inputs];
  let o = 0;
  for (; o + 2 <= outputs; o += 2) {
    const first = o * inputs;
    const second = first + inputs;
    let s = 0;
    let t = 0;
    let u = 0;
    let v = 0;
    let w = 0;
    let x = 0;
    let y = 0;
    let z = 0;
    for (let i = 0; i < inputs; i++) {
      const p = weight[first + i];
      const q = weight[second + i];
      const e = h[a + i];
      const f = h[b + i];
      const g = h[c + i];
      const k = h[d + i];
      s += p * e;
      t += p * f;
      u += p * g;
      v += p * k;
      w += q * e;
      x += q * f;
      y += q * g;
      z += q * k;
    }
    const to = row * outputs + o;
    out[to] += s;
    out[to + 1] += w;
    out[to + outputs] += t;
    out[to + outputs + 1] += x;
    out[to + 2 * outputs] += u;
    out[to + 2 * outputs + 1] += y;
    out[to + 3 * outputs] += v;
    out[to + 3 * outputs + 1] += z;
  }
  if (o < outputs)
    for (let r = row; r < row + 4; r++) out[r * outputs + o] += dot(h, r * inputs, weight, o * inputs, inputs);
}

/** One row, four outputs at once. */
function addRow(h, row, inputs, weight, outputs, out) {
  const from = row * inputs;
  let o = 0;
  for (; o + 4 <= outputs; o += 4) {
    const a = o * inputs;
    const [b, c, d] = [a + inputs, a + 2 * inputs, a + 3 * inputs];
    let [w, x, y, z] = [0, 0, 0, 0];
    for (let i = 0; i < inputs; i++) {
      const by = h[from + i];
      w += weight[a + i] * by;
      x += weight[b + i] * by;
      y += weight[c + i] * by;
      z += weight[d + i] * by;
    }
    const to = row * outputs + o;
    out[to] += w;
    out[to + 1] += x;
    out[to + 2] += y;
    out[to + 3] += z;
  }
  for (; o < outputs; o++) out[row * outputs + o] += dot(h, from, weight, o * inputs, inputs);
}

function dot(h, from, weight, start, n) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += weight[start + i] * h[from + i];
  return sum;
}

/** A convolution: the patch under the kernel at each place, multiplied by the weights. @returns {Layer} */
function convolution(step, weight, bias) {
  const [channels, height, width] = step.from;
  const [outputs, down, across] = step.to;
  const [tall, wide] = step.kernel;
  const size = tall * wide * channels;
  const inner = reordered(weight, [outputs, channels, tall * wide], [0, 2, 1]);
  const [patches, place] = [room(), room()];
  const windows = windowsOf(step, [height, width], [down, across]);
  return (h, n) => {
    const all = patches(n * down * across * size).fill(0);
    for (let e = 0; e < n; e++) {
      const [from, to] = [e * height * width, e * down * across];
      for (const [big, small, inKernel] of windows) {
        const at = (from + big) * channels;
        all.set(h.subarray(at, at + channels), (to + small) * size + inKernel * channels);
      }
    }
    return multiplied(all, n * down * across, size, inner, outputs, bias, place(n * down * across * outputs));
  };
}

/** A transposed convolution: each place multiplied by the weights, and the patches that this gives added up. @returns {Layer} */
function transposed(step, weight, bias) {
  const [channels, height, width] = step.from;
  const [outputs, down, across] = step.to;
  const [tall, wide] = step.kernel;
  const size = tall * wide * outputs;
  const inner = reordered(weight, [channels, outputs, tall * wide], [2, 1, 0]);
  const [patches, place] = [room(), room()];
  const windows = windowsOf(step, [down, across], [height, width]);
  return (h, n) => {
    const all = multiplied(h, n * height * width, channels, inner, size, null, patches(n * height * width * size));
    const out = place(n * down * across * outputs);
    for (let i = 0; i < out.length; i += outputs) out.set(bias, i);
    for (let e = 0; e < n; e++) {
      const [from, to] = [e * height * width, e * down * across];
      for (const [big, small, inKernel] of windows) {
        const at = (from + small) * size + inKernel * outputs;
        const there = (to + big) * outputs;
        for (let o = 0; o < outputs; o++) out[there + o] += all[at + o];
      }
    }
    return out;
  };
}

/**
 * Which pixel of the larger image meets which of the smaller one, at which place of the kernel.
 * @returns {number[][]}
 */
function windowsOf({ kernel: [tall, wide], stride, padding }, [height, width], [down, across]) {
  const found = [];
  for (let r = 0; r < down; r++)
    for (let c = 0; c < across; c++)
      for (let i = 0; i < tall; i++)
        for (let j = 0; j < wide; j++) {
          const [y, x] = [r * stride[0] - padding[0] + i, c * stride[1] - padding[1] + j];
          if (y >= 0 && y < height && x >= 0 && x < width) found.push([y * width + x, r * across + c, i * wide + j]);
        }
  return found;
}

/** A tensor of three axes with its axes in another order. @param {Float32Array} values @param {number[]} shape @param {number[]} order */
function reordered(values, shape, order) {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [a, b, c] = order.map((axis) => shape[axis]);
  const [p, q, r] = order.map((axis) => strides[axis]);
  const out = new Float32Array(values.length);
  for (let i = 0, at = 0; i < a; i++)
    for (let j = 0; j < b; j++) for (let k = 0; k < c; k++) out[at++] = values[i * p + j * q + k * r];
  return out;
}

/** Each example's groups of channels brought to mean 0 and variance 1, then scaled. @returns {Layer} */
function groupNorm({ of: [channels, height, width], groups, eps }, weight, bias) {
  const [size, each] = [channels * height * width, channels / groups];
  const place = room();
  return (h, n) => {
    const out = place(h.length);
    for (let from = 0; from < n * size; from += size)
      for (let first = 0; first < channels; first += each) {
        const [mean, scale] = moments(h, from + first, from + size, channels, each, eps);
        for (let pixel = from; pixel < from + size; pixel += channels)
          for (let c = first; c < first + each; c++)
            out[pixel + c] = (h[pixel + c] - mean) * scale * weight[c] + bias[c];
      }
    return out;
  };
}

/** Mean of a group of channels, and one over its standard deviation. */
function moments(h, from, to, channels, each, eps) {
  let [count, sum, squares] = [0, 0, 0];
  for (let pixel = from; pixel < to; pixel += channels) for (let c = 0; c < each; c++, count++) sum += h[pixel + c];
  const mean = sum / count;
  for (let pixel = from; pixel < to; pixel += channels)
    for (let c = 0; c < each; c++) squares += (h[pixel + c] - mean) ** 2;
  return [mean, 1 / Math.sqrt(squares / count + eps)];
}

/** Abramowitz & Stegun 7.1.26 has 1e-7, as float32 weights do, and takes a few products. */
function erf(v) {
  const t = 1 / (1 + 0.3275911 * Math.abs(v));
  const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(v) * (1 - tail * Math.exp(-v * v));
}
