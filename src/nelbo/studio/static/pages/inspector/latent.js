// The latent plane: all means, the prior, q(z|x) as an ellipse to drag, and a code z to drag.

import { h, s, set } from "../../core/dom.js";
import { draggable, handle } from "../../core/drag.js";
import { number, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { lasso } from "./lasso.js";
import { addLayers } from "./layers.js";
import { classMiddles, classNames } from "./names.js";
import { cloudIn, pointsIn } from "./points.js";
import { ellipse, root } from "./normal.js";
import { viewOf, zooming } from "./zoom.js";

/** @import { Inks } from "./cloud.js" */

const MARGIN = { left: 40, right: 8, top: 8, bottom: 36 };
const APART = 15; // pixels between the grips of µ and σ where σ is too small to see
const SETTLED = 140; // ms without a change of the view, until layers are computed anew
const REACH = 14; // pixels from a point to the pointer that means it
const DOUBLE = 260; // ms in which a second click makes a double click

/**
 * @param {HTMLElement} parent
 * @param {import("../../core/types.js").Source} source
 * @param {{title: string, axes: import("../../core/types.js").Axes, boxes: Boxes, colour: (row: number) => string, inks: Inks, size?: number,
 *   onCode?: (z: number[]) => void, onQ?: (q: {mean: number[], sd: number[]}) => void, onQEnd?: () => void,
 *   onLasso?: (corners: number[]) => void, isLassoing?: () => boolean, onPick?: (row: number) => void,
 *   onHover?: (row: ?number) => void, labelled?: () => boolean, fixed?: boolean,
 *   view: () => number[], onView: (view: number[]) => void}} options
 *   `colour` is that of a class, `inks` are those of all points; `onCode` and `onQ` get coordinates in the plane; an empty view is the whole of it
 *
 * @typedef {{whole: number[][], prior: number[][]}} Boxes lower and upper ends of the plane, and of what holds the prior
 */
export function latentView(parent, source, options) {
  const place = h("div", { class: "latent" });
  parent.append(place);
  const { w, names: axisNames } = options.axes;
  const flat = w.length === 1;
  const [low, high] = options.boxes.whole;
  const figure = plot(place, {
    label: `Latent space of ${options.title}: means of q(z|x) of ${source.n} examples`,
    x: [low[0], high[0]],
    y: flat ? [-1, 1] : [low[1], high[1]],
    xLabel: axisNames[0],
    yLabel: axisNames[1],
    xTicks: (from, to) => ticks(from, to, 7).map((v) => [v, tick(v)]),
    yTicks: (from, to) => (flat ? [] : ticks(from, to, 7).map((v) => [v, tick(v)])),
    height: (width) => (flat ? 190 : Math.max(60, width - MARGIN.left - MARGIN.right) + MARGIN.top + MARGIN.bottom),
    margin: MARGIN,
  });
  const zoom = zooming(place, figure, {
    whole: viewOf(options.boxes.whole),
    prior: viewOf(options.boxes.prior),
    view: options.view,
    onView: options.onView,
  });
  const cloud = cloudIn(source, options.axes);
  const layers = addLayers(figure, source, options.axes, () => !options.view().length);
  const dots = pointsIn(figure, source, cloud);
  const names = s("g", { class: "class-names", "aria-hidden": "true" });
  const path = s("path", { class: "between", fill: "none" });
  const trace = s("g", { class: "draws" });
  const near = s("g", { class: "near" });
  figure.marks.append(names, path, near, trace);
  const rings = [2, 1].map((k) => figure.path({ class: `ellipse sigma${k}` }));
  const line = lasso(figure);
  const dot = s("circle", { r: 3.5, class: "mean" });
  const ghost = s("circle", { r: 6, class: "ghost", visibility: "hidden" });
  figure.marks.append(dot, ghost);
  let q = null; // {mean, covariance} in the plane
  let code = null;
  const kept = { ghost: null, path: [], draws: [], near: [] }; // in the plane, for when its size changes

  const view = {
    figure,
    layers,
    place,
    redraw,
    showQ,
    showCode,
    showGhost,
    showPath,
    showDraws,
    showNear,
    showLasso: line.show,
    recolour,
    look,
    goTo: zoom.goTo,
    toPrior: zoom.toPrior,
    remove() {
      clearTimeout(settling);
      clearTimeout(clicked);
      dots.remove();
      figure.remove();
    },
  };
  let clicked = 0; // a click that may turn out to be the first of two

  let colour = options.colour;
  const step = () => (figure.x[1] - figure.x[0]) / 200;
  const handles = options.fixed ? null : makeHandles();

  const at = (row) => [cloud.xs[row], cloud.ys[row]];

  /** Look at what the view says: points and lines move at once, layers are computed anew when the view rests. */
  function look() {
    const { x, y } = zoom.axes();
    figure.span(x, y);
    if (!figure.frame()) return;
    move();
    clearTimeout(settling);
    settling = setTimeout(layers.redraw, SETTLED);
  }
  let settling = 0;

  function redraw() {
    figure.frame();
    layers.redraw();
    move();
  }

  /** Put all that is drawn where it belongs in the present view. */
  function move() {
    dots.draw();
    layers.move();
    line.redraw();
    nameClasses();
    showGhost(kept.ghost);
    showPath(kept.path);
    showDraws(kept.draws);
    showNear(kept.near);
    if (q) showQ(q);
    if (code) showCode(code, handles?.z.element.classList.contains("chosen"));
  }
  figure.resized = redraw;

  const named = classNames(figure, names);
  const nameClasses = () => named((middles ??= classMiddles(source, at)), options.labelled?.() ? colour : null);
  /** @type {?ReturnType<typeof classMiddles>} */
  let middles = null;

  /** @param {(row: number) => string} next of a class @param {Inks} inks of all points */
  function recolour(next, inks) {
    colour = next;
    dots.colour(inks);
    nameClasses();
  }

  /** The grips of σ stand a little farther out than σ, so that they can be told from that of µ. */
  function apart(i) {
    return i
      ? APART * ((figure.y[1] - figure.y[0]) / figure.height)
      : APART * ((figure.x[1] - figure.x[0]) / figure.width);
  }

  function makeHandles() {
    const moveQ = (change) => {
      q = { ...q, ...change };
      options.onQ?.({ mean: q.mean, sd: sds(q) });
    };
    const mean = handle(figure, {
      name: "mean µ of q(z|x)",
      colour: "q",
      radius: 6,
      axis: flat ? "x" : "xy",
      drag: (x, y) => moveQ({ mean: flat ? [x] : [x, y] }),
      key: (dx, dy) =>
        moveQ({ mean: flat ? [q.mean[0] + dx * step()] : [q.mean[0] + dx * step(), q.mean[1] + dy * step()] }),
      end: () => options.onQEnd?.(),
    });
    const widths = w.map((_, i) =>
      handle(figure, {
        name: `width σ of q(z|x) along ${axisNames[i]}`,
        colour: "q",
        shape: "bar",
        radius: 3,
        axis: i ? "y" : "x",
        drag: (x, y) =>
          moveQ({ covariance: withSd(q.covariance, i, Math.max(1e-3, (i ? y : x) - q.mean[i] - apart(i))) }),
        key: (dx, dy) =>
          moveQ({ covariance: withSd(q.covariance, i, Math.max(1e-3, sds(q)[i] + (i ? dy : dx) * step())) }),
        end: () => options.onQEnd?.(),
      }),
    );
    const z = handle(figure, {
      name: "code z",
      colour: "z",
      shape: "diamond",
      radius: 8,
      axis: flat ? "x" : "xy",
      drag: (x, y) => options.onCode?.(flat ? [x] : [x, y]),
      key: (dx, dy) =>
        options.onCode?.(flat ? [code[0] + dx * step()] : [code[0] + dx * step(), code[1] + dy * step()]),
    });
    z.element.classList.add("free");
    const take = (event) => {
      const row = nearestTo(event);
      if (row !== null) options.onPick?.(row);
      else follow(event);
    };
    /** Where a part of the plane is looked at, a double click goes back to all of it. */
    const click = (event) => {
      if (!options.view().length) return take(event);
      clearTimeout(clicked);
      clicked = setTimeout(() => take(event), DOUBLE);
    };
    figure.root.addEventListener("dblclick", () => {
      clearTimeout(clicked);
      if (options.view().length) zoom.fit();
    });
    // anywhere on the plane: press and drag to decode there; a click picks the example under it
    let moved = false;
    const follow = (event) => {
      const [x, y] = figure.at(event);
      const inside = (v, [from, to]) => Math.min(to, Math.max(from, v));
      options.onCode?.(flat ? [inside(x, figure.x)] : [inside(x, figure.x), inside(y, figure.y)]);
    };
    draggable(figure.root, {
      start: (event) => {
        if (/** @type {Element} */ (event.target).closest(".handle")) return false;
        moved = false;
        const isBox = zoom.isBoxing;
        const around = !isBox && Boolean(options.onLasso) && (event.shiftKey || options.isLassoing());
        if (around) line.begin(event);
        return { press: event, around, isBox };
      },
      move(event, { press, around, isBox }) {
        moved ||= Math.hypot(event.clientX - press.clientX, event.clientY - press.clientY) > 4;
        if (isBox) zoom.drawBox(press, event);
        else if (moved) around ? line.move(event) : follow(event);
      },
      end(event, { press, around, isBox }) {
        if (isBox) return zoom.takeBox(press, event);
        if (around) return options.onLasso(line.end());
        if (!moved && !zoom.pinched) click(event);
      },
    });
    return { mean, widths, z };
  }

  /** Draw q(z|x): ellipses at 1 and 2 sigma; a point where it has no extent. */
  function showQ(next) {
    q = next;
    const y = flat ? 0 : q.mean[1];
    set(dot, { cx: figure.sx(q.mean[0]), cy: figure.sy(y) });
    const l = root(q.covariance);
    rings.forEach((ring, i) =>
      ring.setAttribute("d", flat ? interval(q.mean[0], (2 - i) * l[0][0]) : ellipse(figure, q.mean, l, 2 - i)),
    );
    if (!handles) return;
    const width = sds(q);
    const isPoint = !(width[0] > 0);
    handles.mean.place(q.mean[0], y, `mean at ${q.mean.map((v) => number(v, 3)).join(", ")}`);
    handles.widths.forEach((one, i) => {
      one.element.style.display = isPoint ? "none" : "";
      one.place(
        q.mean[0] + (i ? 0 : width[0] + apart(0)),
        y + (i ? width[1] + apart(1) : 0),
        `σ = ${number(width[i], 3)}`,
      );
    });
  }

  function interval(mean, far) {
    const y = figure.sy(0);
    return `M${figure.sx(mean - far)} ${y - 7}v14M${figure.sx(mean - far)} ${y}H${figure.sx(mean + far)}m0 -7v14`;
  }

  /** @param {number[]} next @param {boolean} [chosen] whether the reader put it there */
  function showCode(next, chosen = true) {
    code = next;
    handles?.z.element.classList.toggle("chosen", chosen);
    handles?.z.place(code[0], flat ? 0 : code[1], `z = (${code.map((v) => number(v, 3)).join(", ")})`);
  }

  /** The cursor of the other model, at the place that corresponds. */
  function showGhost(point) {
    kept.ghost = point;
    set(ghost, { visibility: point ? "visible" : "hidden" });
    if (point) set(ghost, { cx: figure.sx(point[0]), cy: figure.sy(flat ? 0 : point[1]) });
  }

  function showPath(points) {
    kept.path = points;
    set(path, { d: points.map(([x, y], i) => `${i ? "L" : "M"}${figure.sx(x)} ${figure.sy(flat ? 0 : y)}`).join("") });
  }

  function showDraws(points) {
    kept.draws = points;
    trace.replaceChildren(
      ...points.map(([x, y]) => s("circle", { r: 2.5, cx: figure.sx(x), cy: figure.sy(flat ? 0 : y) })),
    );
  }

  function showNear(rows) {
    kept.near = rows;
    near.replaceChildren(
      ...rows.map((row) => {
        const [x, y] = at(row);
        return s("circle", { r: 5, cx: figure.sx(x), cy: figure.sy(y) });
      }),
    );
  }

  const nearestTo = (event) => {
    const [x, y] = figure.at(event);
    const [rx, ry] = [figure.x, figure.y].map(
      ([from, to], i) => (REACH * (to - from)) / (i ? figure.height : figure.width),
    );
    return cloud.near(x, y, rx, ry);
  };
  if (options.onPick && options.fixed) {
    figure.root.addEventListener("click", (event) => {
      const row = nearestTo(event);
      if (row !== null) options.onPick(row);
    });
  }
  if (options.onHover) {
    figure.root.addEventListener("pointermove", (event) => event.buttons === 0 && options.onHover(nearestTo(event)));
    figure.root.addEventListener("pointerleave", () => options.onHover(null));
  }
  const { x, y } = zoom.axes();
  figure.span(x, y);
  dots.colour(options.inks);
  redraw();
  return view;
}

export const sds = (q) => q.covariance.map((row, i) => Math.sqrt(Math.max(0, row[i])));

/** The covariance with one standard deviation changed and the correlations kept. */
function withSd(covariance, i, sd) {
  const factor = sd / Math.sqrt(covariance[i][i]);
  return covariance.map((row, r) => row.map((v, c) => v * (r === i ? factor : 1) * (c === i ? factor : 1)));
}
