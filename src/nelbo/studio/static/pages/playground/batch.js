// What happened in one step: the batch, its codes, the loss before and after, and what moved the weights.

import { h, tell } from "../../core/dom.js";
import { nats, number } from "../../core/format.js";
import { FEATURES, pixels } from "./digits.js";
import { canvasOf, drawDigit } from "./pictures.js";
import { network } from "./training.js";

/** @import { Shown } from "./worker.js" */

const AT_MOST = 8; // digits of the batch that are drawn

/** @param {HTMLElement} parent */
export function batchPanel(parent) {
  const hint = h(
    "p",
    { class: "caption" },
    "Press Step, or choose the slow pace: one batch at a time, with what happens in it, and its digits marked in the latent plane.",
  );
  const strips = Array.from({ length: 2 }, () => h("div", { class: "strip batch-strip", "aria-hidden": "true" }));
  const lines = Array.from({ length: 5 }, () => h("span"));
  const [taken, coded, lost, sloped, after] = lines;
  const list = h(
    "ol",
    { class: "steps-of", hidden: true },
    h("li", {}, taken, strips[0]),
    h("li", {}, coded),
    h("li", {}, "Decode the z", strips[1], lost),
    h("li", {}, sloped),
    h("li", {}, after),
  );
  parent.append(h("h2", {}, "One step"), hint, list);
  const picture = new Float32Array(FEATURES);

  /** @param {Shown} shown @param {number} batches of an epoch @param {string} unit */
  function paint({ batch, weights }, batches, unit) {
    hint.hidden = batch !== null;
    list.hidden = batch === null;
    if (!batch) return;
    const { rows, before, beta } = batch;
    tell(taken, `Take batch ${batch.number} of ${batches}: ${rows.length} ${rows.length === 1 ? "digit" : "digits"}.`);
    const shown = Math.min(AT_MOST, rows.length);
    for (const strip of strips) {
      while (strip.children.length < shown) strip.append(canvasOf());
      while (strip.children.length > shown) strip.lastChild.remove();
    }
    for (let i = 0; i < shown; i++) {
      drawDigit(/** @type {any} */ (strips[0].children[i]), pixels, rows[i] * FEATURES);
      network.picture(weights, batch.z.subarray(2 * i, 2 * i + 2), picture);
      drawDigit(/** @type {any} */ (strips[1].children[i]), picture);
    }
    const [least, most] = [Math.min(...batch.sd), Math.max(...batch.sd)].map((v) => number(v, 3));
    coded.innerHTML = `Encode: <span class="mu-ink">µ</span> and <span class="sigma-ink">σ</span> of each, σ from ${least} to ${most}; draw <span class="eps-ink">ε</span> ~ N(0, I), <span class="z-ink">z</span> = µ + σε.`;
    const sum = (terms) => terms.reconstruction + beta * terms.kl;
    const loss = (terms) =>
      `<span class="recon-ink">${nats(terms.reconstruction, unit)}</span> + ${number(beta, 3)} · <span class="kl-ink">${nats(terms.kl, unit)}</span> = <b>${nats(sum(terms), unit)}</b> ${unit}`;
    lost.innerHTML = `Loss: <span class="recon-ink">reconstruction error</span> + β · <span class="kl-ink">KL</span> = ${loss(before)}.`;
    const [encoder, decoder] = batch.slopes.map((v) => number(v, 3));
    tell(
      sloped,
      `Gradient, through z back into the encoder: norm ${encoder} of the encoder’s weights, ${decoder} of the decoder’s.`,
    );
    const change = sum(batch.after) - sum(before);
    after.innerHTML = `Adam moves each weight, by ${number(batch.moved, 2)} on average. The same batch with the same ε: ${loss(batch.after)}, ${change < 0 ? "less" : "more"} by ${nats(Math.abs(change), unit, 2)}.`;
  }
  return { paint };
}
