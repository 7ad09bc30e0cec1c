// The terms of each example's loss, as well as they are known. One store for a run: the rows, the table, the caption under
// the pointer and the ranks read their numbers here, so that a quantity is the same number wherever it stands.

/** @import { Example, RunInfo, Term, Terms } from "../../core/types.js" */

/** @type {Term[]} */
export const TERMS = ["reconstruction_error", "kl", "nelbo"];

const CANDIDATES = 50; // at either end of the order, which are looked at closely before they are ranked
const FIRST = 4; // examples in the first question
const MOST = 32;
const TAKES = 150; // ms that a question may take: a drag that asks meanwhile waits for so long
const PAUSE = 30; // ms between two questions, in which others are answered

/**
 * @param {RunInfo} info
 * @param {Float32Array[]} columns values of the three terms, their standard errors, and the draws they are over
 * @param {(rows: number[]) => Promise<Example[]>} closely the terms of some examples over many draws
 * @returns {Terms}
 */
export function termsOf(info, columns, closely) {
  /** @returns {Record<Term, Float64Array>} */
  const named = (from) =>
    /** @type {any} */ (Object.fromEntries(TERMS.map((term, i) => [term, Float64Array.from(columns[from + i])])));
  const values = named(0);
  const errors = named(3);
  const draws = Float64Array.from(columns[6]);
  const listeners = new Set();
  const sorted = {};
  let isAlone = false; // in a file, which has no Python to ask
  const ordered = (term) => (sorted[term] ??= Float64Array.from(values[term]).sort());
  const tell = () => listeners.forEach((listener) => listener());

  /** @param {Example} example @returns {boolean} whether anything changed */
  function write(example) {
    const { row } = example;
    const isKnown = (term) => values[term][row] === (example[term] ?? Infinity);
    if (row === null || row === undefined || example.draws < draws[row]) return false;
    if (example.draws === draws[row] && TERMS.every(isKnown)) return false;
    for (const term of TERMS) {
      const value = example[term] ?? Infinity; // of a point
      if (sorted[term]) moveIn(sorted[term], values[term][row], value);
      values[term][row] = value;
      errors[term][row] = example.standard_errors[term] ?? 0;
    }
    draws[row] = example.draws;
    return true;
  }

  const isRough = (row) => !info.is_point && draws[row] <= info.draws;

  /** @type {Terms} */
  const store = {
    values,
    errors,
    draws,
    opened: structuredClone(values),
    isRough,
    write: (example) => write(example) && tell(),
    async refine(rows, goesOn = () => true) {
      const rough = rows.filter(isRough);
      let size = FIRST;
      let changed = false;
      for (let at = 0; at < rough.length && !isAlone && goesOn();) {
        const some = rough.slice(at, at + size).filter(isRough);
        at += size;
        if (!some.length) continue;
        if (at > size) await new Promise((done) => setTimeout(done, PAUSE));
        const asked = performance.now();
        try {
          for (const one of await closely(some)) changed = write(one) || changed;
        } catch {
          isAlone = true;
        }
        const took = performance.now() - asked;
        size = Math.max(1, Math.min(MOST, Math.round((size * TAKES) / Math.max(1, took))));
      }
      if (changed) tell();
      return !isAlone;
    },
    sort(rows, term, largest, count = rows.length) {
      const of = values[term];
      const before = (a, b) => (largest ? -1 : 1) * (of[a] - of[b]) || a - b;
      if (rows.length < 2 * count) return rows.sort(before);
      // of many, a few in front: the others need no order
      const all = rows.length === of.length ? ordered(term) : Float64Array.from(rows, (row) => of[row]).sort();
      const last = largest ? all[all.length - count] : all[count - 1];
      const [front, rest] = [[], []];
      for (const row of rows) ((largest ? of[row] >= last : of[row] <= last) ? front : rest).push(row);
      [...front.sort(before)].forEach((row, i) => (rows[i] = row));
      rest.forEach((row, i) => (rows[front.length + i] = row));
      return rows;
    },
    async ranked(rows, term, largest, count, goesOn) {
      // what is looked at closely may move down, and others up: again, until those in front are known well
      const most = Math.max(count, CANDIDATES);
      for (let round = 0; round < 4; round++) {
        const front = store.sort(rows, term, largest, most).slice(0, most);
        if (!front.some(isRough)) break;
        if (!(await store.refine(front, goesOn))) break;
      }
      return store.sort(rows, term, largest, most);
    },
    async extreme(term, largest) {
      const all = Array.from({ length: info.n }, (_, row) => row);
      return (await store.ranked(all, term, largest, 1))[0];
    },
    rank: (term, value) => placeOf(ordered(term), value),
    quantile(term, share) {
      const all = ordered(term);
      return all[Math.min(all.length - 1, Math.floor(share * all.length))];
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return store;
}

/** How many of the values, which are in order, are lower. @param {Float64Array} all @param {number} value */
function placeOf(all, value) {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Have a value in order take the place of another. @param {Float64Array} all @param {number} old @param {number} value */
function moveIn(all, old, value) {
  const from = placeOf(all, old);
  const to = placeOf(all, value);
  if (to > from) all.copyWithin(from, from + 1, to);
  else all.copyWithin(to + 1, to, from);
  all[to > from ? to - 1 : to] = value;
}
