// How the points of the planes are coloured, and which of them are marked: what a search found, and what a lasso holds.

import { write } from "../../core/store.js";
import { colouring, colourOf } from "./choose.js";
import { inksOf } from "./inks.js";
import { inside } from "./lasso.js";
import { cloudIn } from "./points.js";
import { around, search } from "./search.js";

/** @import { Axes, Slots, Source, Term } from "../../core/types.js" */
/** @import { Inks } from "./cloud.js" */

/**
 * @param {Slots} slots
 * @param {Source[]} sources the first is searched
 * @param {{axesOf: (source: Source) => Axes, wholeOf: () => number[][], changed: () => void,
 *   goTo: (middle: number[], half: number) => void,
 *   planes: () => {plane: {recolour: (colour: (row: number) => string, inks: Inks) => void}, source: Source}[]}} options
 *   `wholeOf`: ends of the first plane; `changed` is called when other points are marked
 */
export function marking(slots, sources, { axesOf, wholeOf, changed, goTo, planes }) {
  const { model } = slots;
  const [first] = sources;
  /** @type {Map<Source, Inks>} */
  const inks = new Map();
  /** @type {?{rows: number[], words: string}} */
  let found = null;
  let newest = 0;
  let gone = false;
  /** @type {?Term} */
  let lit = null; // what the points are coloured by meanwhile
  const has = ({ info }, term) => !(info.is_point && term !== "reconstruction_error");
  const by = (source) => (lit && has(source, lit) ? lit : colourOf(source, model.get("colour")));

  function maskOf(source) {
    if (!found) return null;
    const mask = new Uint8Array(source.n);
    for (const row of found.rows) if (row < source.n) mask[row] = 1;
    return mask;
  }

  function mix() {
    for (const source of sources) inks.set(source, inksOf(source, by(source), maskOf(source)));
  }

  function recolour() {
    mix();
    for (const { plane, source } of planes()) plane.recolour(colouring(source, by(source)), inks.get(source));
  }

  /** Mark what the state's search finds; the others are faint. */
  async function show() {
    const mine = ++newest;
    const text = model.get("search");
    if (!text && !found) return;
    const result = text ? await search(first, text).catch((error) => (slots.say(error.message), null)) : null;
    if (gone || mine !== newest) return;
    found = result;
    recolour();
    changed();
    if (found) slots.announce(`${found.rows.length.toLocaleString("en")} examples ${found.words}`);
  }
  model.on("change:search", show);

  return {
    mix,
    recolour,
    show,
    /** Colour the points by a term for a while; null goes back to the state's choice. @param {?Term} term */
    light(term) {
      lit = term;
      recolour();
    },
    /** whether they have the colours of a term for a while */
    get isLit() {
      return lit !== null;
    },
    /** @param {Source} source */
    inksOf: (source) => inks.get(source),
    /** Search, and look at what was found. @param {string} text */
    async find(text) {
      if (!text) return write(model, { search: "" });
      try {
        const { rows, words } = await search(first, text);
        if (gone) return;
        if (!rows.length) return slots.say(`No example ${words}`);
        write(model, { search: text });
        const [low, high] = wholeOf();
        const place = around(rows, cloudIn(first, axesOf(first)), (high[0] - low[0]) / 2, low.length);
        if (place) goTo(place.middle, place.half);
        else write(model, { view: [] });
      } catch (error) {
        slots.say(error.message);
      }
    },
    /** The examples within a lasso that were also found, and how they were chosen; null is all. @param {number[]} flat its corners */
    within(flat) {
      if (!flat.length) return { rows: found?.rows ?? null, words: found?.words ?? "" };
      const { xs, ys } = cloudIn(first, axesOf(first));
      const rows = inside(flat, xs, ys);
      if (!found) return { rows, words: "in the lasso" };
      const isFound = new Set(found.rows);
      return { rows: rows.filter((row) => isFound.has(row)), words: `in the lasso ${found.words}` };
    },
    remove() {
      gone = true;
      model.off("change:search", show);
    },
  };
}
