// The slider of beta with a mark for each model, and what moves by itself along it: on to collapse, and to the nearest model.

import { h, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { between, betaAt } from "./along.js";
import { nameOf } from "./series.js";

/** @import { Opened } from "./series.js" */

const NEAR = 0.14; // of the way to the next model: from here the point goes to a model when the hand lets go
const PACE = 1100; // ms from one model to the next, when played
const GLIDE = 260; // ms from where the hand let go to a model

/**
 * @param {Opened} series
 * @param {{place: () => number, onPlace: (place: number) => void}} options
 */
export function betaSlider({ betas, entries }, { place, onPlace }) {
  const last = betas.length - 1;
  const range = h("input", { type: "range", min: 0, max: last, step: 0.01, "aria-label": "β, the weight of the KL" });
  const value = h("output", { class: "beta-now" });
  const play = h("button", {
    type: "button",
    class: "quiet",
    "data-do": "play",
    onclick: () => (moving ? stop() : glideOn()),
  });
  const marks = entries.map((entry, i) => {
    const text = entry.beta === 0 ? "AE" : String(entry.beta);
    const name = entry.beta === 0 ? "AE, autoencoder" : nameOf(entry);
    const style = `left:${(100 * i) / last}%`;
    return h(
      "button",
      { type: "button", class: "chip", style, "aria-label": name, title: name, onclick: () => glideTo(i) },
      text,
    );
  });
  const track = h("div", {}, range, h("div", { class: "beta-marks" }, ...marks));
  const element = h("div", { class: "beta-slider" }, h("span", {}, "β"), track, value, play);
  let moving = 0; // the frame in which it goes on

  range.addEventListener("input", () => {
    stop();
    onPlace(Number(range.value));
  });
  range.addEventListener("change", settle);
  stop();

  function stop() {
    cancelAnimationFrame(moving);
    moving = 0;
    tell(play, "Play");
    set(play, { "aria-pressed": false });
  }

  /** A hand that let go near a model meant it. */
  function settle() {
    const nearest = Math.round(place());
    if (place() !== nearest && Math.abs(place() - nearest) < NEAR) glideTo(nearest);
  }

  /** @param {number} goal @param {number} [time] ms */
  function glideTo(goal, time = GLIDE) {
    stop();
    const from = place();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return onPlace(goal);
    const start = performance.now();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, (now - start) / time));
      onPlace(part === 1 ? goal : from + (goal - from) * part * part * (3 - 2 * part));
      if (part === 1) stop();
      else moving = requestAnimationFrame(step);
    };
    moving = requestAnimationFrame(step);
  }

  /** From the autoencoder to collapse. */
  function glideOn() {
    if (place() === last) onPlace(0);
    glideTo(last, PACE * (last - place()));
    if (!moving) return;
    tell(play, "Pause");
    set(play, { "aria-pressed": true });
  }

  return {
    element,
    settle,
    stop,
    get isMoving() {
      return moving !== 0;
    },
    show() {
      const beta = betaAt(betas, place());
      const { t } = between(betas.length, place());
      const text = t ? `≈ ${number(beta, 2)}` : String(beta);
      if (Number(range.value) !== place()) range.value = String(place());
      range.setAttribute("aria-valuetext", beta === 0 ? "autoencoder" : `β ${text}`);
      tell(value, beta === 0 ? "autoencoder" : text);
    },
  };
}
