// Places along a series of models: from a beta to a place and back, and what lies between two models.

/**
 * Where a beta lies among those of a series, from 0 to one less than their number: by its logarithm between two that are
 * positive, by itself above 0.
 * @param {number[]} betas in their order
 * @param {number} beta
 */
export function placeOf(betas, beta) {
  const last = betas.length - 1;
  if (beta >= betas[last]) return last;
  const i = Math.max(0, betas.findIndex((one) => one > beta) - 1);
  const [from, to] = [betas[i], betas[i + 1]];
  if (beta <= from) return i;
  return i + (from > 0 ? Math.log(beta / from) / Math.log(to / from) : (beta - from) / (to - from));
}

/** The beta at a place, the other way round. @param {number[]} betas @param {number} place */
export function betaAt(betas, place) {
  const { i, t } = between(betas.length, place);
  const [from, to] = [betas[i], betas[Math.min(i + 1, betas.length - 1)]];
  if (t === 0) return from;
  return from > 0 ? from * (to / from) ** t : from + t * (to - from);
}

/** The model before a place, and how far from it to the next. @param {number} count @param {number} place */
export function between(count, place) {
  const inside = Math.min(count - 1, Math.max(0, place));
  const nearest = Math.round(inside);
  if (Math.abs(inside - nearest) < 1e-6) return { i: nearest, t: 0 };
  const i = Math.min(count - 2, Math.floor(inside));
  return { i, t: inside - i };
}

/** A value between those of two models; one that is infinite stays so until the other is reached. @param {number[]} values @param {number} place */
export function mixed(values, place) {
  const { i, t } = between(values.length, place);
  return t === 0 ? values[i] : (1 - t) * values[i] + t * values[i + 1];
}

/** The same of arrays. @param {ArrayLike<number>[]} arrays @param {number} place @param {Float32Array} into */
export function mixedInto(arrays, place, into) {
  const { i, t } = between(arrays.length, place);
  const [a, b] = [arrays[i], arrays[t === 0 ? i : i + 1]];
  for (let k = 0; k < into.length; k++) into[k] = a[k] + t * (b[k] - a[k]);
  return into;
}
