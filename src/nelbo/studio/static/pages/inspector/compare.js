// Two models on the same examples: differences of each term per example, totals with confidence intervals, and where
// all runs stand between rate and distortion.

import { h, s, set } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { meanAndError } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { rgb } from "../../core/raster.js";
import { NAMES } from "./numbers.js";
import { cloudOf, pictureOf } from "./cloud.js";
import { TERMS } from "./terms.js";

const REACH = 20; // pixels from a point to the click that means it
const Z95 = 1.959963984540054;

/** @import { Range, RunEntry, Slots, Source } from "../../core/types.js" */

/** Mean and half width of its 95 % confidence interval, over the examples. @param {ArrayLike<number>} values @returns {[number, number]} */
function mean95(values) {
  const { mean, variance } = meanAndError(values);
  return [mean, Z95 * Math.sqrt(variance / values.length)];
}

/**
 * @param {Slots} slots
 * @param {Source[]} pair two on the same examples
 * @param {RunEntry[]} entries all runs with their last terms
 * @param {(row: number) => void} pin
 */
export function comparePanel(slots, pair, entries, pin) {
  const [a, b] = pair;
  const n = Math.min(a.n, b.n);
  const bounds = !a.info.is_point && !b.info.is_point;
  const terms = bounds ? TERMS : ["reconstruction_error"];
  const differences = Object.fromEntries(
    terms.map((term) => [
      term,
      Float64Array.from({ length: n }, (_, i) => a.loss.opened[term][i] - b.loss.opened[term][i]),
    ]),
  );
  const totals = totalsTable(slots, pair, n, differences);
  const scatter = h("div", { class: "panel" });
  const rates = h("div", { class: "panel" });
  const element = h(
    "section",
    { class: "panel compare" },
    h("h2", {}, `${a.info.title} against ${b.info.title}, on the same ${n} examples`),
    ...totals.elements,
    h("div", { class: "columns" }, scatter, rates),
  );

  const [px, py] = bounds
    ? [differences.reconstruction_error, differences.kl]
    : [a.loss.opened.reconstruction_error, b.loss.opened.reconstruction_error];
  scatter.append(
    h(
      "h2",
      {},
      bounds
        ? "Each example: what changes between the models (click one)"
        : "Each example's reconstruction error (click one)",
    ),
  );
  const figure = plot(scatter, {
    label: "Differences between the two models for each example",
    ...spans(px, py, !bounds),
    height: 300,
    xLabel: bounds ? "Δ reconstruction error, nats" : `${a.info.title}, nats`,
    yLabel: bounds ? "Δ KL, nats" : `${b.info.title}, nats`,
  });
  const cloud = s("image", { preserveAspectRatio: "none" });
  const points = cloudOf(px.subarray(0, n), py.subarray(0, n));
  const even = figure.path({ class: "thin faint dashed" });
  const marked = s("g", { class: "marked" });
  figure.behind.append(cloud);
  figure.marks.append(marked);
  /** @returns {[number, number]} */
  const at = (i) => [figure.sx(px[i]), figure.sy(py[i])];
  const draw = () => {
    const box = {
      x: figure.margin.left,
      y: figure.margin.top,
      width: Math.max(1, figure.width),
      height: Math.max(1, figure.height),
    };
    const ink = { of: new Uint8Array(n), palette: [rgb(slots.root, "--faint")] };
    const drawn = pictureOf(points, { ...box, x: figure.x, y: figure.y }, ink);
    set(cloud, { ...box, href: drawn.toDataURL() });
    // equal totals: what one term gains, the other loses
    const [low, high] = figure.x;
    set(even, { d: figure.line([low, high], bounds ? [-low, -high] : [low, high]) });
    showPins();
  };
  const showPins = () =>
    marked.replaceChildren(
      ...slots.model
        .get("pins")
        .filter((row) => row < n)
        .map((row) => {
          const [cx, cy] = at(row);
          return s("circle", { cx, cy, r: 5.5 });
        }),
    );
  figure.resized = draw;
  figure.root.addEventListener("click", (event) => {
    const [x, y] = figure.at(event);
    const [rx, ry] = [figure.x[1] - figure.x[0], figure.y[1] - figure.y[0]];
    const best = points.near(x, y, (REACH * rx) / figure.width, (REACH * ry) / figure.height);
    if (best !== null) pin(best);
  });
  scatter.append(
    h(
      "p",
      { class: "caption" },
      bounds
        ? `Right of 0, ${a.info.title} reconstructs worse; above 0, it pays more KL. On the dashed line the totals are equal; below it, ${a.info.title} is better.`
        : `An autoencoder has no KL. Below the dashed line, ${b.info.title} reconstructs better.`,
    ),
  );
  const rate = ratesPlot(rates, entries, [a.run, b.run]);
  slots.model.on("change:unit", totals.show);
  slots.model.on("change:pins", showPins);
  totals.show();
  draw();
  return {
    element,
    draw,
    remove() {
      slots.model.off("change:unit", totals.show);
      slots.model.off("change:pins", showPins);
      figure.remove();
      rate?.remove();
    },
  };
}

/**
 * Means of each term under both models, and of what they differ by.
 * @param {Slots} slots
 * @param {Source[]} pair
 * @param {number} n examples that both have
 * @param {Record<string, Float64Array>} differences per example, of the terms that both have
 */
function totalsTable({ model }, pair, n, differences) {
  const body = h("tbody");
  const words = h("p", { class: "caption" });
  const [a, b] = pair.map((one) => one.info.title);
  const heads = ["mean", a, b, `${a} − ${b}`].map((text) => h("th", { scope: "col" }, text));
  const table = h("table", { class: "totals" }, h("thead", {}, h("tr", {}, heads)), body);
  const infinite = (source, term) => source.info.is_point && term !== "reconstruction_error";
  function show() {
    const unit = model.get("unit");
    const cell = ([mean, half]) => `${nats(mean, unit)} ± ${nats(half, unit, 2)}`;
    const value = (source, term) =>
      infinite(source, term) ? "∞" : cell(mean95(source.loss.opened[term].subarray(0, n)));
    body.replaceChildren(
      ...TERMS.map((term) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, NAMES[term]),
          ...pair.map((source) => h("td", {}, value(source, term))),
          h("td", { "data-difference": term }, term in differences ? cell(mean95(differences[term])) : "–"),
        ),
      ),
    );
    words.textContent = `Means with 95 % confidence intervals over the examples, in ${unit}. The last column pairs the examples, so its interval is narrower than the two others suggest.`;
  }
  return { elements: [h("div", { class: "scroll" }, table), words], show };
}

/**
 * All runs between rate (KL) and distortion (reconstruction error), with lines of equal NELBO.
 * @param {HTMLElement} parent
 * @param {RunEntry[]} entries
 * @param {string[]} [current] runs to mark
 */
function ratesPlot(parent, entries, current = []) {
  const dots = entries.filter(
    (entry) => entry.terms && entry.terms.kl !== null && entry.terms.reconstruction_error !== null,
  );
  parent.append(h("h2", {}, "Rate and distortion of all runs"));
  if (!dots.length) {
    parent.append(h("p", { class: "caption" }, "No run with a KL yet."));
    return null;
  }
  const xs = dots.map((entry) => entry.terms.kl);
  const ys = dots.map((entry) => entry.terms.reconstruction_error);
  const figure = plot(parent, {
    label: "KL against reconstruction error of all runs",
    ...spans([0, ...xs], ys, false, 0.16),
    height: 300,
    xLabel: "rate: KL, nats",
    yLabel: "distortion: reconstruction error, nats",
  });
  const lines = figure.path({ class: "thin faint dashed" });
  const marks = s("g", { class: "runs" });
  figure.marks.append(marks);
  const draw = () => {
    const totals = dots.map((entry) => entry.terms.nelbo);
    set(lines, {
      d: [...new Set(totals)]
        .map((total) =>
          figure.line(
            figure.x,
            figure.x.map((x) => total - x),
          ),
        )
        .join(""),
    });
    marks.replaceChildren(
      ...dots.flatMap((entry) => {
        const [cx, cy] = [figure.sx(entry.terms.kl), figure.sy(entry.terms.reconstruction_error)];
        const right = cx > figure.margin.left + 0.7 * figure.width;
        return [
          s("circle", { cx, cy, r: 5, class: current.includes(entry.run) ? "current" : "" }),
          s(
            "text",
            {
              x: cx + (right ? -9 : 9),
              y: cy + (right ? 17 : -8),
              "text-anchor": right ? "end" : "start",
              class: "halo",
            },
            `${entry.title} ${nats(entry.terms.nelbo, "nats")}`,
          ),
        ];
      }),
    );
  };
  figure.resized = draw;
  draw();
  parent.append(
    h(
      "p",
      { class: "caption" },
      "Dashed: equal NELBO = rate + distortion, the bound on −log p(x). Down and left is better.",
    ),
  );
  return figure;
}

/** @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {boolean} square @returns {{x: Range, y: Range}} */
function spans(xs, ys, square, margin = 0.08) {
  /** @returns {Range} */
  const span = (values) => {
    const sorted = Float64Array.from(values).sort();
    const [low, high] = [sorted[0], sorted[sorted.length - 1]];
    const room = margin * (high - low) || 1;
    return [low - room, high + room];
  };
  const [x, y] = [span(xs), span(ys)];
  /** @type {Range} */
  const both = [Math.min(x[0], y[0]), Math.max(x[1], y[1])];
  return square ? { x: both, y: both } : { x, y };
}
