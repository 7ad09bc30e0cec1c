// KL(p || q) from draws: three estimators on the same samples, shrinking towards the truth.

import { slider } from "../../core/controls.js";
import { h, s, set, tell } from "../../core/dom.js";
import { BITS, nats, number, tick } from "../../core/format.js";
import { fromLogRatios, randomness } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { read, write } from "../../core/store.js";
import { roomy } from "../../core/view.js";
import { extent, logRatios, traces } from "./estimates.js";
import { NAMES, pair } from "./state.js";

const MOVING = 2000; // draws while something is dragged
const COLOURS = ["z", "eps", "recon"];
const OF = ["log p/q", "(log p/q)² / 2", "q/p − 1 + log p/q"];

export function strip(slots, place) {
  const { model } = slots;
  const box = h("div");
  const player = playing(model);
  const again = h(
    "button",
    { type: "button", class: "chip", onclick: () => write(model, { seed: model.get("seed") + 1 }) },
    "Other draws",
  );
  const { table, cells } = numbersTable();
  place.append(
    h("h2", {}, "The same number from draws of p"),
    box,
    slider(slots, { name: "samples", label: "draws", log: true }),
    h("div", { class: "row" }, player.button, again),
    table,
  );
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

  let later = 0;
  function paint({ pq }) {
    clearTimeout(later);
    const all = Math.round(model.get("samples"));
    if (all > MOVING && !player.isPlaying()) later = setTimeout(() => show(pq, all), 250);
    show(pq, player.isPlaying() ? all : Math.min(all, MOVING));
  }
  function show(exact, count) {
    if (figure.asleep()) return;
    const ratios = logRatios(...pair(read(model, NAMES)), randomness(model.get("seed")), count);
    const scale = model.get("unit") === "bits" ? BITS : 1;
    const found = fromLogRatios(ratios);
    const [low, high] = extent(found, exact);
    figure.span([1, Math.max(1.3, Math.log10(count))], roomy([low * scale, high * scale]));
    figure.frame();
    traces(ratios).forEach((trace, i) => draw(trace, i, scale));
    set(truth, { d: Number.isFinite(exact) ? figure.line(figure.x, [exact * scale, exact * scale]) : "" });
    const unit = model.get("unit");
    found.forEach((f, i) => {
      tell(cells[i][0], `${nats(f.mean, unit)} ± ${nats(f.error, unit, 2)}`);
      tell(cells[i][1], Number.isFinite(exact) ? `${number((f.mean - exact) / f.error, 2)} SE` : "–");
    });
  }
  /** @param {import("./estimates.js").Trace} trace */
  function draw({ x, mean, error }, i, scale) {
    const line = (xs, sign) =>
      figure.line(
        xs,
        mean.map((v, j) => (v + sign * error[j]) * scale),
      );
    const back = figure.line([...x].reverse(), mean.map((v, j) => (v - error[j]) * scale).reverse());
    const up = line(x, 1);
    set(curves[i], { d: line(x, 0) });
    set(bands[i], { d: up && back ? `${up}${back.replace("M", "L")}Z` : "" });
    set(names[i], {
      x: figure.margin.left + figure.width - 18 - 16 * i,
      y: Math.min(
        figure.margin.top + figure.height - 4,
        Math.max(14, (figure.sy(mean[mean.length - 1] * scale) || 0) - 6),
      ),
    });
  }
  figure.resized = () => slots.repaint?.();
  return {
    paint,
    stop() {
      player.stop();
      clearTimeout(later);
      figure.remove();
    },
  };
}

/** A button that raises the number of draws from 10 to 100,000, and stops. */
function playing(model) {
  let timer = 0;
  const words = () => (button.textContent = timer ? "■ Stop" : "▶ Draw more and more");
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    words();
  };
  const step = () => {
    const next = Math.min(1e5, Math.ceil(model.get("samples") * 1.12));
    write(model, { samples: next });
    timer = next < 1e5 ? setTimeout(step, 90) : 0;
    words();
  };
  const start = () => {
    write(model, { samples: 10 });
    timer = setTimeout(step, 90);
    words();
  };
  const button = h("button", { type: "button", class: "chip", onclick: () => (timer ? stop() : start()) }, "");
  words();
  return { button, stop, isPlaying: () => timer !== 0 };
}

/** Mean, standard error and distance from the truth of each estimator. */
function numbersTable() {
  const body = h("tbody");
  const heads = ["KL(p‖q) by", "mean ± SE", "off by"].map((text) => h("th", { scope: "col" }, text));
  const cells = OF.map((of, i) => {
    const [mean, off] = [h("td"), h("td")];
    body.append(h("tr", {}, h("td", { class: `${COLOURS[i]}-ink` }, `k${i + 1}: mean of ${of}`), mean, off));
    return [mean, off];
  });
  return { table: h("table", { class: "tight" }, h("thead", {}, h("tr", {}, ...heads)), body), cells };
}
