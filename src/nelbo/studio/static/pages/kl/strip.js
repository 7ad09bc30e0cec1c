// KL(p || q) from draws: three estimators on the same samples, shrinking towards the truth.

import { slider } from "../../core/controls.js";
import { h, s, set, tell } from "../../core/dom.js";
import { BITS, nats, number, tick } from "../../core/format.js";
import { fromLogRatios, randomness } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { read, write } from "../../core/store.js";
import { roomy } from "../../core/view.js";
import { NAMES, pair } from "./state.js";

const MOVING = 2000; // draws while something is dragged
const COLOURS = ["z", "eps", "recon"];

export function strip(slots, place) {
  const { model } = slots;
  const box = h("div");
  const table = h("tbody");
  let playing = 0;
  const play = h(
    "button",
    { type: "button", class: "chip", onclick: () => (playing ? stop() : start()) },
    "▶ Draw more and more",
  );
  const again = h(
    "button",
    { type: "button", class: "chip", onclick: () => write(model, { seed: model.get("seed") + 1 }) },
    "Other draws",
  );
  place.append(
    h("h2", {}, "The same number from draws of p"),
    box,
    slider(slots, { name: "samples", label: "draws", log: true }),
    h("div", { class: "row" }, play, again),
    h(
      "table",
      { class: "tight" },
      h("thead", {}, h("tr", {}, ...["KL(p‖q) by", "mean ± SE", "off by"].map((t) => h("th", { scope: "col" }, t)))),
      table,
    ),
  );
  const cells = ["log p/q", "(log p/q)² / 2", "q/p − 1 + log p/q"].map((of, i) => {
    const [mean, off] = [h("td"), h("td")];
    table.append(h("tr", {}, h("td", { class: `${COLOURS[i]}-ink` }, `k${i + 1}: mean of ${of}`), mean, off));
    return [mean, off];
  });
  const figure = plot(box, {
    label: "Running means of the estimators k1, k2, k3 of KL(p‖q) over the number of draws",
    height: 210,
    x: [1, 3],
    y: [0, 1],
    xLabel: "draws of p",
    yLabel: "nats",
    margin: { left: 54 },
    xTicks: (a, b) =>
      Array.from({ length: Math.floor(b) - Math.ceil(a) + 1 }, (_, i) => [
        Math.ceil(a) + i,
        tick(10 ** (Math.ceil(a) + i)),
      ]),
  });
  const bands = COLOURS.map((c) => figure.path({ class: `fill ${c}` }, figure.behind));
  const curves = COLOURS.map((c) => figure.path({ class: `line ${c}` }));
  const names = COLOURS.map((c, i) =>
    figure.front.appendChild(s("text", { class: "halo", "font-size": 11, style: `fill:var(--${c})` }, `k${i + 1}`)),
  );
  const truth = figure.path({ class: "line ink dashed" });

  function start() {
    play.textContent = "■ Stop";
    write(model, { samples: 10 });
    const step = () => {
      const next = Math.min(1e5, Math.ceil(model.get("samples") * 1.12));
      write(model, { samples: next });
      playing = next < 1e5 ? setTimeout(step, 90) : 0;
      if (!playing) play.textContent = "▶ Draw more and more";
    };
    playing = setTimeout(step, 90);
  }
  function stop() {
    clearTimeout(playing);
    playing = 0;
    play.textContent = "▶ Draw more and more";
  }
  let later = 0;
  function paint({ pq }) {
    clearTimeout(later);
    const all = Math.round(model.get("samples"));
    if (all > MOVING && !playing) later = setTimeout(() => show(pq, all), 250);
    show(pq, playing ? all : Math.min(all, MOVING));
  }
  function show(exact, count) {
    if (figure.asleep()) return;
    const [p, q] = pair(read(model, NAMES));
    const random = randomness(model.get("seed"));
    const ratios = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const x = p.draw(random);
      ratios[i] = p.log(x) - q.log(x);
    }
    const unit = model.get("unit");
    const scale = unit === "bits" ? BITS : 1;
    const found = fromLogRatios(ratios);
    const last = Math.log10(count);
    const traces = running(ratios, last);
    const finite = [exact, ...found.map((f) => f.mean)].filter(Number.isFinite);
    const spread = Math.max(
      1e-3,
      ...found
        .map((f) => f.error)
        .filter(Number.isFinite)
        .map((e) => 4 * e),
      ...finite.map((v) => 0.25 * Math.abs(v)),
    );
    const ends = found.map((f) => f.mean).filter((mean) => Math.abs(mean - (exact ?? mean)) < 8 * spread);
    const middle = Number.isFinite(exact) ? exact : (finite[0] ?? 0);
    figure.span(
      [1, Math.max(1.3, last)],
      roomy([Math.min(middle - spread, ...ends) * scale, Math.max(middle + spread, ...ends) * scale]),
    );
    figure.frame();
    traces.forEach((trace, i) => {
      set(curves[i], {
        d: figure.line(
          trace.x,
          trace.mean.map((v) => v * scale),
        ),
      });
      const up = figure.line(
        trace.x,
        trace.mean.map((v, j) => (v + trace.error[j]) * scale),
      );
      const down = figure.line(
        [...trace.x].reverse(),
        trace.mean.map((v, j) => (v - trace.error[j]) * scale).reverse(),
      );
      set(bands[i], { d: up && down ? `${up}${down.replace("M", "L")}Z` : "" });
      const end = trace.mean[trace.mean.length - 1] * scale;
      set(names[i], {
        x: figure.margin.left + figure.width - 18 - 16 * i,
        y: Math.min(figure.margin.top + figure.height - 4, Math.max(14, figure.sy(end) - 6)),
      });
    });
    set(truth, { d: Number.isFinite(exact) ? figure.line(figure.x, [exact * scale, exact * scale]) : "" });
    found.forEach((f, i) => {
      tell(cells[i][0], `${nats(f.mean, unit)} ± ${nats(f.error, unit, 2)}`);
      tell(cells[i][1], Number.isFinite(exact) ? `${number((f.mean - exact) / f.error, 2)} SE` : "–");
    });
  }
  figure.resized = () => slots.repaint?.();
  return {
    paint,
    stop() {
      stop();
      clearTimeout(later);
      figure.remove();
    },
  };
}

/** Running means and standard errors of the three estimators at 80 places on a log axis. */
function running(ratios, last) {
  const places = Array.from({ length: 80 }, (_, i) => Math.round(10 ** (1 + ((last - 1) * i) / 79)));
  const sums = [0, 1, 2].map(() => ({ x: [], mean: [], error: [], sum: 0, squares: 0 }));
  let next = 0;
  ratios.forEach((r, i) => {
    [r, 0.5 * r * r, Math.expm1(-r) + r].forEach((v, k) => {
      sums[k].sum += v;
      sums[k].squares += v * v;
    });
    while (next < 80 && places[next] <= i + 1) {
      const n = i + 1;
      for (const k of sums) {
        const mean = k.sum / n;
        k.x.push(Math.log10(n));
        k.mean.push(mean);
        k.error.push(Math.sqrt(Math.max(0, k.squares / n - mean * mean) / (n - 1)));
      }
      next++;
    }
  });
  return sums;
}
