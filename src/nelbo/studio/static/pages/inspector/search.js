// What the search field means: an example by its number, a class by its name, or those whose value fits a condition.

import { namesOf, unitsOf } from "./columns.js";

/** @import { Source, Term } from "../../core/types.js" */

const LEAST = 0.05; // of the whole plane, around a single point
const CONDITION = /^(.+?)\s*(<=|>=|≤|≥|<|>|=)\s*([-−]?[\d.,]+(?:e[-+]?\d+)?)$/i;
const FITS = {
  "<": (v, limit) => v < limit,
  ">": (v, limit) => v > limit,
  "<=": (v, limit) => v <= limit,
  ">=": (v, limit) => v >= limit,
};
/** @type {Record<string, Term>} */
const TERMS = {
  kl: "kl",
  loss: "nelbo",
  "total loss": "nelbo",
  nelbo: "nelbo",
  "reconstruction error": "reconstruction_error",
  reconstruction: "reconstruction_error",
};

/**
 * @param {Source} source
 * @param {string} text
 * @returns {Promise<{rows: number[], one?: boolean, words: string}>} `one`: a single example was named
 * @throws {Error} in words, where the text means nothing here
 */
export async function search(source, text) {
  const asked = text.trim();
  const number = /^#?\s*(\d+)$/.exec(asked);
  if (number) {
    const row = Number(number[1]);
    if (row >= source.n) throw new Error(`Examples are 0 to ${source.n - 1}; ${row} is none`);
    return { rows: [row], one: true, words: `example ${row}` };
  }
  const condition = CONDITION.exec(asked);
  const label = /^(?:class|label)\s*[:=]?\s*(.+)$/i.exec(asked)?.[1] ?? asked;
  const same = (name) => name.toLowerCase() === label.toLowerCase();
  const k = source.info.label_names?.findIndex(same) ?? -1;
  if (k >= 0) return { rows: rowsWhere(source, (row) => source.labels[row] === k), words: `of class ${label}` };
  if (condition) {
    const [, name, sign, digits] = condition;
    const limit = Number(digits.replace("−", "-").replace(",", "."));
    const values = await valuesOf(source, name.trim().toLowerCase());
    if (values && Number.isFinite(limit)) {
      const half = 0.5 * 10 ** -(digits.split(/[.,]/)[1]?.length ?? 0); // "= 3.2" means what is written as 3.2
      const fits = FITS[sign.replace("≤", "<=").replace("≥", ">=")] ?? ((v) => Math.abs(v - limit) <= half);
      return { rows: rowsWhere(source, (row) => fits(values(row), limit)), words: `with ${asked}` };
    }
  }
  throw new Error(`“${asked.slice(0, 30)}” means nothing here; write ${examplesFor(source)}`);
}

/** What can be searched for, as in "12, class 7 or kl > 10". @param {Source} source */
export function examplesFor(source) {
  const [name] = source.info.label_names ?? [];
  const column = source.info.columns ? namesOf(source)[0] : null;
  const some = ["a number", name === undefined ? null : `class ${name}`, column ? `${column} > 1` : null];
  const last = source.info.is_point ? "reconstruction error > 50" : "kl > 10";
  return `${some.filter(Boolean).join(", ")} or ${last}`;
}

const rowsWhere = (source, fits) => Array.from({ length: source.n }, (_, row) => row).filter(fits);

/** What a name stands for: a term in nats, a latent unit's mean, or a column in the units of the data. */
async function valuesOf(source, name) {
  if (TERMS[name]) return (row) => source.loss.values[TERMS[name]][row];
  const unit = /^z\s*(\d+)$/.exec(name);
  if (unit && Number(unit[1]) >= 1 && Number(unit[1]) <= source.latent)
    return (row) => source.meanOf(row)[Number(unit[1]) - 1];
  if (!source.info.columns) return null;
  const i = namesOf(source).findIndex((one) => one.toLowerCase() === name);
  if (i < 0) return null;
  const seen = (await source.columns())(i);
  const { shown } = unitsOf(source, "raw");
  return (row) => shown(seen[row], i);
}

/**
 * The view of a plane that shows some of its points, as a middle and half a width; null where that is nearly all of it.
 * @param {number[]} rows
 * @param {import("./cloud.js").Cloud} cloud
 * @param {number} whole half the width of the plane
 * @param {number} across axes of the plane
 * @returns {?{middle: number[], half: number}}
 */
export function around(rows, { xs, ys }, whole, across) {
  const ends = [xs, ys].slice(0, across).map((values) => {
    const sorted = Float64Array.from(rows, (row) => values[row]).sort();
    const end = (share) => sorted[Math.round(share * (sorted.length - 1))];
    return [end(0.02), end(0.98)]; // an outlier or two shall not shrink the others to a dot
  });
  const half = Math.max(LEAST * whole, 0.65 * Math.max(...ends.map(([low, high]) => high - low)));
  return half > 0.8 * whole ? null : { middle: ends.map(([low, high]) => (low + high) / 2), half };
}
