// Layers over the latent plane that can be switched on and off: prior, aggregate posterior, holes, pictures, stretch. What is
// drawn for one view of the plane moves with it, until it is drawn anew for the next.

import { s, set } from "../../core/dom.js";
import { contours, paint, rgb } from "../../core/raster.js";
import { along, movedTo } from "./axes.js";
import { levels, sampled, SIGMA_MASSES } from "./densities.js";
import { ellipse, root } from "./normal.js";
import { CLASSES, isImage, scaleColour, sheet } from "./pixels.js";

/** @import { Axes, Figure, Plane, Source } from "../../core/types.js" */

/** name -> what the switch says, and why one would want it. */
export const LAYERS = {
  prior: ["Prior p(z)", "grey lines around 39, 86 and 99 % of it: 1, 2 and 3 σ of a normal"],
  aggregate: ["Aggregate q(z)", "where the codes of all examples lie, widths included: the mean of q(z|x)"],
  holes: [
    "Holes",
    "where q(z) / p(z) is lower than at all but 2 % of the codes: samples from here belong to no example; the stronger, the more samples",
  ],
  classes: ["Classes", "where the codes of each class lie: the mean and 1 σ of their means, as an ellipse"],
  pictures: ["Pictures", "what the decoder makes of each place"],
  stretch: ["Stretch", "how much the decoder magnifies: bright where a small step in z changes x most"],
};

/** Whether a run has what a layer shows. @param {string} name @param {Source} source */
export const hasLayer = (name, source) =>
  name === "pictures"
    ? isImage(source.info.event)
    : name === "classes"
      ? Boolean(source.info.label_names?.length)
      : true;

const FINE = 72;
const FAINT = 0.12; // of the colour of a hole where the prior's density is low
const NARROW = 0.5; // of the view: the holes of a prior that takes less of it are hard to see

/**
 * @param {Figure} figure
 * @param {Source} source
 * @param {Axes} axes
 * @param {() => boolean} isWhole whether the whole plane is in view
 */
export function addLayers(figure, source, axes, isWhole) {
  const flat = axes.w.length === 1;
  /** @type {Map<SVGImageElement, Pick<Plane, "low"|"high">>} */
  const placed = new Map();
  const image = (name) => s("image", { class: name, preserveAspectRatio: "none", visibility: "hidden" });
  const [pictures, stretch, holes] = ["pictures", "stretch", "holes"].map(image);
  const aggregate = figure.path({ class: "aggregate" });
  const classes = s("g", { class: "classes" });
  figure.marks.append(classes);
  const prior = figure.path({ class: "prior" });
  figure.behind.append(pictures, stretch, holes);
  let shown = new Set();
  let at = null;
  let state = 0;
  let drawn = "";
  let drawnFor = { x: figure.x, y: figure.y }; // the view of the paths

  const layers = {
    /** @type {(text: string, hint?: string) => void} */
    said: () => {},
    /** @param {string[]} names @param {?number[]} through the point that the plane goes through */
    show(names, through) {
      // where the plane passes the other units; a drag within it changes nothing
      const zero = axes.w.map(() => 0);
      const across = () => movedTo(axes.w, through, zero).map((v) => Number(v.toFixed(4)));
      const next = source.latent > axes.w.length ? across() : null;
      const key = JSON.stringify([names, next]);
      if (key === drawn) return; // a drag asks in every frame
      drawn = key;
      shown = new Set(names.filter((name) => hasLayer(name, source)));
      at = next;
      layers.redraw();
    },
    /** After the view moved: what is drawn stays where it belongs. */
    move() {
      for (const [one, { low, high }] of placed) {
        const [x, y] = [figure.sx(low[0]), flat ? figure.margin.top : figure.sy(high[1])];
        const height = flat ? figure.height : figure.sy(low[1]) - y;
        set(one, { x, y, width: figure.sx(high[0]) - x, height });
      }
      const [x0, x1] = drawnFor.x;
      const [y0, y1] = drawnFor.y;
      const { left, top } = figure.margin;
      const a = (figure.sx(x1) - figure.sx(x0)) / figure.width;
      const d = (figure.sy(y0) - figure.sy(y1)) / figure.height;
      const moved = `matrix(${a} 0 0 ${d} ${figure.sx(x0) - a * left} ${figure.sy(y1) - d * top})`;
      for (const one of [prior, aggregate, classes]) set(one, { transform: moved });
    },
    async redraw() {
      const mine = ++state;
      const covers = shown.has("pictures") || shown.has("stretch");
      figure.root.parentElement.classList.toggle("covered", covers && !flat);
      for (const [name, one] of Object.entries({ pictures, stretch, holes })) if (!shown.has(name)) hide(one);
      if (!shown.has("holes")) layers.said("");
      drawnFor = { x: figure.x, y: figure.y };
      const isKnown = source.info.standard_normal_prior && !flat;
      set(prior, { d: shown.has("prior") && isKnown ? circles() : "" });
      set(aggregate, { d: "" });
      classes.replaceChildren(...(shown.has("classes") && !flat ? classEllipses() : []));
      layers.move();
      try {
        await fetched(mine);
      } catch (error) {
        if (mine === state) layers.said(error.message);
      }
    },
  };

  function hide(one) {
    placed.delete(one);
    set(one, { visibility: "hidden" });
  }

  /** @param {SVGImageElement} one @param {Plane} plane @param {string} href */
  function put(one, plane, href) {
    placed.set(one, plane);
    set(one, { href, visibility: "visible" });
    layers.move();
  }

  /** Layers over the present view; in a file without Python, over the whole plane. */
  async function ask(names, n, through = null) {
    if (isWhole()) return source.plane(axes, names, n, through);
    const window_ = { low: [figure.x[0], figure.y[0]], high: [figure.x[1], figure.y[1]] };
    const ends = flat ? { low: [window_.low[0]], high: [window_.high[0]] } : window_;
    return source.plane(axes, names, n, through, ends).catch(() => source.plane(axes, names, n, through));
  }

  async function fetched(mine) {
    if (shown.has("holes")) {
      if (!placed.has(holes)) layers.said("Measuring the holes …");
      const plane = await ask(["prior", "holes"], FINE);
      if (mine !== state) return;
      showHoles(plane);
    }
    if (flat) return;
    const hasOwnPrior = shown.has("prior") && !source.info.standard_normal_prior;
    if (shown.has("aggregate") || hasOwnPrior) {
      const [whole, plane] = await Promise.all([
        source.plane(axes, ["prior", "aggregate"], FINE),
        ask(["prior", "aggregate"], FINE),
      ]);
      if (mine !== state) return;
      // the view may hold little of the mass: the heights of the lines come from the whole plane
      const lines = (name) =>
        contours(figure, sampled(plane.layers[name], plane), levels(whole.layers[name], SIGMA_MASSES), FINE, FINE);
      if (hasOwnPrior) set(prior, { d: lines("prior") });
      if (shown.has("aggregate")) set(aggregate, { d: lines("aggregate") });
    }
    if (shown.has("pictures")) {
      const plane = await source.decodedGrid(axes, at, isWhole() ? null : figure);
      if (mine !== state) return;
      put(pictures, plane, sheet(plane.layers.decoded, source.info.event, source.range, plane.n).toDataURL());
    }
    if (shown.has("stretch")) {
      const plane = await ask(["stretch"], 32, at);
      if (mine === state) put(stretch, plane, heat(plane.layers.stretch, plane.n));
    }
  }

  function circles() {
    return [1, 2, 3]
      .map((k) => {
        const [rx, ry] = [figure.sx(k) - figure.sx(0), figure.sy(0) - figure.sy(k)];
        return `M${figure.sx(-k)} ${figure.sy(0)}a${rx} ${ry} 0 1 0 ${2 * rx} 0a${rx} ${ry} 0 1 0 ${-2 * rx} 0`;
      })
      .join("");
  }

  function classEllipses() {
    return (source.info.label_names ?? []).flatMap((name, k) => {
      const sums = new Float64Array(6); // count, x, y, xx, xy, yy
      for (let row = 0; row < source.n; row++) {
        if (source.labels[row] !== k) continue;
        const [x, y] = along(axes.w, source.meanOf(row));
        [1, x, y, x * x, x * y, y * y].forEach((v, i) => (sums[i] += v));
      }
      const [n, x, y, xx, xy, yy] = sums;
      if (n < 3) return [];
      const mean = [x / n, y / n];
      const cross = (product, a, b) => (product - (a * b) / n) / (n - 1);
      const spread = [
        [cross(xx, x, x), cross(xy, x, y)],
        [cross(xy, x, y), cross(yy, y, y)],
      ];
      return [
        s(
          "path",
          { d: ellipse(figure, mean, root(spread), 1), style: `stroke:${CLASSES[k % CLASSES.length]}` },
          s("title", {}, name),
        ),
      ];
    });
  }

  /** Shade the holes, as strongly as the prior draws there, and say how much of it they hold. */
  function showHoles(plane) {
    const { prior: p, holes: isHole } = plane.layers;
    const top = p.reduce((most, v) => Math.max(most, v), -Infinity);
    const [r, g, b] = rgb(figure.root, "--hole");
    const strength = (i) => (isHole[i] ? 255 * (FAINT + 0.55 * Math.exp(0.5 * (p[i] - top))) : 0);
    put(
      holes,
      plane,
      field(plane.n, (i) => [r, g, b, strength(i)], flat ? 1 : plane.n),
    );
    const { share, in_plane, level, examples } = plane.holes;
    const here = in_plane === null ? "" : ` Of the prior in this plane: ${in_plane}.`;
    const [low, high] = plane.prior_box;
    const isSmall = (high[0] - low[0]) / (figure.x[1] - figure.x[0]) < NARROW;
    layers.said(
      `${share} of the prior's mass lies in holes, where no training data do (${100 * level} % where q(z) = p(z); ${examples.toLocaleString("en")} examples).${here}`,
      isSmall ? "prior" : "",
    );
  }
  return layers;
}

/** Log stretch as colour, from the 2 % to the 98 % quantile. */
function heat(values, n) {
  const sorted = Float64Array.from(values).sort();
  const [low, high] = [sorted[Math.floor(0.02 * sorted.length)], sorted[Math.floor(0.98 * sorted.length)]];
  return field(n, (i) => [...scaleColour((values[i] - low) / (high - low || 1)), 255]);
}

/** n cells across and as many down, as the address of a picture, so that a saved figure holds it. */
const field = (n, colour, down = n) =>
  paint(document.createElement("canvas"), n, down, (column, row) => colour(row * n + column)).toDataURL();
