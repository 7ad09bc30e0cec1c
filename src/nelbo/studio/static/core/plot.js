// One SVG figure with two axes. Curves are paths in data coordinates; it draws when it is told to and never by itself.
// While a hand holds one of its handles, the axes along which it drags keep their scale, or the handle would run away
// from the pointer; what the page asked for meanwhile is taken on release.

import { s, set, tell } from "./dom.js";
import { tick, ticks } from "./format.js";

/** @import { Figure, FigureOptions, Range } from "./types.js" */

const REACH = 0.012; // of the axis, for each frame in which a hand waits beyond its end
const MARGIN = { left: 54, right: 14, top: 12, bottom: 36 };
const PRESENTED = 1.6; // times the size of words, in presenter mode

/**
 * @param {HTMLElement} parent
 * @param {FigureOptions} options
 * @returns {Figure}
 */
export function plot(parent, options) {
  const places = { ...MARGIN, ...options.margin };
  const margin = { ...places };
  let type = 1; // the size of words
  const root = s("svg", { class: "plot", role: "group", "aria-label": options.label });
  const clip = `clip-${Math.random().toString(36).slice(2)}`;
  const window_ = s("rect");
  const axes = s("g", { class: "axes", "aria-hidden": "true" });
  const behind = s("g", { "clip-path": `url(#${clip})` });
  const marks = s("g", { "clip-path": `url(#${clip})` });
  const front = s("g");
  root.append(s("defs", {}, s("clipPath", { id: clip }, window_)), behind, axes, marks, front);
  parent.append(root);
  let x = options.x;
  let y = options.y;
  let width = 0;
  let height = 0;
  let shape = "";
  let seen = true; // until the browser says otherwise
  let drawn = false; // at this size
  let stale = false;
  /** @type {Figure["held"]} */
  let held = null;
  /** @type {?{x?: Range, y?: Range}} */
  let wanted = null; // what was asked for while it was held

  /** @type {Figure} */
  const figure = {
    root,
    behind,
    marks,
    front,
    margin,
    get type() {
      return type;
    },
    get x() {
      return x;
    },
    get y() {
      return y;
    },
    get width() {
      return width - margin.left - margin.right;
    },
    get height() {
      return height - margin.top - margin.bottom;
    },
    sx: (v) => margin.left + ((v - x[0]) / (x[1] - x[0])) * figure.width,
    sy: (v) => margin.top + (1 - (v - y[0]) / (y[1] - y[0])) * figure.height,
    ix: (px) => x[0] + ((px - margin.left) / figure.width) * (x[1] - x[0]),
    iy: (py) => y[0] + (1 - (py - margin.top) / figure.height) * (y[1] - y[0]),
    at(event) {
      const box = root.getBoundingClientRect();
      return [figure.ix(event.clientX - box.left), figure.iy(event.clientY - box.top)];
    },
    asleep() {
      if (!(figure.width > 0)) return true;
      stale = drawn && !seen;
      drawn = true;
      return stale;
    },
    span(newX, newY) {
      if (held) wanted = { x: newX ?? wanted?.x, y: newY ?? wanted?.y };
      if (!held?.x) x = newX ?? x;
      if (!held?.y) y = newY ?? y;
    },
    get held() {
      return held;
    },
    hold(axes_) {
      held = { x: Boolean(axes_.x), y: Boolean(axes_.y) };
      wanted = null;
    },
    release() {
      const asked = wanted;
      [held, wanted] = [null, null];
      if (figure.settled) figure.settled();
      else if (asked) {
        figure.span(asked.x, asked.y);
        figure.resized();
      }
    },
    settled: null,
    reach(dx, dy) {
      const sides = { x: held?.x && options.reaches ? dx : 0, y: held?.y && options.reaches ? dy : 0 };
      if (options.floor) sides.y = Math.max(0, sides.y);
      /** @returns {Range} */
      const farther = ([from, to], side) => {
        const more = REACH * (to - from);
        return [side < 0 ? from - more : from, side > 0 ? to + more : to];
      };
      if (sides.x) x = farther(x, sides.x);
      if (sides.y) y = farther(y, sides.y);
      return Boolean(sides.x || sides.y);
    },
    frame() {
      const next = `${width},${height},${type},${x},${y}`;
      if (next === shape) return false;
      shape = next;
      if (!(width > 0)) return false;
      set(root, { width, height, viewBox: `0 0 ${width} ${height}` });
      set(window_, {
        x: margin.left,
        y: margin.top,
        width: Math.max(0, figure.width),
        height: Math.max(0, figure.height),
      });
      redraw(axes, axisLines(figure, options, width, height));
      return true;
    },
    line(xs, ys) {
      const low = y[0] - 2 * (y[1] - y[0]);
      const high = y[1] + 2 * (y[1] - y[0]);
      const ax = figure.width / (x[1] - x[0]),
        bx = margin.left - x[0] * ax;
      const ay = -figure.height / (y[1] - y[0]),
        by = margin.top - y[1] * ay;
      let d = "";
      let pen = "M";
      for (let i = 0; i < xs.length; i++) {
        const v = ys[i];
        if (Number.isNaN(v)) {
          pen = "M";
          continue;
        }
        d += `${pen}${(bx + ax * xs[i]).toFixed(1)} ${(by + ay * Math.min(high, Math.max(low, v))).toFixed(1)}`;
        pen = "L";
      }
      return d;
    },
    area(xs, ys, level = 0) {
      if (!xs.length) return "";
      const base = figure.sy(level).toFixed(1);
      return `${figure.line(xs, ys)}L${figure.sx(xs[xs.length - 1]).toFixed(1)} ${base}L${figure.sx(xs[0]).toFixed(1)} ${base}Z`;
    },
    path: (attributes, where = marks) => where.appendChild(s("path", { fill: "none", ...attributes })),
    handles: [], // of drag.js
    resized: () => {},
    remove() {
      for (const one of [observer, sight]) one.disconnect();
      removeEventListener("nelbo-present", measure);
    },
  };
  const measure = () => {
    const place = parent.clientWidth;
    if (!place) return;
    /** @type {?HTMLElement} */
    const presented = root.closest(".presenting");
    type = presented ? PRESENTED : 1;
    for (const side in places) margin[side] = type * places[side];
    width = place;
    const asked = typeof options.height === "function" ? options.height(place) : (options.height ?? 260);
    height = asked * Number(presented?.dataset.tall ?? 1);
    if (!figure.frame()) return;
    drawn = false; // else who prints the page, or scrolls to it fast, sees marks of the old size
    figure.resized();
  };
  const observer = new ResizeObserver(measure);
  observer.observe(parent);
  const sight = new IntersectionObserver(
    (entries) => {
      seen = entries[entries.length - 1].isIntersecting;
      if (seen && stale) figure.resized();
    },
    { rootMargin: "300px" },
  );
  sight.observe(root);
  addEventListener("nelbo-present", measure);
  measure();
  return figure;
}

/**
 * Make a group's children what the parts [tag, attributes, text] say; elements that fit are kept.
 * @param {SVGGElement} group
 * @param {Part[]} parts
 */
function redraw(group, parts) {
  parts.forEach(([tag, attributes, text], i) => {
    let element = group.children[i];
    if (element?.localName !== tag) {
      const made = s(tag, {}, ...(text === undefined ? [] : [text]));
      element ? element.replaceWith(made) : group.append(made);
      element = made;
    }
    for (const name of element.getAttributeNames()) if (!(name in attributes)) element.removeAttribute(name);
    set(element, attributes);
    if (text !== undefined) tell(element, text);
  });
  while (group.children.length > parts.length) group.lastChild.remove();
}

/**
 * @typedef {[tag: "line"|"text", attributes: Record<string, string|number>, text?: string]} Part
 * @param {Figure} figure
 * @param {FigureOptions} options
 * @param {number} width
 * @param {number} height
 */
function axisLines(figure, options, width, height) {
  const { margin, type } = figure;
  const bottom = height - margin.bottom;
  /** @type {Part[]} */
  const parts = [];
  const xTicks =
    options.xTicks?.(...figure.x) ??
    ticks(...figure.x, Math.max(4, figure.width / (80 * type))).map((v) => [v, tick(v)]);
  const yTicks =
    options.yTicks?.(...figure.y) ??
    ticks(...figure.y, Math.max(3, figure.height / (36 * type))).map((v) => [v, tick(v)]);
  for (const [value, text] of xTicks) {
    const at = figure.sx(value);
    if (options.grid) parts.push(["line", { x1: at, x2: at, y1: margin.top, y2: bottom, class: "grid" }]);
    parts.push(["line", { x1: at, x2: at, y1: bottom, y2: bottom + 4 }]);
    parts.push(["text", { x: at, y: bottom + 16 * type, "text-anchor": "middle" }, text]);
  }
  for (const [value, text] of yTicks) {
    const at = figure.sy(value);
    if (!options.bare)
      parts.push(["line", { x1: margin.left, x2: width - margin.right, y1: at, y2: at, class: "grid" }]);
    parts.push(["text", { x: margin.left - 7, y: at + 4 * type, "text-anchor": "end" }, text]);
  }
  if (!options.bare)
    parts.push(["line", { x1: margin.left, x2: width - margin.right, y1: bottom, y2: bottom, class: "axis" }]);
  if (options.xLabel) {
    parts.push([
      "text",
      { x: width - margin.right, y: bottom + 31 * type, "text-anchor": "end", class: "axis-label" },
      options.xLabel,
    ]);
  }
  if (options.yLabel) {
    const middle = margin.top + figure.height / 2;
    // beside long ticks there is no room for it: it stands within
    const isBeside = (one) => Math.abs(figure.sy(one[0]) - middle) < type * (3.4 * options.yLabel.length + 8);
    const wide = (text) => [...text].reduce((sum, c) => sum + (c === "." ? 3.9 : c === "−" ? 10.1 : 7.7), 0);
    const widest = Math.max(0, ...yTicks.filter(isBeside).map((one) => wide(one[1])));
    const x = 7 + (17 + widest) * type > margin.left ? margin.left + 14 * type : 13 * type;
    const label = {
      x,
      y: middle,
      "text-anchor": "middle",
      class: "axis-label halo",
      transform: `rotate(-90 ${x} ${middle})`,
    };
    parts.push(["text", label, options.yLabel]);
  }
  return parts;
}

/**
 * Which line is which, in the upper right corner.
 * @param {Figure} figure
 * @param {string[][]} lines colour, dashes and name of each
 * @returns {() => void} puts it in its place
 */
export function legend(figure, lines) {
  const rows = lines.map(([colour, dashes, name]) => ({
    line: s("path", { class: `line ${colour}`, "stroke-dasharray": dashes }),
    text: s("text", { class: "halo", "text-anchor": "end", "font-size": 11 }, name),
  }));
  figure.front.append(...rows.flatMap(({ line, text }) => [line, text]));
  return () => {
    const right = figure.margin.left + figure.width;
    rows.forEach(({ line, text }, i) => {
      const y = figure.margin.top + (10 + 15 * i) * figure.type;
      set(line, { d: `M${right - 28} ${y}H${right - 4}` });
      set(text, { x: right - 34, y: y + 4 * figure.type });
    });
  };
}

/** The figure as a file of its own: every style that the page gives it is written into it. @param {SVGSVGElement} svg */
export function standalone(svg) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const kept = [
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "stroke-opacity",
    "opacity",
    "font-size",
    "font-family",
    "font-weight",
    "display",
    "visibility",
  ];
  const originals = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, i) => {
    const style = getComputedStyle(originals[i]);
    for (const name of kept) element.setAttribute(name, style.getPropertyValue(name));
    element.removeAttribute("class");
  });
  // a canvas within the figure, as the picture that it shows
  const places = [...svg.querySelectorAll("foreignObject")];
  copy.querySelectorAll("foreignObject").forEach((element, i) => {
    const href = places[i].querySelector("canvas")?.toDataURL();
    const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => element.getAttribute(name));
    element.replaceWith(s("image", { x, y, width, height, href, preserveAspectRatio: "none" }));
  });
  const background = getComputedStyle(svg.closest(".nelbo") ?? document.body).backgroundColor;
  copy.insertBefore(s("rect", { width: "100%", height: "100%", fill: background }), copy.firstChild);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
}

/** The figure as a PNG of twice its size. @param {SVGSVGElement} svg @returns {Promise<Blob>} */
export async function picture(svg, scale = 2) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(svg))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = svg.clientWidth * scale;
  canvas.height = svg.clientHeight * scale;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
