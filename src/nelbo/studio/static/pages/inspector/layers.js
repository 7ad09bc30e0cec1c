// Layers over the latent plane that can be switched on and off: prior, aggregate posterior, holes, pictures, stretch.

import { s, set } from "../../core/dom.js";
import { contours, paint } from "../../core/raster.js";
import { along, movedTo } from "./axes.js";
import { levels, sampled, SIGMA_MASSES } from "./densities.js";
import { ellipse, root } from "./normal.js";
import { CLASSES, isImage, scaleColour, sheet } from "./pixels.js";

/** name -> what the switch says, and why one would want it. */
export const LAYERS = {
  prior: ["Prior p(z)", "grey lines around 39, 86 and 99 % of it: 1, 2 and 3 σ of a normal"],
  aggregate: ["Aggregate q(z)", "where the codes of all examples lie, widths included: the mean of q(z|x)"],
  holes: [
    "Holes",
    "likely under the prior, ten times less so under the aggregate: samples from here belong to no example",
  ],
  classes: ["Classes", "where the codes of each class lie: the mean and 1 σ of their means, as an ellipse"],
  pictures: ["Pictures", "what the decoder makes of each place"],
  stretch: ["Stretch", "how much the decoder magnifies: bright where a small step in z changes the picture most"],
};
const FINE = 72;
const HOLE = Math.log(10);

/**
 * @param {import("../../core/types.js").Figure} figure
 * @param {import("../../core/types.js").Source} source
 * @param {import("../../core/types.js").Axes} axes
 */
export function addLayers(figure, source, axes) {
  const sheetImage = s("image", { class: "pictures", preserveAspectRatio: "none" });
  const stretch = s("image", { class: "stretch", preserveAspectRatio: "none" });
  const holes = s("image", { class: "holes", preserveAspectRatio: "none" });
  const aggregate = figure.path({ class: "aggregate" });
  const classes = s("g", { class: "classes" });
  figure.marks.append(classes);
  const prior = figure.path({ class: "prior" });
  figure.behind.append(sheetImage, stretch, holes);
  let shown = new Set();
  let at = null;
  let state = 0;
  let drawn = "";
  const layers = {
    /** Share of the prior's mass that lies in holes; null before it is known. */
    inHoles: null,
    /** @type {(text: string) => void} */
    said: () => {},
    /** @param {string[]} names @param {?number[]} through the point that the plane goes through */
    show(names, through) {
      // where the plane passes the other units; a drag within it changes nothing
      const next =
        source.latent > axes.w.length
          ? movedTo(
              axes.w,
              through,
              axes.w.map(() => 0),
            ).map((v) => Number(v.toFixed(4)))
          : null;
      const key = JSON.stringify([names, next]);
      if (key === drawn) return; // a drag asks in every frame
      drawn = key;
      shown = new Set(names);
      at = next;
      layers.redraw();
    },
    async redraw() {
      const mine = ++state;
      const box = {
        x: figure.margin.left,
        y: figure.margin.top,
        width: Math.max(1, figure.width),
        height: Math.max(1, figure.height),
      };
      for (const image of [sheetImage, stretch, holes]) set(image, box);
      const flat = axes.w.length === 1;
      figure.root.parentElement.classList.toggle(
        "covered",
        (shown.has("pictures") && isImage(source.info.event)) || shown.has("stretch"),
      );
      set(prior, { d: shown.has("prior") && !flat && source.info.standard_normal_prior ? circles() : "" });
      set(sheetImage, { visibility: shown.has("pictures") && !flat ? "visible" : "hidden" });
      set(stretch, { visibility: shown.has("stretch") && !flat ? "visible" : "hidden" });
      set(holes, { visibility: shown.has("holes") && !flat ? "visible" : "hidden" });
      if (!shown.has("aggregate")) set(aggregate, { d: "" });
      classes.replaceChildren(...(shown.has("classes") && !flat ? classEllipses() : []));
      if (flat) return;
      try {
        await fetched(mine);
      } catch (error) {
        layers.said(error.message);
      }
    },
  };

  async function fetched(mine) {
    const densities =
      shown.has("aggregate") || shown.has("holes") || (shown.has("prior") && !source.info.standard_normal_prior);
    if (densities) {
      const plane = await source.plane(axes, ["prior", "aggregate"], FINE);
      if (mine !== state) return;
      const lines = (values) =>
        contours(figure, sampled(values, plane), levels(values, SIGMA_MASSES), plane.n, plane.n);
      if (shown.has("prior") && !source.info.standard_normal_prior) set(prior, { d: lines(plane.layers.prior) });
      if (shown.has("aggregate")) set(aggregate, { d: lines(plane.layers.aggregate) });
      if (shown.has("holes")) showHoles(plane);
    }
    if (shown.has("pictures") && isImage(source.info.event)) {
      const plane = await source.decodedGrid(axes, at);
      if (mine === state)
        set(sheetImage, { href: sheet(plane.layers.decoded, source.info.event, source.range, plane.n).toDataURL() });
    }
    if (shown.has("stretch")) {
      const plane = await source.plane(axes, ["stretch"], 32, at);
      if (mine === state) set(stretch, { href: heat(plane.layers.stretch, plane.n) });
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
      const points = Array.from(source.labels.keys())
        .filter((row) => source.labels[row] === k)
        .map((row) => along(axes.w, source.meanOf(row)));
      if (points.length < 3) return [];
      const mean = [0, 1].map((d) => points.reduce((sum, p) => sum + p[d], 0) / points.length);
      const spread = [0, 1].map((r) =>
        [0, 1].map(
          (c) => points.reduce((sum, p) => sum + (p[r] - mean[r]) * (p[c] - mean[c]), 0) / (points.length - 1),
        ),
      );
      return [
        s(
          "path",
          { d: ellipse(figure, mean, root(spread), 1), style: `stroke:${CLASSES[k % CLASSES.length]}` },
          s("title", {}, name),
        ),
      ];
    });
  }

  function showHoles(plane) {
    const { prior: p, aggregate: q } = plane.layers;
    const inside = levels(p, [SIGMA_MASSES[1]])[0];
    let total = 0;
    let empty = 0;
    const isHole = (i) => p[i] >= inside && q[i] < p[i] - HOLE;
    for (let i = 0; i < p.length; i++) {
      total += Math.exp(p[i]);
      if (isHole(i)) empty += Math.exp(p[i]);
    }
    layers.inHoles = empty / total;
    layers.said(`${(100 * layers.inHoles).toFixed(layers.inHoles < 0.1 ? 1 : 0)} % of the prior's mass lies in holes`);
    set(holes, { href: field(plane.n, (i) => (isHole(i) ? [122, 58, 140, 110] : [0, 0, 0, 0])) });
  }
  return layers;
}

/** Log stretch as colour, from the 2 % to the 98 % quantile. */
function heat(values, n) {
  const sorted = Float64Array.from(values).sort();
  const [low, high] = [sorted[Math.floor(0.02 * sorted.length)], sorted[Math.floor(0.98 * sorted.length)]];
  return field(n, (i) => [...scaleColour((values[i] - low) / (high - low || 1)), 255]);
}

/** A square of n x n cells as the address of a picture, so that a saved figure holds it. */
const field = (n, colour) =>
  paint(document.createElement("canvas"), n, n, (column, row) => colour(row * n + column)).toDataURL();
