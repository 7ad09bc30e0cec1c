// Both integrands on the axis of the densities: the area under each is its KL.

import { s, set, tell } from "../../core/dom.js";
import { BITS, number } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { roomy } from "../../core/view.js";
import { key } from "./figures.js";

const LINES = { pq: { colour: "p" }, qp: { colour: "q", dashes: "6 4" } };

/** @param {import("../../core/types.js").Slots} slots @param {HTMLElement} box */
export function integrands({ model }, box) {
  const figure = plot(box, {
    label: "Integrands p log p/q and q log q/p over x",
    height: (w) => Math.min(250, Math.max(184, w * 0.24)),
    x: [-7, 9],
    y: [-0.2, 0.4],
    xLabel: "x",
    yLabel: "nats per unit of x",
    margin: { top: 36 },
  });
  const zero = figure.path({ class: "thin faint" }, figure.behind);
  const marks = Object.entries(LINES).map(([name, { colour, dashes = "" }]) => ({
    name,
    up: figure.path({ class: `fill ${colour}`, "data-mark": name }, figure.behind),
    down: figure.path({ class: "fill faint", "data-mark": name }, figure.behind),
    curve: figure.path({ class: `line ${colour}`, "stroke-dasharray": dashes, "data-mark": name }),
    running: figure.path({ class: `thin ${colour} running`, "stroke-dasharray": dashes }),
  }));
  const legend = key(figure, Object.values(LINES), 8 - figure.margin.top);
  const thin = figure.front.appendChild(s("text", { class: "halo faint", y: 12, "font-size": 11 }, ""));

  /** @param {number[]} grid @param {number[]} lp @param {number[]} lq @param {import("../../core/types.js").Range} x */
  function paint(grid, lp, lq, x) {
    const unit = model.get("unit");
    const scale = unit === "bits" ? BITS : 1;
    const term = (a, b) => (a === -Infinity ? 0 : b === -Infinity ? NaN : Math.exp(a) * (a - b) * scale);
    const values = { pq: lp.map((v, i) => term(v, lq[i])), qp: lq.map((v, i) => term(v, lp[i])) };
    const isRunning = model.get("running");
    const sums = isRunning ? { pq: cumulated(grid, values.pq), qp: cumulated(grid, values.qp) } : { pq: [], qp: [] };
    const finite = [...values.pq, ...values.qp, ...sums.pq, ...sums.qp].filter(Number.isFinite);
    const range = [Math.min(0, ...finite), Math.max(1e-6, ...finite)];
    const pad = 0.05 * (range[1] - range[0]);
    figure.span(x, roomy([range[0] - pad, range[1] + pad]));
    figure.frame();
    set(zero, { d: figure.line(x, [0, 0]) });
    const words = marks.map(({ name, up, down, curve, running }) => {
      const ys = values[name];
      const part = (f) =>
        figure.area(
          grid,
          ys.map((v) => f(0, v || 0)),
        );
      set(curve, { d: figure.line(grid, ys) });
      set(up, { d: part(Math.max) });
      set(down, { d: part(Math.min) });
      set(running, { d: isRunning ? figure.line(grid, sums[name]) : "" });
      const formula = name === "pq" ? "p log p/q" : "q log q/p";
      if (ys.some(Number.isNaN)) return `${formula}: ∞ where ${name[1]} = 0`;
      if (figure.width < 420) return formula;
      const [above, under] = areas(grid, ys);
      return `${formula}: area ${number(above, 3)} − ${number(-under, 3)} ${unit}`;
    });
    legend.paint(words);
    tell(thin, isRunning ? "thin: running integrals" : "");
    set(thin, { x: figure.margin.left });
  }
  return { figure, paint };
}

function cumulated(grid, values) {
  let sum = 0;
  return values.map((v, i) => (sum += i ? 0.5 * ((v || 0) + (values[i - 1] || 0)) * (grid[i] - grid[i - 1]) : 0));
}

/** The areas above and below zero, over the picture. */
function areas(grid, values) {
  const sums = [0, 0];
  values.forEach((v, i) => {
    if (i && Number.isFinite(v)) sums[v > 0 ? 0 : 1] += v * (grid[i] - grid[i - 1]);
  });
  return sums;
}
