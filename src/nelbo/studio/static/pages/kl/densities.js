// Both densities, dragged by peak, shoulder and body; below them both integrands on the same x axis.

import { s, set } from "../../core/dom.js";
import { onWheel } from "../../core/drag.js";
import { binned } from "../../core/families.js";
import { plot } from "../../core/plot.js";
import { checked } from "../../core/state.js";
import { onChange, read, write } from "../../core/store.js";
import { roomy, view } from "../../core/view.js";
import { edges, hairline } from "./figures.js";
import { bodyOf, handlesOf } from "./handles.js";
import { integrands } from "./integrands.js";
import { NAMES, pair, SHAPE, side } from "./state.js";

const POINTS = 320; // a straight piece every three pixels

/** @import { Density, Shape } from "../../core/densities.js" */
/** @import { Range, Slots } from "../../core/types.js" */

/** @param {Slots} slots @param {HTMLElement} box */
export function densities(slots, box) {
  const { model, page } = slots;
  const top = plot(box, {
    label: "Densities p and q over x; drag a peak to move, a shoulder to widen",
    height: (w) => Math.min(340, Math.max(210, w * 0.34)),
    x: [-7, 9],
    y: [0, 0.5],
    yLabel: "density",
    reaches: true,
  });
  const below = integrands(slots, box);
  const state = () => read(model, NAMES);

  // bodies lie below all handles: a handle is never out of reach under the other body
  const bodies = top.front.appendChild(s("g"));
  const sides = ["q", "p"].map((which) => ({
    which,
    body: top.path({ class: `fill body-fill ${which}`, "data-mark": which }, top.behind),
    curve: top.path({ class: `line ${which}`, "data-mark": which }),
    bars: top.path({ class: `thin ${which}` }),
    grip: bodyOf(top, slots, /** @type {"p"|"q"} */ (which), bodies),
    handles: handlesOf(top, slots, /** @type {"p"|"q"} */ (which)),
    label: top.front.appendChild(s("text", { class: `halo ${which}`, "font-weight": 600 }, which)),
  }));

  onWheel(top, (event) => {
    const [x, y] = top.at(event);
    const [p, q] = pair(state());
    // the nearer curve
    const which = Math.abs(Math.exp(p.log(x)) - y) <= Math.abs(Math.exp(q.log(x)) - y) ? "p" : "q";
    const [name, sign] = model.get(`family_${which}`) === "exponential" ? [`rate_${which}`, 1] : [`sigma_${which}`, -1];
    const value = Number((model.get(name) * Math.exp(sign * event.deltaY * 0.0012)).toPrecision(3));
    write(model, { [name]: checked(page, name, value)[0] });
  });

  const wanted = () => {
    const now = state();
    const densities_ = pair(now);
    const windows = ["p", "q"].map((which) => window_(side(now, which)));
    const [low, high] = [Math.min(windows[0][0], windows[1][0]), Math.max(windows[0][1], windows[1][1])];
    // all that lies below 0 is empty, if both are exponential
    const [from, to] = roomy([low, high]);
    /** @type {Range} */
    const x = [densities_.every((d) => d.support[0] === 0) ? -0.05 * to : from, to];
    return { x, y: /** @type {Range} */ ([0, Math.max(...densities_.map(peakOf)) * 1.14 || 1]) };
  };
  const axes = view(wanted, () => paint(), top);
  const leave = onChange(model, SHAPE, () => axes.changed());
  const hair = hairline(slots, [top, below.figure], (x) => x);

  function paint() {
    const asked = axes.get();
    top.span(asked.x, asked.y);
    if (!(top.width > 0) || !top.root.isConnected) return;
    const now = state();
    const [p, q] = pair(now);
    const grid = gridOf([p, q], top.x); // while a hand holds it, top.x is not what the state asks for
    const logs = { p: grid.map(p.log), q: grid.map(q.log) };
    top.frame();
    for (const { which, body, curve, grip, handles, label } of sides) {
      const shape = side(now, which);
      const d = which === "p" ? p : q;
      const heights = logs[which].map(Math.exp);
      const outline = top.area(grid, heights);
      set(body, { d: outline });
      set(grip, { d: outline });
      set(curve, { d: top.line(grid, heights) });
      handles.place(shape, d);
      const isExponential = shape.family === "exponential";
      const near = isExponential ? 0.2 / shape.rate : shape.mu - shape.sigma * 1.05;
      set(label, {
        x: Math.max(
          top.margin.left + 4,
          Math.min(top.margin.left + top.width - 12, top.sx(near) + (isExponential ? 8 : 0)),
        ),
        y: Math.max(16, top.sy(Math.exp(d.log(near)) || 0) - 8),
        "text-anchor": isExponential ? "start" : "end",
      });
    }
    paintBins(now.bins, p, q);
    below.paint(grid, logs.p, logs.q, top.x);
    hair.paint();
  }

  /** The densities of the binned distributions, as outlines of bars. */
  function paintBins(bins, p, q) {
    const at = bins >= 1 ? edges(p, q, Math.round(bins)) : [];
    const masses = at.length ? binned(p, q, at).masses.slice(1, -1) : [];
    sides.forEach(({ which, bars }) => {
      const heights = masses.map((mass, i) => mass[which === "p" ? 0 : 1] / (at[i + 1] - at[i]));
      set(bars, {
        d: top.line(
          heights.flatMap((_, i) => [at[i], at[i], at[i + 1], at[i + 1]]),
          heights.flatMap((height) => [0, height, height, 0]),
        ),
      });
    });
  }

  for (const f of [top, below.figure]) f.resized = () => paint();
  return {
    paint,
    stop() {
      axes.stop();
      leave();
      top.remove();
      below.figure.remove();
    },
  };
}

/** Between which x a density is worth seeing. @param {Shape} shape @returns {Range} */
export function window_({ family, mu, sigma, low, high, mu2, sigma2, nu, rate }) {
  if (family === "exponential") return [-0.4 / rate, 6 / rate];
  if (family === "mixture") {
    const ends = [mu - 4 * sigma, mu + 4 * sigma, mu2 - 4 * sigma2, mu2 + 4 * sigma2];
    return [Math.min(...ends), Math.max(...ends)];
  }
  if (family === "truncated") {
    const margin = 0.3 * (high - low);
    const ends = /** @type {Range} */ ([
      Math.max(mu - 4 * sigma, low - margin),
      Math.min(mu + 4 * sigma, high + margin),
    ]);
    return ends[1] > ends[0] ? ends : [low - 1, high + 1];
  }
  const widths = { laplace: 6, cauchy: 8, student: 4 + 4 / nu }[family] ?? 4;
  return [mu - widths * sigma, mu + widths * sigma];
}

/** The top of a density. @param {Density} d */
export function peakOf(d) {
  let peak = 0;
  for (const [m, w] of d.parts) for (let k = -3; k <= 3; k += 0.25) peak = Math.max(peak, Math.exp(d.log(m + k * w)));
  for (const end of d.support) if (Number.isFinite(end)) peak = Math.max(peak, Math.exp(d.log(end)));
  return peak;
}

/** Points of the picture, and of each bump, corner and end, so that a needle is not missed between two of them. */
export function gridOf(list, x) {
  const width = x[1] - x[0];
  const grid = Array.from({ length: POINTS + 1 }, (_, i) => x[0] + (width * i) / POINTS);
  for (const d of list) {
    for (const [m, w] of d.parts) {
      grid.push(m);
      if (w < width / 40) for (let k = -4; k <= 4; k += 0.2) grid.push(m + k * w);
    }
    for (const end of d.support)
      if (Number.isFinite(end)) grid.push(end - 1e-9 * (1 + Math.abs(end)), end, end + 1e-9 * (1 + Math.abs(end)));
  }
  return grid.filter((v) => v >= x[0] && v <= x[1]).sort((a, b) => a - b);
}
