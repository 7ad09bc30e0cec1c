// What the reader adds to a row: draws from its q, and an input of the reader's own.

import { h } from "../../core/dom.js";
import { along, movedTo, rowsOf, stretchedTo } from "./axes.js";
import { drawingPad } from "./pad.js";
import { drawImage, isImage } from "./pixels.js";
import { root } from "./normal.js";

const SPRAY = 25;
const [FEW, MANY] = [64, 1024]; // draws of z for the terms of an input of the reader's own
const REST = 250; // ms without a change

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
  if (!view.example) return;
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
  let busy = false;
  let next = null;
  let gone = false;
  let rested = 0;
  /** @param {Float32Array} x @param {number} draws of z: few while a stroke is under way, many when it rests */
  async function encode(x, draws) {
    if (busy) {
      next = [x, draws];
      return;
    }
    busy = true;
    try {
      const found = await Promise.all(sources.map((source) => source.encode(x, draws)));
      if (!gone) {
        chosen.views.forEach((one, which) => one.setExample(found[which]));
        shown();
      }
    } catch (error) {
      slots.say(error.message);
    }
    busy = false;
    if (!next || gone) return;
    const [newest, of] = next;
    next = null;
    encode(newest, of);
  }
  const changed = (x) => {
    encode(x, FEW);
    clearTimeout(rested);
    rested = setTimeout(() => encode(x, MANY), REST);
  };
  const [view] = chosen.views;
  const start = change ? view.example.x : null;
  const pad = isImage(sources[0].info.event) ? drawingPad(sources[0], start, changed) : null;
  view.startEdit(pad?.element ?? null, change ? `example ${chosen.pin}, changed by you` : "drawn by you", changed);
  pad?.focus();
  if (pad) encode(pad.x, MANY);
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
