// Two distributions of counts: their masses as bars to drag, and below them what each count adds to both KLs.

import { askNumber } from "../../core/a11y.js";
import { set } from "../../core/dom.js";
import { draggable, handle } from "../../core/drag.js";
import { BITS, number, rounded, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { poissonLogMass } from "../../core/special.js";
import { checked } from "../../core/state.js";
import { onChange, read, write } from "../../core/store.js";
import { roomy, view } from "../../core/view.js";
import { countsShown, hairline, key } from "./figures.js";
import { NAMES, pair, SHAPE } from "./state.js";

/** @import { Figure, Range, Slots, Ticks } from "../../core/types.js" */

const HALF = 0.38; // of the distance between counts: p's bar lies to the left of its count, q's to the right
const SIDES = /** @type {const} */ (["q", "p"]);

/** Only at counts. @type {Ticks} */
const whole = (low, high) =>
  ticks(low, high, 9)
    .filter((v) => Number.isInteger(v))
    .map((v) => [v, tick(v)]);

/** @param {Slots} slots @param {HTMLElement} box */
export function masses(slots, box) {
  const { model } = slots;
  const options = {
    label: "Probabilities of each count under p and q; drag a handle to change them",
    height: (w) => Math.min(340, Math.max(210, w * 0.34)),
    x: /** @type {Range} */ ([-0.7, 1.7]),
    y: /** @type {Range} */ ([0, 1]),
    yLabel: "probability",
    xTicks: whole,
    reaches: true,
  };
  const top = plot(box, options);
  const low = plot(box, {
    label: "What each count adds to KL(p‖q) and to KL(q‖p)",
    height: (w) => Math.min(250, Math.max(184, w * 0.24)),
    x: [-0.7, 1.7],
    y: [-0.2, 0.4],
    xLabel: "count",
    yLabel: "nats per count",
    margin: { top: 36 },
    xTicks: whole,
  });
  const state = () => read(model, NAMES);
  const zero = low.path({ class: "thin faint" }, low.behind);
  const sides = SIDES.map((which) => ({
    which,
    bars: top.path({ class: `fill bar ${which}`, "data-mark": which }, top.behind),
    outline: top.path({ class: `thin ${which}` }),
    stem: top.path({ class: `thin ${which} dashed` }),
    terms: low.path({ class: `fill bar ${which}` }, low.behind),
    edge: low.path({ class: `thin ${which}` }),
    running: low.path({ class: `line ${which}` }),
    handles: handlesOf(top, slots, which),
  }));
  for (const { which, bars } of sides) barsOf(top, slots, which, bars);
  const names = key(top, [{ colour: "p" }, { colour: "q" }]);
  const legend = key(low, [{ colour: "p" }, { colour: "q" }], 8 - low.margin.top);
  const wanted = () => {
    const [p, q] = pair(state());
    const [first, last] = countsShown(p, q);
    const isCoin = p.family === "bernoulli";
    const peak = isCoin ? 1 : Math.max(...[p, q].map((d) => Math.exp(d.log(Math.floor(d.rate)))));
    /** @type {{x: Range, y: Range}} */
    const asked = { x: [first - 0.7, last + 0.7], y: [0, isCoin ? 1.08 : peak * 1.16] };
    return asked;
  };
  const axes = view(wanted, () => paint(), top);
  const leave = onChange(model, SHAPE, () => axes.changed());
  const nearest = (x) => {
    const [first, last] = countsShown(...pair(state()));
    return Math.min(last, Math.max(first, Math.round(x)));
  };
  const hair = hairline(slots, [top, low], nearest);

  function paint() {
    const asked = axes.get();
    top.span(asked.x, asked.y);
    if (!(top.width > 0) || !top.root.isConnected) return;
    const [p, q] = pair(state());
    if (!p.isDiscrete || !q.isDiscrete) return;
    options.reaches = p.family === "poisson"; // a probability ends at 1
    const unit = model.get("unit");
    const scale = unit === "bits" ? BITS : 1;
    const from = Math.max(0, Math.floor(top.x[0]));
    const to = Math.min(p.support[1], Math.ceil(top.x[1]));
    const counts = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    const logs = { p: counts.map(p.log), q: counts.map(q.log) };
    const term = (a, b) => (a === -Infinity ? 0 : Math.exp(a) * (a - b) * scale);
    const terms = { p: logs.p.map((v, i) => term(v, logs.q[i])), q: logs.q.map((v, i) => term(v, logs.p[i])) };
    const isRunning = model.get("running");
    const sums = Object.fromEntries(SIDES.map((which) => [which, isRunning ? cumulated(terms[which]) : []]));
    const finite = SIDES.flatMap((which) => [...terms[which], ...sums[which]]).filter(Number.isFinite);
    const range = [Math.min(0, ...finite), Math.max(1e-6, ...finite)];
    const pad = 0.05 * (range[1] - range[0]);
    low.span(top.x, roomy([range[0] - pad, range[1] + pad]));
    top.frame();
    low.frame();
    set(zero, { d: low.line(low.x, [0, 0]) });
    for (const { which, bars, outline, stem, terms: fill, edge, running, handles } of sides) {
      const d = which === "p" ? p : q;
      const shape = barPath(top, which, counts, logs[which].map(Math.exp));
      set(bars, { d: shape });
      set(outline, { d: shape });
      const added = barPath(low, which, counts, terms[which]);
      set(fill, { d: added });
      set(edge, { d: added });
      set(running, { d: isRunning ? low.line(counts, sums[which]) : "" });
      const at = handles.place(d);
      set(stem, { d: d.family === "poisson" ? top.line([at[0], at[0]], [0, at[1]]) : "" });
    }
    names.paint(["p", "q"]);
    legend.paint(["p log p/q", "q log q/p"].map((text, i) => words(text, terms["pq"[i]], "qp"[i])));
    hair.paint();
  }
  const words = (text, values, other) => (values.includes(Infinity) ? `${text}: ∞ where ${other} = 0` : text);
  for (const f of [top, low]) f.resized = () => paint();
  return {
    paint,
    stop() {
      axes.stop();
      leave();
      top.remove();
      low.remove();
    },
  };
}

/** Bars from zero, p's to the left of each count and q's to the right; what is infinite reaches out of the figure. */
function barPath(figure, which, counts, values) {
  const [left, right] = which === "p" ? [-HALF, 0] : [0, HALF];
  const high = figure.y[1] + 0.2 * (figure.y[1] - figure.y[0]);
  const zero = figure.sy(0).toFixed(1);
  return counts
    .map((count, i) => {
      const value = Math.min(high, values[i]);
      if (value === 0) return "";
      const [from, to] = [figure.sx(count + left), figure.sx(count + right)].map((v) => v.toFixed(1));
      return `M${from} ${zero}V${figure.sy(value).toFixed(1)}H${to}V${zero}Z`;
    })
    .join("");
}

function cumulated(values) {
  let sum = 0;
  return values.map((v) => (sum += Number.isFinite(v) ? v : 0));
}

/** A coin's probability, dragged up and down, and a Poisson's rate, dragged along the counts. */
function handlesOf(figure, slots, which) {
  const { model, page, root } = slots;
  const put = (name, value) => write(model, { [`${name}_${which}`]: checked(page, `${name}_${which}`, value)[0] });
  const get = (name) => model.get(`${name}_${which}`);
  const typed = (name, label) => async () => {
    const value = await askNumber(root, label, get(name));
    if (value === null) return;
    const [fine, note] = checked(page, `${name}_${which}`, value);
    if (note) slots.say(note);
    write(model, { [`${name}_${which}`]: fine });
  };
  const labels = { prob: `probability of 1 under ${which}`, rate: `rate of ${which}` };
  const prob = handle(figure, {
    name: labels.prob,
    colour: which,
    axis: "y",
    drag: (_x, y) => put("prob", rounded(Math.min(1, Math.max(0, y)), 0.001)),
    key: (dx, dy) => put("prob", rounded(Math.min(1, Math.max(0, get("prob") + 0.01 * (dx || dy))), 0.001)),
    type: typed("prob", labels.prob),
  });
  const rate = handle(figure, {
    name: labels.rate,
    colour: which,
    axis: "x",
    drag: (x) => put("rate", Number(Math.max(0.001, x).toPrecision(4))),
    key: (dx, dy) => put("rate", Number(Math.max(0.001, get("rate") + 0.1 * (dx || dy)).toPrecision(4))),
    type: typed("rate", labels.rate),
  });
  prob.element.dataset.mark = `prob_${which}`;
  rate.element.dataset.mark = `rate_${which}`;
  return {
    /** @returns {[number, number]} where it is */
    place(d) {
      const isCoin = d.family === "bernoulli";
      prob.element.style.display = isCoin ? "" : "none";
      rate.element.style.display = isCoin ? "none" : "";
      if (isCoin) {
        const at = /** @type {[number, number]} */ ([1 + (which === "p" ? -HALF : HALF) / 2, d.prob]);
        prob.place(...at, number(d.prob));
        return at;
      }
      // on the curve through the tops of the bars
      const at = /** @type {[number, number]} */ ([d.rate, Math.exp(poissonLogMass(d.rate, d.rate))]);
      rate.place(...at, number(d.rate));
      return at;
    },
  };
}

/** The bars themselves are held too: a coin's go up and down, a Poisson's to and fro. */
function barsOf(figure, slots, which, bars) {
  const { model, page } = slots;
  draggable(bars, {
    start(event) {
      const isCoin = model.get(`family_${which}`) === "bernoulli";
      figure.hold({ x: !isCoin, y: isCoin });
      const name = isCoin ? `prob_${which}` : `rate_${which}`;
      const at = figure.at(event);
      return { isCoin, name, at, value: model.get(name), sign: isCoin && at[0] < 0.5 ? -1 : 1 };
    },
    end: () => figure.release(),
    move(event, { isCoin, name, at, value, sign }) {
      const [x, y] = figure.at(event);
      const next = isCoin
        ? rounded(Math.min(1, Math.max(0, value + sign * (y - at[1]))), 0.001)
        : Number(Math.max(0.001, value + x - at[0]).toPrecision(4));
      write(model, { [name]: checked(page, name, next)[0] });
    },
  });
}
