// How far the axes reach while something moves: where no hand holds them they grow at once to show a curve that would
// leave the figure, and settle slowly. An axis that is dragged along keeps its scale until the hand lets go.

const SETTLED = 450; // ms without a change
const GLIDE = 220; // ms

/** @import { Figure, Range } from "./types.js" */

/**
 * @param {() => {x: Range, y: Range}} wanted what the state asks for
 * @param {() => void} redraw
 * @param {Figure} figure whose handles may be held
 */
export function view(wanted, redraw, figure) {
  /** @type {?{x: Range, y: Range}} */
  let now = null;
  let timer = 0;
  let frame = 0;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  /** @returns {Range} */
  const grown = (a, b) => [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
  const glide = () => {
    if (figure.held) return; // on release
    const from = structuredClone(now);
    const to = wanted();
    if (JSON.stringify(from) === JSON.stringify(to)) return;
    const start = performance.now();
    const step = (time) => {
      const part = calm ? 1 : Math.min(1, (time - start) / GLIDE);
      const eased = part * part * (3 - 2 * part);
      const at = (a, b) => (part === 1 ? b : a + (b - a) * eased);
      /** @returns {Range} */
      const mix = (a, b) => [at(a[0], b[0]), at(a[1], b[1])];
      now = { x: mix(from.x, to.x), y: mix(from.y, to.y) };
      redraw();
      if (part < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  };
  figure.settled = () => {
    clearTimeout(timer);
    now = { x: figure.x, y: figure.y };
    glide();
  };
  return {
    /** The axes for this drawing. */
    get() {
      return (now ??= wanted());
    },
    /** Call when the state changed. */
    changed() {
      const goal = wanted();
      if (!now) now = goal;
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      now = {
        x: figure.held?.x ? figure.x : grown(now.x, goal.x),
        y: figure.held?.y ? figure.y : grown(now.y, goal.y),
      };
      if (figure.held) return;
      // a state from elsewhere (a preset, a link) is another figure: take its axes at once
      const width = (v) => v[1] - v[0];
      if (width(now.x) > 3 * width(goal.x)) now = goal;
      timer = setTimeout(glide, SETTLED);
    },
    stop() {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    },
  };
}

/** A range rounded outwards to quarters of its size, so that small changes leave it alone. @param {number[]} range @returns {Range} */
export function roomy([low, high]) {
  const step = 10 ** Math.floor(Math.log10(high - low)) / 2;
  return [Math.floor(low / step) * step, Math.ceil(high / step) * step];
}
