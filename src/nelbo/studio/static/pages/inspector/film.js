// From one pinned example to another: the straight path between their codes, decoded, and what each would cost there.

import { h, set } from "../../core/dom.js";
import { plot } from "../../core/plot.js";
import { along } from "./axes.js";
import { drawImage, isImage } from "./pixels.js";

const FRAMES = 11;
const FINE = 81;

/**
 * @param {import("../../core/types.js").Source} source
 * @param {import("../../core/types.js").Example} a
 * @param {import("../../core/types.js").Example} b
 * @param {string[]} names
 */
function filmPanel(source, a, b, names) {
  const at = (t) => Float32Array.from(a.mean, (v, d) => v + t * (b.mean[d] - v));
  const strip = h("div", { class: "strip film" });
  const curves = h("div", {});
  const element = h(
    "section",
    { class: "panel" },
    h("h2", {}, `From ${names[0]} to ${names[1]}: along the line between their means`),
    strip,
    h(
      "p",
      { class: "caption" },
      source.isLocal
        ? "Below: −log p(x|z) of both examples along the way, in nats. Where neither is low, the path crosses a region that belongs to other examples."
        : "",
    ),
    curves,
  );
  const points = Array.from({ length: FRAMES }, (_, i) => at(i / (FRAMES - 1)));
  source.decode(points).then(
    (pictures) => {
      if (!isImage(source.info.event)) return;
      points.forEach((_, i) => {
        const canvas = h("canvas", {
          class: "pixels",
          role: "img",
          "aria-label": `${Math.round((100 * i) / (FRAMES - 1))} % of the way`,
        });
        drawImage(canvas, pictures, source.info.event, source.range, i * source.features);
        strip.append(canvas);
      });
    },
    () => {},
  );
  let figure = null;
  if (source.isLocal) {
    const ts = Array.from({ length: FINE }, (_, i) => i / (FINE - 1));
    const errors = [a, b].map((one) => ts.map((t) => source.errorNow(at(t), one.x)));
    const all = errors.flat();
    const [low, high] = [Math.min(...all), Math.max(...all)];
    figure = plot(curves, {
      label: "−log p(x|z) along the path",
      x: [0, 1],
      y: [low - 0.05 * (high - low), high + 0.05 * (high - low)],
      xLabel: "share of the way",
      yLabel: "−log p(x|z), nats",
      height: 190,
    });
    const lines = errors.map((_, i) => figure.path({ class: `line recon ${i ? "dashed" : ""}` }));
    const draw = () => lines.forEach((line, i) => set(line, { d: figure.line(ts, errors[i]) }));
    figure.resized = draw;
    draw();
    curves.append(h("p", { class: "caption" }, `Solid: ${names[0]}; dashed: ${names[1]}.`));
  }
  return { element, path: [at(0), at(1)], remove: () => figure?.remove() };
}

/**
 * The film between the first two rows, and its path in their planes, while it is shown.
 * @param {HTMLElement} place
 * @param {import("../../core/types.js").Source} source
 * @param {{rows: {pin: number, views: any[]}[], axesOf: (source: any) => any, isGone: () => boolean}} board
 */
export function filmOfRows(place, source, { rows, axesOf, isGone }) {
  /** @type {ReturnType<typeof filmPanel> | null} */
  let film = null;
  function hide() {
    film?.remove();
    film = null;
    place.replaceChildren();
    for (const { views } of rows) views[0].plane.showPath([]);
  }

  async function show() {
    hide();
    if (rows.length < 2) return;
    const [one, other] = await Promise.all([source.example(rows[0].pin), source.example(rows[1].pin)]);
    await source.fetchDecoder().catch(() => {}); // the curves need it, where it travels
    if (isGone()) return;
    const names = rows.slice(0, 2).map(({ pin }) => `${source.className(pin) ?? "example"} #${pin}`);
    film = filmPanel(source, one, other, names);
    place.replaceChildren(film.element);
    const path = film.path.map((z) => along(axesOf(source).w, z));
    for (const { views } of rows.slice(0, 2)) views[0].plane.showPath(path);
  }

  return { show, hide, remove: () => film?.remove() };
}
