// Histograms of single-draw gradients, their error over the number of draws, and a discrete z.

import { h, s, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { meanAndError, randomness } from "../../core/math.js";
import { legend, plot } from "../../core/plot.js";
import { roomy } from "../../core/view.js";
import { ESTIMATORS, relaxed } from "./estimators.js";

export const COLOURS = { pathwise: "z", score: "eps", baseline: "recon" };
export const DASH = { pathwise: "", score: "7 4", baseline: "2 3" };
const BINS = 90;
export const LEGEND = [
  ["pathwise", "pathwise"],
  ["score", "score function"],
  ["baseline", "with baseline"],
].map(([name, text]) => [COLOURS[name], DASH[name], text]);

export const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.floor(q * sorted.length)))];

/** Histograms of the estimators for one parameter. @param {0|1} which d/dmu or d/dsigma */
export function histogram(place, which, label) {
  const figure = plot(place, {
    label: `Histograms of single-draw gradients ${label}`,
    height: 200,
    x: [-5, 5],
    y: [0, 1],
    xLabel: `${label} from one draw`,
    yLabel: "density",
  });
  const shapes = ESTIMATORS.map((name) => [
    figure.path({ class: `fill ${COLOURS[name]}` }, figure.behind),
    figure.path({ class: `line ${COLOURS[name]}`, "stroke-dasharray": DASH[name] }),
  ]);
  const truth = figure.path({ class: "line ink" });
  const names = legend(figure, LEGEND);
  return {
    figure,
    paint(made, exact) {
      if (figure.asleep()) return;
      names();
      const wide = [];
      for (const draws of [made.score[which], made.pathwise[which]])
        for (let i = 0; i < draws.length; i += 7) wide.push(draws[i]);
      wide.sort((a, b) => a - b);
      let range = [Math.min(exact, quantile(wide, 0.03)), Math.max(exact, quantile(wide, 0.97))];
      const pad = Math.max(0.15 * (range[1] - range[0]), 0.2);
      range = [range[0] - pad, range[1] + pad];
      const unit = 10 ** Math.floor(Math.log10(range[1] - range[0])) / 2;
      figure.span([Math.floor(range[0] / unit) * unit, Math.ceil(range[1] / unit) * unit]);
      const [low, high] = figure.x;
      const step = (high - low) / BINS;
      const heights = ESTIMATORS.map((name) => {
        const bins = new Float64Array(BINS);
        const draws = made[name][which];
        const one = 1 / (draws.length * step);
        for (let k = 0; k < draws.length; k++) {
          const i = Math.floor((draws[k] - low) / step);
          if (i >= 0 && i < BINS) bins[i] += one;
        }
        return bins;
      });
      // a needle (every draw alike) may leave the figure; the score's shape decides the height
      const tall = Math.max(...heights[1], ...heights[2]) * 1.6;
      figure.span(undefined, roomy([0, Math.min(Math.max(...heights.flatMap((b) => [...b])), tall) * 1.05 || 1]));
      figure.frame();
      heights.forEach((bins, k) => {
        const xs = [];
        const ys = [];
        bins.forEach((v, i) => {
          xs.push(low + i * step, low + (i + 1) * step);
          ys.push(v, v);
        });
        set(shapes[k][0], { d: figure.area(xs, ys) });
        set(shapes[k][1], { d: figure.line(xs, ys) });
      });
      set(truth, { d: `M${figure.sx(exact)} ${figure.margin.top}V${figure.margin.top + figure.height}` });
    },
  };
}

/** |mean of n draws - truth| over n, on log axes. */
export function convergence(place) {
  /** @type {import("../../core/types.js").Ticks} */
  const powers = (a, b) =>
    Array.from({ length: Math.floor(b) - Math.ceil(a) + 1 }, (_, i) => [
      Math.ceil(a) + i,
      `10${[...String(Math.ceil(a) + i)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("")}`,
    ]);
  const figure = plot(place, {
    label: "Error of the gradient for mu over the number of draws",
    height: 220,
    x: [1, 4],
    y: [-3, 1],
    xLabel: "draws",
    yLabel: "|error|, d/dµ",
    xTicks: powers,
    yTicks: powers,
  });
  const curves = ESTIMATORS.map((name) =>
    figure.path({ class: `line ${COLOURS[name]}`, "stroke-dasharray": DASH[name] }),
  );
  const guides = ESTIMATORS.map((name) => figure.path({ class: `thin ${COLOURS[name]}` }, figure.behind));
  return {
    figure,
    paint(made, exact) {
      if (figure.asleep()) return;
      const count = made.score[0].length;
      const last = Math.log10(count);
      const places = Array.from({ length: 60 }, (_, i) => Math.round(10 ** (1 + ((last - 1) * i) / 59)));
      const errors = ESTIMATORS.map((name) => {
        const out = [];
        let sum = 0;
        let next = 0;
        made[name][0].forEach((g, i) => {
          sum += g;
          while (next < 60 && places[next] <= i + 1) {
            out.push(Math.log10(Math.max(1e-12, Math.abs(sum / (i + 1) - exact))));
            next++;
          }
        });
        return out;
      });
      const sds = ESTIMATORS.map((name) => Math.sqrt(meanAndError(made[name][0]).variance));
      const ends = sds.filter((v) => v > 0).flatMap((sd) => [Math.log10(sd) - 0.5, Math.log10(sd) - last / 2]);
      const low = Math.max(-9, Math.min(...ends, ...errors.map((e) => e[e.length - 1])) - 0.4);
      figure.span([1, last], [Math.floor(low), Math.ceil(Math.max(...ends, ...errors.flat(), low + 1))]);
      figure.frame();
      ESTIMATORS.forEach((_, k) => {
        set(curves[k], {
          d: figure.line(
            places.map((n) => Math.log10(n)),
            errors[k],
          ),
        });
        // the expected size, sd / sqrt n
        set(guides[k], {
          d: sds[k] > 0 ? figure.line([1, last], [Math.log10(sds[k]) - 0.5, Math.log10(sds[k]) - last / 2]) : "",
        });
      });
    },
  };
}

/** A discrete z: the relaxed sample has a gradient, biased more the warmer, noisier the colder. */
export function discrete(place) {
  const text = h("p", { class: "caption" });
  const box = h("div");
  place.append(box, text);
  const figure = plot(box, {
    label: "Gradient through a relaxed Bernoulli over its temperature",
    height: 200,
    x: [-2, 1],
    y: [-1, 2],
    xLabel: "temperature τ",
    yLabel: "d/dπ, mean ± SD",
    xTicks: () => [-2, -1, 0, 1].map((k) => [k, String(10 ** k)]),
  });
  const band = figure.path({ class: "fill sigma" }, figure.behind);
  const curve = figure.path({ class: "line sigma" });
  const truth = figure.path({ class: "line ink" });
  const here = figure.marks.appendChild(s("circle", { r: 5, class: "fill solid sigma" }));
  let kept = {}; // the curve asks for no more than the seed
  return {
    figure,
    paint(state) {
      if (figure.asleep()) return;
      const exact = (1 - 0.45) ** 2 - 0.45 ** 2;
      const at = (t) => meanAndError(relaxed(0.4, t, randomness(state.seed), 1500));
      const ts = Array.from({ length: 25 }, (_, i) => -2 + i / 8);
      if (kept.seed !== state.seed) kept = { seed: state.seed, found: ts.map((t) => at(10 ** t)) };
      const { found } = kept;
      const sd = found.map((f) => Math.sqrt(f.variance));
      figure.span(undefined, [
        Math.max(-6, Math.min(...found.map((f, i) => f.mean - sd[i]))),
        Math.min(6, Math.max(...found.map((f, i) => f.mean + sd[i]))),
      ]);
      figure.frame();
      set(curve, {
        d: figure.line(
          ts,
          found.map((f) => f.mean),
        ),
      });
      const up = figure.line(
        ts,
        found.map((f, i) => f.mean + sd[i]),
      );
      const down = figure.line([...ts].reverse(), found.map((f, i) => f.mean - sd[i]).reverse());
      set(band, { d: `${up}${down.replace("M", "L")}Z` });
      set(truth, { d: figure.line(figure.x, [exact, exact]) });
      const mine = kept.tau === state.tau ? kept.mine : at(state.tau);
      Object.assign(kept, { tau: state.tau, mine });
      set(here, { cx: figure.sx(Math.log10(state.tau)), cy: figure.sy(mine.mean) });
      tell(
        text,
        `b ~ Bernoulli(0.4), f = (b − 0.45)². True d/dπ = ${number(exact)}; relaxed at τ = ${number(state.tau, 2)}: ${number(mine.mean, 3)} ± ${number(mine.error, 2)} (SE), SD of one draw ${number(Math.sqrt(mine.variance), 3)}. Warm is biased, cold is noisy.`,
      );
    },
  };
}
