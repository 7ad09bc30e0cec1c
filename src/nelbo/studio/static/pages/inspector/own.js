// What the reader adds to a row: draws from its q, and an input of the reader's own.

import { h } from "../../core/dom.js";
import { along, movedTo, rowsOf, stretchedTo } from "./axes.js";
import { drawingPad } from "./pad.js";
import { drawImage, isImage } from "./pixels.js";
import { root } from "./normal.js";

const SPRAY = 25;
const [FEW, MANY] = [64, 1024]; // draws of z for the terms of an input of the reader's own
const REST = 250; // ms without a change
export const NO_ENCODER = "this model's encoder did not travel with this page.";

/** @import { Axes, Slots, Source } from "../../core/types.js" */

/**
 * Decode draws of z from q(z|x), or from the reader's q, and mark them in the plane.
 * @param {Slots} slots
 * @param {Source} source
 * @param {View} view
 * @param {Axes} axes
 * @param {HTMLElement} place
 */
export async function sprayQ(slots, source, view, { w }, place) {
  const q = slots.model.get("q");
  const n = source.latent;
  let mean = view.example.mean;
  let covariance = rowsOf(view.example.covariance, n);
  if (q.length) {
    mean = movedTo(w, mean, q.slice(0, w.length));
    w.forEach((direction, i) => (covariance = stretchedTo(direction, covariance, q[w.length + i])));
  }
  const l = root(covariance);
  const codes = Array.from({ length: SPRAY }, () => {
    const eps = Array.from({ length: n }, gaussian);
    return Float32Array.from(mean, (v, d) => v + l[d].reduce((sum, share, k) => sum + share * eps[k], 0));
  });
  view.plane.showDraws(codes.map((z) => along(w, z)));
  const pictures = await source.decode(codes);
  if (!isImage(source.info.event)) return;
  const canvases = codes.map((_, i) => {
    const canvas = h("canvas", { class: "pixels", "aria-hidden": "true" });
    drawImage(canvas, pictures, source.info.event, source.range, i * source.features);
    return canvas;
  });
  place.replaceChildren(
    h("h2", {}, `${SPRAY} draws of z from ${q.length ? "your q" : "q(z|x)"}, decoded`),
    h("div", { class: "strip" }, ...canvases),
  );
}

/**
 * Change an example, or draw one, in its place in the row; what the models make of it follows.
 * @typedef {ReturnType<typeof import("./row.js").exampleRow>} View
 * @param {Slots} slots
 * @param {Source[]} sources
 * @param {{pin: number, views: View[]}} chosen the row
 * @param {boolean} change start from the row's example, else from an empty sheet
 * @param {() => void} shown what follows the row
 * @returns {{remove: () => void}}
 */
export function ownInput(slots, sources, chosen, change, shown) {
  const able = sources.map((_, which) => which).filter((which) => sources[which].canEncode);
  let busy = false;
  /** @type {?[Float32Array, number, number[]]} what to encode next */
  let next = null;
  let gone = false;
  let rested = 0;
  let strokes = 0;

  /** @param {Float32Array} x @param {number} draws of z @param {number[]} which of the sources */
  async function encode(x, draws, which) {
    if (busy) {
      next = [x, draws, which];
      return;
    }
    busy = true;
    const now = strokes;
    const isNewest = () => !gone && now === strokes;
    try {
      const found = await Promise.all(which.map((one) => sources[one].encode(x, draws, isNewest)));
      if (!gone) {
        // a source that follows the hand by itself shows nothing older than that
        found.forEach((example, i) => {
          if (example && (isNewest() || !sources[which[i]].isEncoded)) chosen.views[which[i]].setExample(example);
        });
        shown();
      }
    } catch (error) {
      slots.say(error.message);
    }
    busy = false;
    if (!next || gone) return;
    const newest = next;
    next = null;
    encode(...newest);
  }

  /** In this frame where the networks are here; else Python is asked for a few draws. @param {Float32Array} x */
  function changed(x) {
    strokes++;
    const others = able.filter((which) => {
      const example = sources[which].encodeNow(x);
      if (example) chosen.views[which].showNow(example);
      return !example;
    });
    if (others.length) encode(x, FEW, others);
    if (others.length < able.length) shown();
    clearTimeout(rested);
    rested = setTimeout(() => encode(x, MANY, able), REST);
  }

  const [view] = chosen.views;
  const start = change ? view.example.x : null;
  const pad = isImage(sources[0].info.event) ? drawingPad(sources[0], start, changed) : null;
  view.startEdit(pad?.element ?? null, change ? `example ${chosen.pin}, changed by you` : "drawn by you", changed);
  pad?.focus();
  chosen.views.forEach((one, which) => able.includes(which) || one.explain(NO_ENCODER));
  Promise.all(able.map((which) => sources[which].fetchBoth())).then(
    () => gone || !pad || changed(pad.x),
    (error) => slots.say(error.message),
  );
  return {
    remove() {
      gone = true;
      clearTimeout(rested);
      pad?.remove();
      view.endEdit();
      chosen.views.forEach((one, which) =>
        sources[which].example(chosen.pin).then(
          (example) => (one.setExample(example), shown()),
          () => {},
        ),
      );
    },
  };
}

function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
