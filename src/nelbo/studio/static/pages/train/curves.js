// Reconstruction error, KL and NELBO by epoch, and the way of the run between rate and distortion.

import { h, s, set } from "../../core/dom.js";
import { nats, number, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { scaleColour } from "../inspector/pixels.js";
import { axisName } from "../inspector/axes.js";
import { collapses, inUse, series, TERMS } from "./record.js";

/** @import { RunRecord } from "./record.js" */

const TITLES = {
  reconstruction_error: ["Reconstruction error", "recon"],
  kl: ["KL", "kl"],
  nelbo: ["NELBO = their sum", "ink"],
};

/**
 * @param {HTMLElement} parent
 * @param {{unit: () => string, hover: (epoch: number, click?: boolean) => void}} options
 */
export function curvePanel(parent, options) {
  const columns = h("div", { class: "columns three" });
  parent.append(columns);
  let isBlank = true; // before the first number: then the axis has none either
  const panels = TERMS.map((term) => {
    const place = h("div", { class: "panel" }, h("h2", {}, TITLES[term][0]));
    columns.append(place);
    const figure = plot(place, {
      label: `${TITLES[term][0]} by epoch`,
      x: [0, 1],
      y: [0, 1],
      height: 210,
      xLabel: "epoch",
      yLabel: "nats",
      yTicks: (low, high) => (isBlank ? [] : ticks(low, high).map((v) => [v, tick(v)])),
      xTicks: (low, high) =>
        ticks(low, high, 5)
          .filter(Number.isInteger)
          .map((v) => [v, epochTick(v)]),
      margin: { left: 50, right: 10, top: 8, bottom: 34 },
    });
    const colour = TITLES[term][1];
    const paths = {
      steps: figure.path({ class: `thin ${colour} steps` }),
      other: figure.path({ class: `line ${colour} other` }),
      otherValidation: figure.path({ class: `line ${colour} other dashed` }),
      train: figure.path({ class: `line ${colour}` }),
      validation: figure.path({ class: `line ${colour} dashed` }),
      hair: figure.path({ class: "hair" }),
    };
    const best = s("circle", { r: 4, class: "best", visibility: "hidden" });
    const dots = s("g", { class: `dots ${colour}` });
    const nothing = h("p", { class: "caption", hidden: true }, "An autoencoder has no KL, and no bound.");
    const values = h("p", { class: "caption readout" }, " ");
    const fallen = s("g", { class: "fallen" });
    figure.front.append(dots, best, fallen);
    place.append(nothing, values);
    figure.root.addEventListener("pointermove", (event) => event.buttons === 0 && options.hover(figure.at(event)[0]));
    figure.root.addEventListener("click", (event) => options.hover(figure.at(event)[0], true));
    return { term, figure, paths, dots, best, fallen, nothing, values };
  });
  /** @type {?[RunRecord, ?RunRecord, ?number]} */
  let last = null;

  /** @param {RunRecord} run @param {?RunRecord} other @param {?number} epoch that all panels show; null is the latest */
  function show(run, other, epoch) {
    last = [run, other, epoch];
    for (const { term, figure, paths, dots, best, fallen, nothing, values } of panels) {
      const [tx, ty] = series(run.history, `train_${term}`);
      const [vx, vy] = series(run.history, `validation_${term}`);
      const [ox, oy] = other ? series(other.history, `train_${term}`) : [[], []];
      const [px, py] = other ? series(other.history, `validation_${term}`) : [[], []];
      const steps = run.steps.filter((step) => step[term] !== null && step[term] !== undefined);
      const all = [...ty, ...vy, ...oy, ...py];
      isBlank = !all.length && !steps.length;
      nothing.hidden = !(run.history.length && !ty.length && term !== "reconstruction_error");
      figure.root.toggleAttribute("hidden", !nothing.hidden);
      const recent = steps.map((step) => step[term]);
      figure.span(
        [0, lastEpoch(run, [...tx, ...ox, ...steps.map((step) => step.at)])],
        span(all.length ? all : recent),
      );
      figure.frame();
      set(paths.steps, {
        d: figure.line(
          steps.map((step) => step.at),
          recent,
        ),
      });
      set(paths.train, { d: figure.line(tx, ty) });
      set(paths.validation, { d: figure.line(vx, vy) });
      dots.replaceChildren(...dotsOf(figure, tx, ty, true), ...dotsOf(figure, vx, vy, false));
      set(paths.other, { d: figure.line(ox, oy) });
      set(paths.otherValidation, { d: figure.line(px, py) });
      const at = epoch ?? tx.at(-1);
      set(paths.hair, {
        d:
          at === undefined || epoch === null
            ? ""
            : `M${figure.sx(at)} ${figure.margin.top}V${figure.margin.top + figure.height}`,
      });
      const least = vy.indexOf(Math.min(...vy));
      const turned = term === "nelbo" && least >= 0 && least < vy.length - 1;
      set(best, { visibility: turned ? "visible" : "hidden" });
      if (turned) set(best, { cx: figure.sx(vx[least]), cy: figure.sy(vy[least]) });
      if (term === "kl") fallen.replaceChildren(...collapseMarks(figure, run, tx, ty));
      const line = run.history.find((one) => one.epoch === at);
      const unit = options.unit();
      values.textContent =
        line && line[`train_${term}`] !== null
          ? `epoch ${at}: train ${nats(line[`train_${term}`], unit)}${line[`validation_${term}`] === undefined ? "" : `, validation ${nats(line[`validation_${term}`], unit)}`} ${unit}${turned ? `; best validation at epoch ${vx[least]}` : ""}${term === "kl" ? inUse(run.units, at) : ""}`
          : " ";
    }
  }
  for (const { figure } of panels) figure.resized = () => last && show(...last);
  return { show, remove: () => panels.forEach(({ figure }) => figure.remove()) };
}

const AHEAD = 1.2; // times the epochs done
const FEW = 3; // epochs, of which a line shows nothing

/** Where the axis ends: at the last epoch, but not far beyond those that are done. @param {RunRecord} run @param {number[]} done */
export function lastEpoch(run, done) {
  const planned = run.of ?? 1;
  const reached = done.reduce((most, epoch) => Math.max(most, epoch), 0);
  return Math.max(1, reached, Math.min(planned, Math.ceil(AHEAD * Math.max(reached, 5))));
}

/** 2000 as 2k, 1500000 as 1.5M. @param {number} v */
export const epochTick = (v) => (v >= 1e6 ? `${v / 1e6}M` : v >= 1e3 ? `${v / 1e3}k` : String(v));

/** A point for each of few epochs, empty where it was held out. */
function dotsOf(figure, xs, ys, isFull) {
  if (xs.length >= FEW) return [];
  return xs.map((x, i) => s("circle", { r: 3.5, cx: figure.sx(x), cy: figure.sy(ys[i]), class: isFull ? "full" : "" }));
}

/** A mark on the curve of the KL where a unit ceases to carry information; several at one epoch share it. */
function collapseMarks(figure, run, epochs, kl) {
  const at = new Map();
  for (const { unit, epoch } of collapses(run.units)) at.set(epoch, [...(at.get(epoch) ?? []), axisName(unit)]);
  return [...at]
    .filter(([epoch]) => epochs.includes(epoch))
    .map(([epoch, names]) => {
      const [x, y] = [figure.sx(epoch), figure.sy(kl[epochs.indexOf(epoch)])];
      const words =
        names.length > 3
          ? `${names.length} units collapse`
          : `${names.join(", ")} collapse${names.length > 1 ? "" : "s"}`;
      const right = x > figure.margin.left + 0.6 * figure.width;
      return s(
        "g",
        { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
        s("path", { d: "M0 -3l-5 -9h10z" }),
        s("text", { x: right ? -8 : 8, y: -7, "text-anchor": right ? "end" : "start", class: "halo" }, words),
        s("title", {}, `${names.join(", ")}: below 0.01 nats from epoch ${epoch} on`),
      );
    });
}

/** From the second epoch on the curves are read; the first would press them flat. @param {number[]} values @returns {[number, number]} */
function span(values) {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return [0, 1];
  const sorted = Float64Array.from(finite).sort();
  const [low, high] = [sorted[0], sorted[Math.min(sorted.length - 1, Math.floor(0.97 * sorted.length))]];
  const room = 0.08 * (high - low) || Math.max(0.05, 0.05 * Math.abs(high));
  return [low - room, high + room];
}

/** The trail between rate (KL) and distortion (reconstruction error), from dark to light in time. */
export function trailPanel(parent) {
  parent.append(h("h2", {}, "Rate and distortion, epoch by epoch"));
  const figure = plot(parent, {
    label: "KL against reconstruction error, epoch by epoch",
    x: [0, 1],
    y: [0, 1],
    height: 300,
    xLabel: "rate: KL, nats",
    yLabel: "distortion, nats",
    margin: { left: 70 }, // the numbers of a narrow range are long
  });
  const even = figure.path({ class: "thin faint dashed" });
  const segments = s("g", { class: "trail" });
  const dot = s("circle", { r: 5.5, class: "now", visibility: "hidden" });
  figure.marks.append(segments);
  figure.front.append(dot);
  parent.append(
    h(
      "p",
      { class: "caption" },
      "Dark is early, light is late; thin is the run laid under. Dashed: equal NELBO through the last epoch. A run that slides to the left edge collapses: no information passes through z.",
    ),
  );
  /** @type {?[RunRecord, ?RunRecord, ?number]} */
  let last = null;
  /** @param {RunRecord} run @returns {[kl: number, error: number, epoch: number][]} */
  function points(run) {
    const part = run.history.some((line) => line.validation_kl !== undefined) ? "validation" : "train";
    return run.history
      .filter((line) => line[`${part}_kl`] !== null && line[`${part}_kl`] !== undefined)
      .map((line) => /** @type {const} */ ([line[`${part}_kl`], line[`${part}_reconstruction_error`], line.epoch]));
  }
  function show(run, other, epoch) {
    last = [run, other, epoch];
    const own = points(run);
    const theirs = other ? points(other) : [];
    const all = [...own, ...theirs];
    if (!all.length) {
      segments.replaceChildren();
      set(even, { d: "" });
      set(dot, { visibility: "hidden" });
      return;
    }
    /** @returns {[number, number]} */
    const room = ([low, high]) => [low - 0.06 * (high - low || 1), high + 0.06 * (high - low || 1)];
    const x = room([0, Math.max(...all.map((p) => p[0]), 0.1)]);
    figure.span(x, room([Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))]));
    figure.frame();
    const draw = (trail, className) =>
      trail.slice(1).map((p, i) => {
        const [r, g, b] = scaleColour(0.05 + (0.8 * i) / Math.max(1, trail.length - 2));
        const q = trail[i];
        return s("line", {
          x1: figure.sx(q[0]),
          y1: figure.sy(q[1]),
          x2: figure.sx(p[0]),
          y2: figure.sy(p[1]),
          stroke: `rgb(${r},${g},${b})`,
          class: className,
        });
      });
    segments.replaceChildren(...draw(theirs, "under"), ...draw(own, ""));
    const now = own.find((p) => p[2] === epoch) ?? own.at(-1);
    set(dot, { visibility: now ? "visible" : "hidden" });
    if (!now) return;
    set(dot, { cx: figure.sx(now[0]), cy: figure.sy(now[1]) });
    set(even, {
      d: figure.line(
        figure.x,
        figure.x.map((v) => now[0] + now[1] - v),
      ),
    });
    figure.root.setAttribute(
      "aria-label",
      `Rate ${number(now[0], 3)}, distortion ${number(now[1], 4)} nats at epoch ${now[2]}`,
    );
  }
  figure.resized = () => last && show(...last);
  return { show, remove: () => figure.remove() };
}
