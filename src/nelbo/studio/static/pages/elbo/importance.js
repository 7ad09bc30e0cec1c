// The importance-weighted bound: it rises to log p(x) with the number of draws.

import { h, s, set } from "../../core/dom.js";
import { BITS, nats, number } from "../../core/format.js";
import { randomness } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { read } from "../../core/store.js";
import { bounds, logEvidence, weights } from "./model.js";

const MOST = 512;

export function importance(slots, names, place) {
  const { model } = slots;
  const [left, right] = [h("div"), h("div")];
  const text = h("p", { class: "caption", "data-iwae": "" });
  place.append(h("h2", {}, "More draws, a tighter bound: L_K = E[log mean of K weights]"), left, right, text);
  const figure = plot(left, { label: "The importance-weighted bound over the number of draws K", height: 200, x: [0, 9], y: [-3, -1], xLabel: "K draws", yLabel: "nats", xTicks: () => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((k) => [k, String(2 ** k)]) });
  const band = figure.path({ class: "fill z" }, figure.behind);
  const curve = figure.path({ class: "line z" });
  const truth = figure.path({ class: "line evidence" });
  const here = figure.marks.appendChild(s("circle", { r: 5, class: "fill solid z" }));
  const bars = plot(right, { label: "Normalized weights of K draws, largest first", height: 112, x: [0, 8], y: [0, 1], margin: { bottom: 38 }, xTicks: () => [], yTicks: (_a, b) => [[0, "0"], [b, number(b, 2)]], xLabel: "weights of the K draws, largest first" });
  const shape = bars.path({ class: "fill solid z" });
  let later = 0;
  function paint() {
    show(40);
    clearTimeout(later);
    later = setTimeout(() => show(800), 200);
  }
  function show(repeats) {
    if (!(figure.width > 0)) return;
    const state = read(model, names);
    const unit = model.get("unit");
    const scale = unit === "bits" ? BITS : 1;
    const random = randomness(state.seed);
    const found = bounds(state, random, MOST, repeats);
    const top = logEvidence(state) * scale;
    const low = Math.min(...found.map((f) => (f.mean - 2 * f.error) * scale));
    figure.span(undefined, [Math.min(low, top - 0.05) - 0.08 * (top - low), top + 0.12 * Math.max(0.05, top - low)]);
    figure.frame();
    const xs = found.map((f) => Math.log2(f.k));
    set(curve, { d: figure.line(xs, found.map((f) => f.mean * scale)) });
    const up = figure.line(xs, found.map((f) => (f.mean + f.error) * scale));
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
    set(shape, { d: shown.map((w, i) => `M${(bars.margin.left + i * wide + 0.06 * wide).toFixed(1)} ${bars.sy(0)}v${(bars.sy(w) - bars.sy(0)).toFixed(1)}h${(0.88 * wide).toFixed(1)}V${bars.sy(0)}Z`).join("") });
    text.textContent = `K = ${k}: L_K = ${nats(mine.mean, unit)} ± ${nats(mine.error, unit, 2)} (standard error over ${repeats} repeats), ${nats(logEvidence(state) - mine.mean, unit, 3)} below log p(x). Of the ${k} weights ${number(effective, 3)} count. The tighter the bound, the weaker the gradient's signal for q (Rainforth 2018).`;
  }
  for (const f of [figure, bars]) f.resized = () => slots.repaint?.();
  return { paint, stop: () => { clearTimeout(later); figure.remove(); bars.remove(); } };
}
