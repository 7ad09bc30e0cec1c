// The importance-weighted bound: it rises to log p(x) with the number of draws.

import { h, s, set, tell } from "../../core/dom.js";
import { BITS, nats, number } from "../../core/format.js";
import { randomness } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { read } from "../../core/store.js";
import { roomy } from "../../core/view.js";
import { bounds, logEvidence, weights } from "./model.js";

const MOST = 512; // draws, of which the first 1, 2, 4, ... make one value of each bound
const MOVING = 40; // repeats while something is dragged
const SETTLED = 800;
const SLICE = 5; // ms at a time: the hand may come back

/** @param {import("../../core/types.js").Slots} slots @param {string[]} names of the state @param {HTMLElement} place */
export function importance(slots, names, place) {
  const { model } = slots;
  const [left, right] = [h("div"), h("div")];
  const text = h("p", { class: "caption", "data-iwae": "" });
  place.append(h("h2", {}, "More draws, a tighter bound: L_K = E[log mean of K weights]"), left, right, text);
  const figure = plot(left, {
    label: "The importance-weighted bound over the number of draws K",
    height: 200,
    x: [0, 9],
    y: [-3, -1],
    xLabel: "K draws",
    yLabel: "nats",
    xTicks: () => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((k) => [k, String(2 ** k)]),
  });
  const band = figure.path({ class: "fill z" }, figure.behind);
  const curve = figure.path({ class: "line z" });
  const truth = figure.path({ class: "line evidence" });
  const here = figure.marks.appendChild(s("circle", { r: 5, class: "fill solid z" }));
  const bars = plot(right, {
    label: "Normalized weights of K draws, largest first",
    height: 112,
    x: [0, 8],
    y: [0, 1],
    margin: { bottom: 38 },
    xTicks: () => [],
    yTicks: (_a, b) => [
      [0, "0"],
      [b, number(b, 2)],
    ],
    xLabel: "weights of the K draws, largest first",
  });
  const shape = bars.path({ class: "fill solid z" });
  let later = 0;
  let kept = { seed: NaN, made: 0 }; // draws that stay while q moves
  function draws(seed, repeat) {
    if (kept.seed !== seed) kept = { seed, made: 0, random: randomness(seed), all: new Float64Array(SETTLED * MOST) };
    for (; kept.made < (repeat + 1) * MOST; kept.made++) kept.all[kept.made] = kept.random.normal();
    return kept.all.subarray(repeat * MOST, (repeat + 1) * MOST);
  }
  function paint() {
    clearTimeout(later);
    if (figure.asleep()) return;
    const state = read(model, names);
    const bound = bounds(state, MOST);
    let repeat = 0;
    while (repeat < MOVING) bound.add(draws(state.seed, repeat++));
    show(state, bound.found(), repeat);
    const more = () => {
      const end = performance.now() + SLICE;
      while (repeat < SETTLED && performance.now() < end) bound.add(draws(state.seed, repeat++));
      if (repeat < SETTLED) later = setTimeout(more);
      else show(state, bound.found(), repeat);
    };
    later = setTimeout(more, 200);
  }
  function show(state, found, repeats) {
    const unit = model.get("unit");
    const scale = unit === "bits" ? BITS : 1;
    const top = logEvidence(state) * scale;
    const low = Math.min(...found.map((f) => (f.mean - 2 * f.error) * scale));
    figure.span(
      undefined,
      roomy([Math.min(low, top - 0.05) - 0.03 * (top - low), top + 0.05 * Math.max(0.05, top - low)]),
    );
    figure.frame();
    const xs = found.map((f) => Math.log2(f.k));
    set(curve, {
      d: figure.line(
        xs,
        found.map((f) => f.mean * scale),
      ),
    });
    const up = figure.line(
      xs,
      found.map((f) => (f.mean + f.error) * scale),
    );
    const down = figure.line([...xs].reverse(), found.map((f) => (f.mean - f.error) * scale).reverse());
    set(band, { d: `${up}${down.replace("M", "L")}Z` });
    set(truth, { d: figure.line(figure.x, [top, top]) });
    const k = 2 ** Math.round(state.logk);
    const mine = found[Math.round(state.logk)];
    set(here, { cx: figure.sx(Math.log2(k)), cy: figure.sy(mine.mean * scale) });
    const { normal, effective } = weights(state, randomness(state.seed + 1), k);
    const shown = normal.slice(0, 128);
    bars.span([0, shown.length], [0, Math.max(shown[0], 1e-6)]);
    bars.frame();
    const wide = bars.width / shown.length;
    set(shape, {
      d: shown
        .map(
          (w, i) =>
            `M${(bars.margin.left + i * wide + 0.06 * wide).toFixed(1)} ${bars.sy(0)}v${(bars.sy(w) - bars.sy(0)).toFixed(1)}h${(0.88 * wide).toFixed(1)}V${bars.sy(0)}Z`,
        )
        .join(""),
    });
    tell(
      text,
      `K = ${k}: L_K = ${nats(mine.mean, unit)} ± ${nats(mine.error, unit, 2)} (standard error over ${repeats} repeats), ${nats(logEvidence(state) - mine.mean, unit, 3)} below log p(x). Of the ${k} weights ${number(effective, 3)} count. The tighter the bound, the weaker the gradient's signal for q (Rainforth 2018).`,
    );
  }
  for (const f of [figure, bars]) f.resized = () => slots.repaint?.();
  return {
    paint,
    stop: () => {
      clearTimeout(later);
      figure.remove();
      bars.remove();
    },
  };
}
