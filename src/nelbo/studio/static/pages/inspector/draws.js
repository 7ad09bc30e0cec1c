// The random numbers of `nelbo.randomness`: an example's draws of z are the same here as in Python.

const ALL = (1n << 64n) - 1n;
const [GOLDEN, PART] = [0x9e3779b97f4a7c15n, 0xd1342543de82ef95n];
const [FIRST, SECOND] = [0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn];
const CONTENT = 8353041299691903221n; // derive(0, "content")
const ELBO = 5757347553392040530n; // derive(0, "elbo")
const STEP = Math.fround(Math.PI * 2 ** -31);

/** SplitMix64's finalizer. @param {bigint} state */
function mixed(state) {
  state &= ALL;
  state = ((state ^ (state >> 30n)) * FIRST) & ALL;
  state = ((state ^ (state >> 27n)) * SECOND) & ALL;
  return state ^ (state >> 31n);
}

/** @type {bigint[]} */
const multipliers = [];

/** The key of the draws that the terms of the ELBO are averaged over. @param {ArrayLike<number>} x the example */
export function keyOf(x) {
  const values = new Float32Array(2 * Math.ceil(x.length / 2));
  for (let i = 0; i < x.length; i++) values[i] = x[i] + 0; // -0 is 0
  const words = new Uint32Array(values.buffer);
  let key = CONTENT;
  for (let i = 0; i < words.length / 2; i++) {
    if (i === multipliers.length) multipliers.push(mixed(BigInt(i + 1) * GOLDEN) | 1n);
    const [low, high] = [words[2 * i], words[2 * i + 1]];
    if (low || high) key += ((BigInt(high) << 32n) | BigInt(low)) * multipliers[i];
  }
  return mixed(mixed(key) + (ELBO + 1n) * PART);
}

/**
 * Standard normal numbers of one draw.
 * @param {bigint} key
 * @param {number} draw its number
 * @param {number} size
 * @returns {Float32Array}
 */
export function normals(key, draw, size) {
  const own = mixed(key + BigInt(draw + 1) * PART);
  const [low, high] = [Number(own & 0xffffffffn), Number(own >> 32n)];
  const word = (i) => {
    let state = (low + Math.imul(i + 1, -0x61c88647)) | 0;
    state = Math.imul(state ^ (state >>> 16), 0x7feb352d) ^ high;
    state = Math.imul(state ^ (state >>> 15), -0x7b935975);
    return state ^ (state >>> 16);
  };
  const pairs = Math.ceil(size / 2);
  const out = new Float32Array(2 * pairs);
  const f = Math.fround;
  for (let i = 0; i < pairs; i++) {
    const share = f(f(f(word(i) & 0x7fffffff) + 0.5) * 2 ** -31);
    const radius = f(Math.sqrt(f(-2 * f(Math.log(share)))));
    const angle = f(f(word(pairs + i)) * STEP);
    out[i] = radius * f(Math.cos(angle));
    out[pairs + i] = radius * f(Math.sin(angle));
  }
  return out.subarray(0, size);
}
