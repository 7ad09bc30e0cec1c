// q(z) over the true posterior, the terms of the bound as a staircase, and the ELBO as a map with q as a dot.

import { h, s, set, tell } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { BITS, nats, number } from "../../core/format.js";
import { normalLogPdf } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { contours } from "../../core/raster.js";
import { checked } from "../../core/state.js";
import { read, write } from "../../core/store.js";
import { roomy } from "../../core/view.js";
import { elboAt, logEvidence, logJoint, terms } from "./model.js";

const ZS = Array.from({ length: 321 }, (_, i) => -4 + (8 * i) / 320);

/** @param {import("../../core/types.js").Slots} slots @param {string[]} names of the state */
export function bound(slots, names) {
  const { model, page } = slots;
  const state = () => read(model, names);
  const put = (changes) => {
    for (const [name, value] of Object.entries(changes)) write(model, { [name]: checked(page, name, value)[0] });
  };
  const [one, two, three] = [h("div"), h("div"), h("div")];
  slots.figure.append(
    h("div", { class: "panel" }, h("h2", { "data-answer": "" }, "Drag q(z) onto the posterior p(z|x)"), one),
    h(
      "div",
      { class: "panel" },
      h("h2", { "data-answer": "" }, "log p(x) = ELBO + KL(q ‖ p(z|x)): the line does not move, the gap is the KL"),
      two,
    ),
  );
  const top = plot(one, {
    label: "Prior, posterior and q over z",
    height: 250,
    x: [-4, 4],
    y: [0, 1],
    xLabel: "z",
    yLabel: "density",
  });
  const prior = top.path({ class: "line faint dashed", "data-mark": "prior" });
  const posteriorFill = top.path({ class: "fill evidence" }, top.behind);
  const posterior = top.path({ class: "line evidence", "data-mark": "posterior" });
  const qFill = top.path({ class: "fill q", "data-mark": "q" }, top.behind);
  const q = top.path({ class: "line q", "data-mark": "q" });
  const labels = [
    ["faint", "p(z)"],
    ["evidence", "p(z|x)"],
    ["q", "q(z)"],
  ].map(([c, text]) => top.front.appendChild(s("text", { class: `halo ${c}`, "font-weight": 600 }, text)));
  const mean = handle(top, {
    name: "mean of q",
    colour: "q",
    axis: "x",
    drag: (x) => put({ m: Number(x.toFixed(3)) }),
    key: (dx, dy) => put({ m: Number((model.get("m") + 0.05 * (dx || dy)).toFixed(4)) }),
  });
  const width = handle(top, {
    name: "standard deviation of q",
    colour: "q",
    shape: "diamond",
    radius: 6,
    axis: "x",
    drag: (x) => put({ v: Number(Math.max(0.02, x - model.get("m")).toPrecision(3)) }),
    key: (dx, dy) => put({ v: Number((model.get("v") * 1.03 ** (dx || dy)).toPrecision(4)) }),
  });
  const stairs = plot(two, {
    label: "Terms of the bound in nats",
    height: 176,
    x: [-5, 0],
    y: [0, 3],
    xLabel: "nats",
    margin: { left: 14, top: 18 },
    yTicks: () => [],
  });
  const rows = [
    ["recon", "− reconstruction error", "− error"],
    ["q", "− KL(q ‖ p(z))", "− KL"],
    ["kl", "+ KL(q ‖ p(z|x)), the gap", "+ gap"],
  ].map(([colour, long, short]) => ({
    bar: stairs.marks.appendChild(s("rect", { class: `fill solid ${colour}` })),
    text: stairs.front.appendChild(s("text", { class: "halo", "font-size": 12.5 })),
    long,
    short,
  }));
  const evidence = stairs.path({ class: "line evidence" });
  const elboLine = stairs.path({ class: "line ink dashed" });
  const named = ["evidence", ""].map((c) =>
    stairs.front.appendChild(s("text", { class: `halo ${c}`, "font-size": 12.5, "text-anchor": "middle" })),
  );

  const map = plot(three, {
    label: "The ELBO over mean and log standard deviation of q",
    height: 270,
    x: [-3, 3],
    y: [-3, 1],
    xLabel: "µ of q",
    yLabel: "ln σ of q",
  });
  const levels = map.path({ class: "thin faint" }, map.behind);
  const best = map.path({ class: "line ink" });
  const dot = handle(map, {
    name: "q on the map of the ELBO",
    colour: "q",
    drag: (x, y) => put({ m: Number(x.toFixed(3)), v: Number(Math.exp(y).toPrecision(3)) }),
    key: (dx, dy) =>
      put({
        m: Number((model.get("m") + 0.05 * dx).toFixed(4)),
        v: Number((model.get("v") * 1.03 ** dy).toPrecision(4)),
      }),
  });
  let drawn = "";

  function paint() {
    const now = state();
    const found = terms(now);
    if (!(top.width > 0)) return found;
    const log = ZS.map((z) => Math.exp(logJoint(now, z) - found.evidence));
    const qs = ZS.map((z) => Math.exp(normalLogPdf(z, now.m, now.v)));
    // q may be as narrow as it likes: it leaves the figure rather than flatten the posterior
    top.span(undefined, roomy([0, 1.1 * Math.max(...log, Math.min(Math.max(...qs), 2.2 * Math.max(...log)))]));
    top.frame();
    set(prior, {
      d: top.line(
        ZS,
        ZS.map((z) => Math.exp(normalLogPdf(z, 0, 1))),
      ),
    });
    set(posterior, { d: top.line(ZS, log) });
    set(posteriorFill, { d: top.area(ZS, log) });
    set(q, { d: top.line(ZS, qs) });
    set(qFill, { d: top.area(ZS, qs) });
    const peak = 1 / (now.v * Math.sqrt(2 * Math.PI));
    mean.place(now.m, peak, number(now.m));
    width.place(now.m + now.v, peak * Math.exp(-0.5), number(now.v));
    const mode = ZS[log.indexOf(Math.max(...log))];
    set(labels[0], { x: top.sx(-2.4), y: top.sy(Math.exp(normalLogPdf(-2.4, 0, 1))) - 8 });
    set(labels[1], { x: top.sx(mode) + 10, y: top.sy(Math.max(...log)) + 4 });
    set(labels[2], { x: top.sx(now.m) + 14, y: Math.max(16, top.sy(Math.min(peak, top.y[1])) + 22) });
    paintStairs(found);
    paintMap(now);
    return found;
  }

  function paintStairs({ evidence: e, error, elbo, gap }) {
    const scale = model.get("unit") === "bits" ? BITS : 1;
    const unit = model.get("unit");
    const spans = [
      [0, -error],
      [-error, elbo],
      [elbo, elbo + gap],
    ].map((pair) => pair.map((v) => v * scale));
    const all = [...spans.flat(), e * scale];
    const low = Math.min(...all);
    const high = Math.max(0, ...all);
    const step = 10 ** Math.floor(Math.log10(high - low || 1)) / 2;
    stairs.span(
      [Math.floor((low - 0.03 * (high - low)) / step) * step, Math.ceil((high + 1e-9) / step) * step],
      undefined,
    );
    stairs.frame();
    spans.forEach(([a, b], i) => {
      const { bar, text, long, short } = rows[i];
      const words = stairs.width < 520 ? short : long;
      const [left, right] = [stairs.sx(Math.min(a, b)), stairs.sx(Math.max(a, b))];
      set(bar, {
        x: left,
        width: Math.max(1, right - left),
        y: stairs.sy(2.82 - i),
        height: 0.64 * (stairs.height / 3),
      });
      const room = stairs.margin.left + stairs.width;
      const after = right + 8 + 7.2 * (words.length + 8) < room;
      const inner = right - left > 7.2 * (words.length + 8);
      set(text, {
        x: inner ? left + 8 : after ? right + 8 : left - 8,
        y: stairs.sy(2.5 - i) + 4,
        "text-anchor": inner || after ? "start" : "end",
        class: inner ? "inside" : "halo",
      });
      tell(text, `${words} ${nats(Math.abs(b - a) / scale, unit)}`);
    });
    const vertical = (line, at, label, text, up) => {
      set(line, { d: `M${stairs.sx(at)} ${stairs.margin.top - 4}V${stairs.margin.top + stairs.height}` });
      set(label, { x: Math.min(stairs.margin.left + stairs.width - 50, Math.max(60, stairs.sx(at))), y: up });
      tell(label, text);
    };
    const close = Math.abs(stairs.sx(e * scale) - stairs.sx(elbo * scale)) < 130;
    vertical(evidence, e * scale, named[0], `log p(x) ${nats(e, unit)}`, 11);
    vertical(elboLine, elbo * scale, named[1], close ? "" : `ELBO ${nats(elbo, unit)}`, 11);
  }

  function paintMap(now) {
    if (map.asleep()) return;
    const key = `${now.model},${now.x},${now.w},${now.s},${map.width}`;
    if (key !== drawn) {
      drawn = key;
      map.frame();
      const top_ = logEvidence(now);
      set(levels, {
        d: contours(
          map,
          (m, lv) => elboAt(now, m, Math.exp(lv)) - top_,
          [-0.02, -0.1, -0.3, -0.7, -1.5, -3, -6, -12, -25, -50],
          66,
          50,
        ),
      });
      set(best, {
        d: maxima(now)
          .map(([x, y]) => `M${map.sx(x) - 5} ${map.sy(y) - 5}l10 10m0 -10l-10 10`)
          .join(""),
      });
    }
    dot.place(now.m, Math.log(now.v), `mean ${number(now.m)}, width ${number(now.v)}`);
  }

  function maxima(now) {
    const at = (m, lv) => elboAt(now, m, Math.exp(lv));
    const ends = [-1.5, 0.01, 1.5].map((m) => {
      let here = [m, -0.5];
      for (let size = 0.3; size > 1e-4; size *= 0.5) {
        for (let n = 0; n < 40; n++) {
          const [x, y] = here;
          const next = [
            [x + size, y],
            [x - size, y],
            [x, y + size],
            [x, y - size],
          ].find(([u, v]) => at(u, v) > at(x, y));
          if (!next) break;
          here = next;
        }
      }
      return here;
    });
    return ends.filter((a, i) => ends.findIndex((b) => Math.hypot(a[0] - b[0], a[1] - b[1]) < 0.02) === i);
  }

  const snap = () => {
    const now = state();
    const top_ = maxima(now).sort((a, b) => elboAt(now, b[0], Math.exp(b[1])) - elboAt(now, a[0], Math.exp(a[1])))[0];
    write(model, { m: Number(top_[0].toFixed(4)), v: Number(Math.exp(top_[1]).toPrecision(5)) });
  };
  const again = () => slots.repaint?.();
  for (const f of [top, stairs, map]) f.resized = again;
  return { paint, snap, map: three, stop: () => [top, stairs, map].forEach((f) => f.remove()) };
}
