// The concave logarithm: the log of a mean lies above the mean of the logs, and points dragged together close the gap.

import { h, s, set, tell } from "../../core/dom.js";
import { handle, onWheel } from "../../core/drag.js";
import { nats, number } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { write } from "../../core/store.js";

/** @param {import("../../core/types.js").Slots} slots @param {HTMLElement} place */
export function jensen(slots, place) {
  const { model } = slots;
  const box = h("div");
  const text = h("p", { class: "caption", "data-answer": "numbers" });
  place.append(h("h2", { "data-answer": "" }, "Jensen: drag the points together and the gap closes"), box, text);
  const figure = plot(box, {
    label: "The concave logarithm with weighted points, their chord and the gap",
    height: 290,
    x: [0, 6],
    y: [-2.4, 2.1],
    xLabel: "w",
    yLabel: "log w (nats)",
  });
  const curve = figure.path({ class: "line faint" });
  const chord = figure.path({ class: "thin faint dashed" });
  const hull = figure.path({ class: "fill evidence" }, figure.behind);
  const guides = figure.path({ class: "hair" });
  const gap = figure.path({ class: "line gap kl", "data-mark": "gap" });
  const above = figure.front.appendChild(
    s("text", { class: "halo evidence", "font-size": 12.5, "data-answer": "numbers" }, "log E[w]"),
  );
  const below = figure.front.appendChild(
    s("text", { class: "halo recon", "font-size": 12.5, "data-answer": "numbers" }, "E[log w]"),
  );
  const xs = Array.from({ length: 200 }, (_, i) => 0.05 + (5.95 * i) / 199);
  const inside = (x) => Math.min(5.9, Math.max(0.1, x));
  const points = () => model.get("points");
  const put = (i, x, weight) =>
    write(model, {
      points: points().map((point, k) => (k === i ? [Number(inside(x).toFixed(2)), weight ?? point[1]] : point)),
    });
  const handles = [0, 1, 2].map((i) =>
    handle(figure, {
      name: `point ${i + 1}`,
      colour: "z",
      axis: "x",
      drag: (x) => put(i, x),
      key: (dx, dy) =>
        put(
          i,
          points()[i][0] + 0.05 * dx,
          dy ? Math.min(0.9, Math.max(0.05, Number((points()[i][1] + 0.05 * dy).toFixed(2)))) : undefined,
        ),
    }),
  );
  const dots = [0, 1, 2].map(() => figure.marks.appendChild(s("circle", { class: "fill solid z" })));
  onWheel(figure, (event) => {
    const near = points()
      .map(([x], i) => [Math.abs(figure.sx(x) - figure.sx(figure.at(event)[0])), i])
      .sort((a, b) => a[0] - b[0])[0][1];
    put(
      near,
      points()[near][0],
      Math.min(0.9, Math.max(0.05, Number((points()[near][1] * Math.exp(-event.deltaY * 0.001)).toFixed(3)))),
    );
  });
  function paint() {
    if (figure.asleep()) return;
    figure.frame();
    set(curve, { d: figure.line(xs, xs.map(Math.log)) });
    const total = points().reduce((sum, [, w]) => sum + w, 0);
    const mean = points().reduce((sum, [x, w]) => sum + x * w, 0) / total;
    const meanLog = points().reduce((sum, [x, w]) => sum + Math.log(x) * w, 0) / total;
    const sorted = [...points()].sort((a, b) => a[0] - b[0]);
    const px = sorted.map(([x]) => x);
    set(chord, { d: figure.line([px[0], px[2]], [Math.log(px[0]), Math.log(px[2])]) });
    set(hull, { d: `${figure.line(px, px.map(Math.log))}Z` });
    points().forEach(([x, w], i) => {
      handles[i].place(x, figure.y[0], `${number(x)}, weight ${number(w / total, 2)}`);
      set(dots[i], { cx: figure.sx(x), cy: figure.sy(Math.log(x)), r: 3 + 12 * (w / total) });
    });
    const at = figure.sx(mean);
    set(guides, { d: `M${at} ${figure.sy(figure.y[0])}V${figure.sy(Math.log(mean))}` });
    set(gap, { d: `M${at} ${figure.sy(meanLog)}V${figure.sy(Math.log(mean))}` });
    set(above, { x: at - 8, y: figure.sy(Math.log(mean)) - 9, "text-anchor": "end" });
    set(below, { x: at + 10, y: figure.sy(meanLog) + 14 });
    const unit = model.get("unit");
    tell(
      text,
      `log E[w] = ${nats(Math.log(mean), unit)} ≥ E[log w] = ${nats(meanLog, unit)}; gap ${nats(Math.max(0, Math.log(mean) - meanLog), unit)} ${unit}. With w = p(x, z)/q(z) and z ~ q, the left side is log p(x), the right side the ELBO. Ctrl+wheel or ↑ ↓ changes a point's weight.`,
    );
  }
  figure.resized = paint;
  return { paint, stop: figure.remove };
}
