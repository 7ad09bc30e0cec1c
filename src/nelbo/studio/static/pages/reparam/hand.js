// A draw to hold: epsilon under its bell, z under q's, and f(z) below; arrows say which way a step of descent pulls.

import { h, s, set, tell } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { number, rounded } from "../../core/format.js";
import { normalLogPdf } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { checked } from "../../core/state.js";
import { read, write } from "../../core/store.js";
import { roomy, view } from "../../core/view.js";
import { FUNCTIONS } from "./estimators.js";

/** @import { Figure, Range, Slots, State } from "../../core/types.js" */

const POINTS = 240;
const FAN = [-3, -2, -1, 0, 1, 2, 3]; // values of epsilon whose way to z is drawn
const GAP = 30; // pixels between the two axes
const CAPTIONS = {
  reparam:
    "Drag ε, µ or σ: z = µ + σε goes with each of them. The tangent is ∂f/∂z; the green arrows are the step of descent that it asks of z, µ and σ.",
  stochastic:
    "z was drawn, and stays where it is while µ or σ move: nothing of ∂f/∂z reaches them. The dashed arrows are the step by the score function, from the value f(z) alone. Drag z and see them turn over.",
};

const bell = (x, m, sd) => Math.exp(normalLogPdf(x, m, sd));
const along = ([from, to]) => Array.from({ length: POINTS + 1 }, (_, i) => from + ((to - from) * i) / POINTS);

/** @param {Slots} slots @param {HTMLElement} place @param {() => void} redraw */
export function hand(slots, place, redraw) {
  const { model } = slots;
  const boxes = [h("div"), h("div", { class: "fan" }), h("div"), h("div")];
  const caption = h("p", { class: "caption" });
  place.append(...boxes, caption);
  const upper = { top: 10, bottom: 22 };
  const noise = plot(boxes[0], {
    label: "Density of epsilon, with the draw to drag",
    height: 118,
    x: [-4, 4],
    y: [0, 0.46],
    yLabel: "density",
    yTicks: () => [0, 0.4].map((v) => [v, String(v)]),
    margin: upper,
  });
  const sample = plot(boxes[2], {
    label: "Density q of z, with mean, standard deviation and the draw to drag",
    height: 170,
    x: [-4, 4],
    y: [0, 1],
    yLabel: "density",
    margin: upper,
    reaches: true,
  });
  const value = plot(boxes[3], {
    label: "f over z, its value and its slope at the draw",
    height: 156,
    x: [-4, 4],
    y: [0, 16],
    xLabel: "z",
    yLabel: "f(z)",
    margin: { ...upper, bottom: 36 },
  });
  const curves = {
    noise: shape(noise, "eps"),
    sample: shape(sample, "z"),
    value: value.path({ class: "line ink" }),
    stem: noise.path({ class: "line eps dashed" }),
    drop: sample.path({ class: "line z dashed" }),
    lift: value.path({ class: "line z dashed" }),
    tangent: value.path({ class: "line good thick" }),
    point: value.marks.appendChild(s("circle", { r: 6, class: "fill solid z" })),
  };
  const titles = [words(noise, "eps", "ε ~ N(0, 1)"), words(sample, "z", "")];
  const ways = fan(boxes[1]);
  const pulls = ["good", "good", "good", "eps dashed", "eps dashed"].map((kind) =>
    sample.path({ class: `line ${kind}`, "data-pull": kind.split(" ")[0] }, sample.front),
  );
  const grips = handles(slots, noise, sample);
  const wanted = () => wantedBy(read(model, ["mu", "sigma", "eps"]));
  const axes = view(wanted, redraw, sample);
  for (const figure of [noise, sample, value]) figure.resized = redraw;
  let last = "";

  /** @param {State} state @param {ReturnType<typeof import("./draw.js").oneDraw>} draw */
  function paint(state, draw) {
    const now = JSON.stringify(wanted());
    if (now !== last) axes.changed();
    last = now;
    const asked = axes.get();
    sample.span(asked.x, asked.y);
    if (!(sample.width > 0)) return;
    for (const figure of [noise, sample]) figure.frame();
    const through = state.node === "reparam";
    const peak = bell(0, 0, state.sigma);
    curves.noise(along(noise.x), (x) => bell(x, 0, 1));
    curves.sample(refined(sample, state), (x) => bell(x, state.mu, state.sigma));
    set(curves.stem, { d: noise.line([state.eps, state.eps], [0, bell(state.eps, 0, 1)]) });
    set(curves.drop, {
      d: through
        ? `M${sample.sx(draw.z)} ${sample.margin.top}V${sample.sy(0)}`
        : sample.line([draw.z, draw.z], [0, bell(draw.z, state.mu, state.sigma)]),
    });
    noise.root.classList.toggle("dim", !through);
    titles.forEach((title, i) => {
      const { margin, type } = [noise, sample][i];
      set(title, { x: margin.left + 6, y: margin.top + 14 * type });
    });
    tell(titles[1], `q(z) = N(${number(state.mu, 3)}, ${number(state.sigma, 3)}²)`);
    ways.paint(noise, sample, state, through);
    grips.eps.place(state.eps, 0, number(state.eps));
    grips.z.place(draw.z, 0, number(draw.z));
    grips.mu.place(state.mu, peak, number(state.mu));
    grips.sigma.place(state.mu + state.sigma, peak * Math.exp(-0.5), number(state.sigma));
    grips.eps.element.style.display = through ? "" : "none";
    paintValue(state, draw);
    paintPulls(state, draw, peak, through);
    tell(caption, CAPTIONS[state.node]);
  }

  function paintValue(state, draw) {
    const { f } = FUNCTIONS[state.fn];
    const xs = along(sample.x);
    const ys = xs.map((x) => f(x, state.c));
    const [low, high] = [Math.min(...ys), Math.max(...ys)];
    const pad = 0.08 * (high - low || 1);
    value.span(sample.x, roomy([low - pad, high + pad]));
    value.frame();
    set(curves.value, { d: value.line(xs, ys) });
    const [x, y] = [value.sx(draw.z), value.sy(draw.f)];
    set(curves.point, { cx: x, cy: y });
    set(curves.lift, { d: `M${x} ${value.margin.top - 10}V${y}` });
    // of the tangent as much as 34 pixels hold, whichever way it leans
    const rise = (draw.slope * (value.sx(1) - value.sx(0)) ** -1) / (value.sy(1) - value.sy(0)) ** -1;
    const dx = 34 / Math.hypot(1, rise);
    set(curves.tangent, { d: `M${x - dx} ${y - dx * rise}L${x + dx} ${y + dx * rise}` });
  }

  function paintPulls(state, draw, peak, through) {
    const shoulder = [sample.sx(state.mu + state.sigma), sample.sy(peak * Math.exp(-0.5))];
    const places = [[sample.sx(draw.z), sample.sy(0)], [sample.sx(state.mu), sample.sy(peak)], shoulder];
    const steps = [-draw.slope, ...draw.pathwise.map((g) => -g)];
    places.forEach(([x, y], i) => set(pulls[i], { d: through ? arrow(x, y, steps[i]) : "" }));
    draw.score.forEach((g, i) => set(pulls[3 + i], { d: through ? "" : arrow(...places[1 + i], -g) }));
  }

  return {
    paint,
    figures: [noise, sample, value],
    stop() {
      axes.stop();
      for (const figure of [noise, sample, value]) figure.remove();
    },
  };
}

/** What the axes of q's figure ask for. @param {State} state @returns {{x: Range, y: Range}} */
function wantedBy({ mu, sigma, eps }) {
  const z = mu + sigma * eps;
  const ends = [Math.min(mu - 3 * sigma, z), Math.max(mu + 3 * sigma, z)];
  const fits = ends[0] >= -4 && ends[1] <= 4;
  return { x: fits ? [-4, 4] : roomy(ends), y: [0, (1.3 * bell(0, 0, 1)) / sigma] };
}

/** Where q is drawn: over the axis, and closely around its peak. @param {Figure} figure @param {State} state */
function refined(figure, { mu, sigma }) {
  const close = along([mu - 4 * sigma, mu + 4 * sigma]).filter((x) => x > figure.x[0] && x < figure.x[1]);
  return [...along(figure.x), ...close].sort((a, b) => a - b);
}

/** A curve and what lies under it. @param {Figure} figure @param {string} colour */
function shape(figure, colour) {
  const body = figure.path({ class: `fill ${colour}` }, figure.behind);
  const line = figure.path({ class: `line ${colour}` });
  return (xs, f) => {
    const ys = xs.map(f);
    set(body, { d: figure.area(xs, ys) });
    set(line, { d: figure.line(xs, ys) });
  };
}

/** A title in the corner of a figure. */
const words = (figure, colour, text) =>
  figure.front.appendChild(s("text", { class: `halo ${colour}`, "font-size": 12.5, "font-weight": 600 }, text));

/** An arrow to the side, longer for a larger step, from beside a handle at (x, y). */
function arrow(x, y, step) {
  if (!step || !Number.isFinite(step)) return "";
  const side = Math.sign(step);
  const length = 6 + 56 * Math.tanh(Math.abs(step) / 5);
  const from = x + 12 * side;
  const to = from + length * side;
  return `M${from} ${y}H${to}m${-6 * side} -5l${6 * side} 5l${-6 * side} 5`;
}

/** The ways from epsilon's axis to z's: what mu shifts and sigma spreads. @param {HTMLElement} place */
function fan(place) {
  const root = s("svg", { class: "plot ways", height: GAP, "aria-hidden": "true" });
  const lines = FAN.map(() => root.appendChild(s("path", { class: "thin faint" })));
  const here = root.appendChild(s("path", { class: "line z" }));
  place.append(root);
  return {
    /** @param {Figure} noise @param {Figure} sample @param {State} state @param {boolean} through */
    paint(noise, sample, { mu, sigma, eps }, through) {
      const width = noise.margin.left + noise.width + noise.margin.right;
      set(root, { width, viewBox: `0 0 ${width} ${GAP}` });
      const inside = (z) => z >= sample.x[0] && z <= sample.x[1];
      const way = (e) => {
        const z = mu + sigma * e;
        return through && inside(z) ? `M${noise.sx(e)} 0L${sample.sx(z)} ${GAP}` : "";
      };
      lines.forEach((line, i) => set(line, { d: way(FAN[i]) }));
      set(here, { d: way(eps) });
    },
  };
}

/** @param {Slots} slots @param {Figure} noise @param {Figure} sample */
function handles(slots, noise, sample) {
  const { model, page } = slots;
  const put = (name, value) => write(model, { [name]: checked(page, name, value)[0] });
  const get = (name) => model.get(name);
  const epsOf = (z) => Number(((z - get("mu")) / get("sigma")).toPrecision(5));
  const zOf = () => get("mu") + get("sigma") * get("eps");
  const made = (figure, name, colour, options) => {
    const one = handle(figure, { name, colour, axis: "x", ...options });
    one.element.dataset.mark = { "mean of q": "µ", "standard deviation of q": "σ" }[name] ?? name.slice(-1);
    return one;
  };
  const slid = (name) => ({
    drag: (x) => put(name, rounded(x, 0.01)),
    key: (dx, dy) => put(name, rounded(get(name) + 0.05 * (dx || dy), 0.001)),
  });
  return {
    eps: made(noise, "draw of ε", "eps", slid("eps")),
    mu: made(sample, "mean of q", "mu", slid("mu")),
    sigma: made(sample, "standard deviation of q", "sigma", {
      shape: "diamond",
      radius: 6,
      drag: (x) => put("sigma", Number(Math.max(0.01, x - get("mu")).toPrecision(3))),
      key: (dx, dy) => put("sigma", Number((get("sigma") * 1.03 ** (dx || dy)).toPrecision(4))),
    }),
    z: made(sample, "draw of z", "z", {
      drag: (x) => put("eps", epsOf(x)),
      key: (dx, dy) => put("eps", epsOf(zOf() + 0.05 * (dx || dy))),
    }),
  };
}
