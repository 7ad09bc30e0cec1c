// What the figures of densities and of counts share: a hair-line with its reading, the edges of bins, a legend.

import { s, set, tell } from "../../core/dom.js";
import { nats, number } from "../../core/format.js";
import { read } from "../../core/store.js";
import { NAMES, pair } from "./state.js";

/** @import { Density } from "../../core/densities.js" */
/** @import { Figure, Slots } from "../../core/types.js" */

/** Edges of n equal bins over where both have their mass; beyond them, two bins that reach to infinity. */
export function edges(p, q, n) {
  if (p.isDiscrete) {
    const [first, last] = countsShown(p, q);
    // between the counts
    const bounds = Array.from({ length: n + 1 }, (_, i) => Math.round(first + ((last - first) * i) / n) + 0.5);
    return bounds.filter((edge, i) => i === 0 || edge > bounds[i - 1]);
  }
  const parts = [...p.parts, ...q.parts];
  const from = Math.min(...parts.map(([m, w]) => m - 3 * w));
  const to = Math.max(...parts.map(([m, w]) => m + 3 * w));
  return Array.from({ length: n + 1 }, (_, i) => from + ((to - from) * i) / n);
}

/** The first and the last count worth seeing. @param {Density} p @param {Density} q */
export function countsShown(p, q) {
  if (p.family === "bernoulli") return [0, 1];
  const ends = [p, q].map(({ parts: [[m, w]] }) => [Math.max(0, Math.floor(m - 4 * w)), Math.ceil(m + 4 * w + 1)]);
  return [Math.min(ends[0][0], ends[1][0]), Math.max(ends[0][1], ends[1][1])];
}

/**
 * A line through both figures where the pointer is, and the numbers there in words.
 * @param {Slots} slots
 * @param {Figure[]} figures
 * @param {(x: number) => number} snap to where there is something to read
 */
export function hairline(slots, figures, snap) {
  const { model, reading } = slots;
  const hairs = figures.map((f) => f.path({ class: "hair" }, f.front));
  let current = null;
  const show = () => {
    const x = snap(current);
    const [p, q] = pair(read(model, NAMES));
    figures.forEach((f, i) => {
      const at = f.sx(x).toFixed(1);
      set(hairs[i], { d: `M${at} ${f.margin.top}V${f.margin.top + f.height}` });
    });
    const [a, b] = [p.log(x), q.log(x)];
    const unit = model.get("unit");
    const term = (u, v) => (u === -Infinity ? 0 : Math.exp(u) * (u - v));
    const ratio = a === b ? 0 : a - b;
    tell(
      reading,
      `x = ${number(x, 3)}:  p ${number(Math.exp(a), 3)},  q ${number(Math.exp(b), 3)},  log p/q ${nats(ratio, unit, 3)},  p log p/q ${nats(term(a, b), unit, 3)},  q log q/p ${nats(term(b, a), unit, 3)}`,
    );
  };
  const leave = () => {
    current = null;
    for (const line of hairs) set(line, { d: "" });
    tell(reading, slots.idle);
  };
  for (const f of figures) {
    f.root.addEventListener("pointermove", (event) => {
      if (document.querySelector(".dragging")) return;
      const [x] = f.at(event);
      if (x < f.x[0] || x > f.x[1]) return;
      current = x;
      show();
    });
    f.root.addEventListener("pointerleave", leave);
  }
  return { paint: () => current !== null && show() };
}

/**
 * Which line is which, in the upper right corner, with words that change.
 * @param {Figure} figure
 * @param {{colour: string, dashes?: string}[]} lines
 * @param {number} [top] of the first line of words, below the top of the figure
 */
export function key(figure, lines, top = 8) {
  const rows = lines.map(({ colour, dashes = "" }) => {
    const line = s("path", { class: `line ${colour}`, "stroke-dasharray": dashes });
    const text = s("text", { class: "halo", "text-anchor": "end", "font-size": 11 }, "");
    figure.front.append(line, text);
    return { line, text };
  });
  return {
    /** @param {string[]} words of each line; "" hides it */
    paint(words) {
      const right = figure.margin.left + figure.width;
      rows.forEach(({ line, text }, i) => {
        const y = figure.margin.top + (top + 15 * i) * figure.type;
        set(line, { d: words[i] ? `M${right - 28} ${y}H${right - 4}` : "" });
        set(text, { x: right - 34, y: y + 4 * figure.type });
        tell(text, words[i]);
      });
    },
  };
}
