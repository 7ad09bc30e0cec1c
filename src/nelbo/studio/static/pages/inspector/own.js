// What the reader adds to a row: draws from its q, and an input of the reader's own.

import { h } from "../../core/dom.js";
import { along, movedTo, rowsOf, stretchedTo } from "./axes.js";
import { drawingPad } from "./pad.js";
import { drawImage, isImage } from "./pixels.js";
import { root } from "./normal.js";

const SPRAY = 25;

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
 * A pad to draw on; the row shows what the models make of it, newest stroke first.
 * @typedef {ReturnType<typeof import("./row.js").exampleRow>} View
 * @param {Slots} slots
 * @param {Source[]} sources
 * @param {{pin: number, views: View[]}} chosen the row
 * @param {boolean} change start from the row's example, else from an empty sheet
 * @param {HTMLElement} place
 * @returns {{remove: () => void}}
 */
export function drawnInput(slots, sources, chosen, change, place) {
  let busy = false;
  let next = null;
  let gone = false;
  async function encode(x) {
    if (busy) {
      next = x;
      return;
    }
    busy = true;
    try {
      const found = await Promise.all(sources.map((source) => source.encode(x)));
      if (!gone) chosen.views.forEach((view, which) => view.setExample(found[which]));
    } catch (error) {
      slots.say(error.message);
    }
    busy = false;
    if (!next || gone) return;
    const newest = next;
    next = null;
    encode(newest);
  }
  const pad = drawingPad(sources[0], change ? chosen.views[0].example?.x : null, encode);
  const own = {
    remove() {
      gone = true;
      pad.remove();
      place.replaceChildren();
      chosen.views.forEach((view, which) =>
        sources[which].example(chosen.pin).then(
          (example) => view.setExample(example),
          () => {},
        ),
      );
    },
  };
  const done = h("button", { type: "button", class: "quiet", onclick: own.remove }, "Done");
  place.replaceChildren(
    h(
      "h2",
      {},
      change ? `Example ${chosen.pin}, changed by you` : "Draw: the active row shows what the model makes of it",
    ),
    pad.element,
    done,
  );
  encode(pad.x);
  return own;
}

function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
