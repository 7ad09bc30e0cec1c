// The state of a page as text: only what differs from its defaults, each value checked on the way in.

/** @import { Page, State } from "./types.js" */

export const MOST_VIEWS = 12;

/** Whether what several pages have in their state can be used. @type {Page["check"]} */
const SHARED = {
  bookmarks: (value) =>
    value.length <= MOST_VIEWS &&
    value.every((one) => Array.isArray(one) && one.length === 2 && one.every((part) => typeof part === "string")),
};

/** "mu_p=1&family_q=mixture" @param {Pick<Page, "defaults">} page @param {State} values */
export function toText(page, values) {
  const parts = [];
  for (const [name, start] of Object.entries(page.defaults)) {
    const value = values[name];
    if (JSON.stringify(value) === JSON.stringify(start)) continue;
    const text = typeof value === "string" ? value : JSON.stringify(value);
    parts.push(`${name}=${encodeURIComponent(text).replace(/%2C/g, ",").replace(/%5B/g, "[").replace(/%5D/g, "]")}`);
  }
  return parts.join("&");
}

/**
 * The state that a text or an object stands for.
 * @param {Pick<Page, "defaults"|"limits"|"check">} page
 * @param {string|State} text
 * @returns {{values: State, said: string[]}} `said`: what was out of range or unknown, for the reader
 */
export function fromText(page, text) {
  const values = structuredClone(page.defaults);
  const said = [];
  for (const [name, raw] of typeof text === "string" ? new URLSearchParams(text) : Object.entries(text)) {
    if (!(name in page.defaults)) {
      said.push(`“${name.slice(0, 40)}” is no setting of this page`);
      continue;
    }
    const [value, note] = checked(page, name, raw);
    values[name] = value;
    if (note) said.push(note);
  }
  return { values, said };
}

/**
 * One value in its type and range, and a note where it was not.
 * @param {Pick<Page, "defaults"|"limits"|"check">} page
 * @param {string} name
 * @param {any} raw
 * @returns {[any, string|null]}
 */
export function checked(page, name, raw) {
  const start = page.defaults[name];
  const limit = page.limits?.[name];
  if (typeof start === "number") {
    const value = typeof raw === "number" ? raw : Number(String(raw).replace("−", "-").replace(",", "."));
    if (Number.isNaN(value) || raw === "" || raw === null)
      return [start, `${name} is a number; “${String(raw).slice(0, 20)}” is not. Shown: ${start}`];
    if (limit && (value < limit[0] || value > limit[1])) {
      const clamped = Math.min(limit[1], Math.max(limit[0], value));
      return [clamped, `${name} = ${raw} is outside ${limit[0]} … ${limit[1]}. Shown: ${clamped}`];
    }
    return [value, null];
  }
  if (typeof start === "string") {
    if (limit && !limit.includes(raw)) return [start, `${name} is one of ${limit.join(", ")}. Shown: ${start}`];
    return [String(raw), null];
  }
  let value = raw;
  try {
    if (typeof raw === "string") value = JSON.parse(raw);
  } catch {
    value = undefined;
  }
  const fits =
    value !== undefined &&
    value !== null &&
    typeof value === typeof start &&
    Array.isArray(value) === Array.isArray(start);
  const check = page.check?.[name] ?? SHARED[name];
  const deeper = fits && check ? check(value) : fits;
  return deeper ? [value, null] : [structuredClone(start), `${name} cannot be read. Shown: its default`];
}
