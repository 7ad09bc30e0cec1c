// Both densities, dragged by peak, shoulder and body; below them both integrands on the same x axis.

import { askNumber } from "../../core/a11y.js";
import { s, set, tell } from "../../core/dom.js";
import { draggable, handle, onWheel } from "../../core/drag.js";
import { BITS, nats, number, rounded } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { checked } from "../../core/state.js";
import { read, write } from "../../core/store.js";
import { roomy, view } from "../../core/view.js";
import { NAMES, pair, SHAPE, side } from "./state.js";

const POINTS = 320; // a straight piece every three pixels

/** @import { Range, Slots } from "../../core/types.js" */

/** @param {Slots} slots */
export function densities(slots) {
  const { model, page, figure: place, root } = slots;
  const top = plot(place, {
    label: "Densities p and q over x; drag a peak to move, a shoulder to widen",
    height: (w) => Math.min(340, Math.max(210, w * 0.34)),
    x: [-7, 9],
    y: [0, 0.5],
    yLabel: "density",
    reaches: true,
  });
  const low = plot(place, {
    label: "Integrands p log p/q and q log q/p over x",
    height: (w) => Math.min(230, Math.max(160, w * 0.22)),
    x: [-7, 9],
    y: [-0.2, 0.4],
    xLabel: "x",
    yLabel: "nats per unit of x",
  });
  const state = () => read(model, NAMES);
  const put = (name, value) => write(model, { [name]: checked(page, name, value)[0] });

  // bodies lie below all handles: a handle is never out of reach under the other body
  const bodies = top.front.appendChild(s("g"));
  const sides = {};
  for (const which of ["q", "p"]) {
    const body = top.path({ class: `fill body-fill ${which}`, "data-mark": which }, top.behind);
    const curve = top.path({ class: `line ${which}`, "data-mark": which });
    const grip = top.path({ class: "body-grip", "aria-hidden": "true" }, bodies);
    const start = () => ({
      mu: model.get(`mu_${which}`),
      sigma: model.get(`sigma_${which}`),
      mu2: model.get(`mu2_${which}`),
      low: model.get(`low_${which}`),
      high: model.get(`high_${which}`),
    });
    draggable(grip, {
      start(event) {
        top.hold({ x: true });
        return { ...start(), at: top.at(event), py: event.clientY };
      },
      end: () => top.release(),
      move(event, from) {
        const [x] = top.at(event);
        const step = 10 ** (Math.floor(Math.log10(top.x[1] - top.x[0])) - 3);
        const moved = x - from.at[0];
        const changes = {
          [`mu_${which}`]: rounded(from.mu + moved, step),
          [`sigma_${which}`]: Number((from.sigma * Math.exp((event.clientY - from.py) / 120)).toPrecision(3)),
        };
        const family = model.get(`family_${which}`);
        if (family === "mixture") changes[`mu2_${which}`] = rounded(from.mu2 + moved, step);
        if (family === "truncated")
          Object.assign(changes, {
            [`low_${which}`]: rounded(from.low + moved, step),
            [`high_${which}`]: rounded(from.high + moved, step),
          });
        for (const [name, value] of Object.entries(changes)) put(name, value);
      },
    });
    sides[which] = { body, curve, grip, handles: handles(which) };
  }

  function handles(which) {
    const grain = () => 10 ** (Math.floor(Math.log10(top.x[1] - top.x[0])) - 3);
    const typed = async (name, label) => {
      const value = await askNumber(root, label, model.get(name));
      if (value === null) return;
      const [fine, note] = checked(page, name, value);
      if (note) slots.say(note);
      write(model, { [name]: fine });
    };
    const mover = (name, label, mark) => {
      const made = handle(top, {
        name: label,
        colour: which,
        axis: "x",
        drag: (x) => put(name, rounded(x, grain())),
        key: (dx, dy) => put(name, rounded(model.get(name) + 0.05 * (dx || dy), 0.001)),
        type: () => typed(name, label),
      });
      made.element.dataset.mark = mark;
      return made;
    };
    const widener = (name, centre, label, mark) => {
      const made = handle(top, {
        name: label,
        colour: which,
        shape: "diamond",
        radius: 6,
        axis: "x",
        drag: (x) => put(name, Number(Math.max(1e-3, x - model.get(centre)).toPrecision(3))),
        key: (dx, dy) => put(name, Number((model.get(name) * 1.03 ** (dx || dy)).toPrecision(4))),
        type: () => typed(name, label),
      });
      made.element.dataset.mark = mark;
      return made;
    };
    const edge = (name, label) =>
      handle(top, {
        name: label,
        colour: which,
        shape: "bar",
        radius: 6,
        axis: "x",
        drag: (x) => put(name, rounded(x, grain())),
        key: (dx, dy) => put(name, rounded(model.get(name) + 0.05 * (dx || dy), 0.001)),
        type: () => typed(name, label),
      });
    return {
      mu: mover(`mu_${which}`, `mean of ${which}`, `mu_${which}`),
      sigma: widener(`sigma_${which}`, `mu_${which}`, `standard deviation of ${which}`, `sigma_${which}`),
      mu2: mover(`mu2_${which}`, `mean of ${which}'s second bump`, `mu2_${which}`),
      sigma2: widener(`sigma2_${which}`, `mu2_${which}`, `width of ${which}'s second bump`, `sigma2_${which}`),
      low: edge(`low_${which}`, `lower end of ${which}`),
      high: edge(`high_${which}`, `upper end of ${which}`),
    };
  }

  onWheel(top, (event) => {
    const [x, y] = top.at(event);
    const [p, q] = pair(state());
    // the nearer curve
    const which = Math.abs(Math.exp(p.log(x)) - y) <= Math.abs(Math.exp(q.log(x)) - y) ? "p" : "q";
    put(`sigma_${which}`, Number((model.get(`sigma_${which}`) * Math.exp(-event.deltaY * 0.0012)).toPrecision(3)));
  });

  const lines = {
    pq: low.path({ class: "line p", "data-mark": "pq" }),
    qp: low.path({ class: "line q dashed", "data-mark": "qp" }),
    pqUp: low.path({ class: "fill p", "data-mark": "pq" }, low.behind),
    pqDown: low.path({ class: "fill faint", "data-mark": "pq" }, low.behind),
    zero: low.path({ class: "thin faint" }, low.behind),
    runP: low.path({ class: "thin p running" }),
    runQ: low.path({ class: "thin q running dashed" }),
    bars: top.path({ class: "thin p" }),
    barsQ: top.path({ class: "thin q" }),
  };
  const hairs = [top, low].map((f) => f.path({ class: "hair" }, f.front));
  const labels = ["p", "q"].map((which) =>
    top.front.appendChild(s("text", { class: `halo ${which}`, "font-weight": 600 }, which)),
  );
  const legend = low.front.appendChild(s("text", { class: "halo faint", y: 14, "font-size": 12 }));
  const reading = slots.reading;

  let grid = [];
  let ys = {};
  let current = null;
  /** @returns {{x: Range, y: Range}} */
  const wanted = () => {
    const now = state();
    let x = [Infinity, -Infinity];
    for (const which of ["p", "q"]) {
      const { family, mu, sigma, low: a, high: b, mu2, sigma2 } = side(now, which);
      const ends =
        family === "truncated"
          ? [Math.max(mu - 4 * sigma, a - 0.3 * (b - a)), Math.min(mu + 4 * sigma, b + 0.3 * (b - a))]
          : [mu - 4 * sigma, mu + 4 * sigma];
      if (family === "truncated" && ends[1] <= ends[0]) [ends[0], ends[1]] = [a - 1, b + 1];
      if (family === "mixture") ends.push(mu2 - 4 * sigma2, mu2 + 4 * sigma2);
      x = [Math.min(x[0], ...ends), Math.max(x[1], ...ends)];
    }
    const range = roomy(x);
    const [p, q] = pair(now);
    let peak = 0;
    for (const d of [p, q]) {
      for (const [m, w] of d.parts)
        for (let k = -3; k <= 3; k += 0.25) peak = Math.max(peak, Math.exp(d.log(m + k * w)));
      for (const end of d.support) if (Number.isFinite(end)) peak = Math.max(peak, Math.exp(d.log(end)));
    }
    return { x: range, y: [0, peak * 1.14 || 1] };
  };
  const axes = view(wanted, () => paint(), top);
  const changed = () => axes.changed();
  for (const name of SHAPE) model.on(`change:${name}`, changed);

  function paint() {
    const asked = axes.get();
    top.span(asked.x, asked.y);
    const { x } = top; // while a hand holds it, not what the state asks for
    if (!(top.width > 0)) return;
    const [p, q] = pair(state());
    // a grid of the picture, and points of each bump so that a needle is not missed between two of them
    grid = Array.from({ length: POINTS + 1 }, (_, i) => x[0] + ((x[1] - x[0]) * i) / POINTS);
    for (const d of [p, q]) {
      for (const [m, w] of d.parts) if (w < (x[1] - x[0]) / 40) for (let k = -4; k <= 4; k += 0.2) grid.push(m + k * w);
      for (const end of d.support)
        if (Number.isFinite(end)) grid.push(end - 1e-9 * (1 + Math.abs(end)), end, end + 1e-9 * (1 + Math.abs(end)));
    }
    grid = grid.filter((v) => v >= x[0] && v <= x[1]).sort((a, b) => a - b);
    const lp = grid.map(p.log);
    const lq = grid.map(q.log);
    const scale = model.get("unit") === "bits" ? BITS : 1;
    const term = (a, b) => (a === -Infinity ? 0 : b === -Infinity ? NaN : Math.exp(a) * (a - b) * scale);
    ys = {
      p: lp.map(Math.exp),
      q: lq.map(Math.exp),
      pq: lp.map((v, i) => term(v, lq[i])),
      qp: lq.map((v, i) => term(v, lp[i])),
    };
    top.frame();
    ["p", "q"].forEach((which, i) => {
      const part = sides[which];
      const d = which === "p" ? p : q;
      const outline = top.area(grid, ys[which]);
      set(part.body, { d: outline });
      set(part.grip, { d: outline });
      set(part.curve, { d: top.line(grid, ys[which]) });
      const now = side(state(), which);
      const at = (v) => Math.exp(d.log(v));
      const shown = (made, on, ...where) => {
        made.element.style.display = on ? "" : "none";
        if (on) made.place(...where);
      };
      const { handles: h } = part;
      shown(h.mu, true, now.mu, at(now.mu) || 0, `${number(now.mu)}`);
      shown(h.sigma, true, now.mu + now.sigma, at(now.mu + now.sigma) || 0, `${number(now.sigma)}`);
      shown(h.mu2, now.family === "mixture", now.mu2, at(now.mu2), number(now.mu2));
      shown(h.sigma2, now.family === "mixture", now.mu2 + now.sigma2, at(now.mu2 + now.sigma2), number(now.sigma2));
      shown(h.low, now.family === "truncated", now.low, 0, number(now.low));
      shown(h.high, now.family === "truncated", now.high, 0, number(now.high));
      const mode = now.mu - now.sigma * 1.05;
      set(labels[i], {
        x: Math.max(top.margin.left + 4, Math.min(top.margin.left + top.width - 12, top.sx(mode))),
        y: Math.max(16, top.sy(at(mode) || 0) - 8),
        "text-anchor": "end",
      });
    });
    paintIntegrands(x);
    if (current !== null) hair(current);
  }

  function paintIntegrands(x) {
    const finite = [...ys.pq, ...ys.qp].filter(Number.isFinite);
    let range = [Math.min(0, ...finite), Math.max(1e-6, ...finite)];
    const running = model.get("running");
    const sums = running ? { pq: cumulate(ys.pq), qp: cumulate(ys.qp) } : {};
    if (running) range = [Math.min(range[0], ...sums.pq, ...sums.qp), Math.max(range[1], ...sums.pq, ...sums.qp)];
    const pad = 0.05 * (range[1] - range[0]);
    low.span(x, roomy([range[0] - pad, range[1] + pad]));
    low.frame();
    set(lines.pq, { d: low.line(grid, ys.pq) });
    set(lines.qp, { d: low.line(grid, ys.qp) });
    set(lines.pqUp, {
      d: low.area(
        grid,
        ys.pq.map((v) => Math.max(0, v || 0)),
      ),
    });
    set(lines.pqDown, {
      d: low.area(
        grid,
        ys.pq.map((v) => Math.min(0, v || 0)),
      ),
    });
    set(lines.zero, { d: low.line(x, [0, 0]) });
    set(lines.runP, { d: running ? low.line(grid, sums.pq) : "" });
    set(lines.runQ, { d: running ? low.line(grid, sums.qp) : "" });
    const unit = model.get("unit");
    const parts = areas(ys.pq);
    const area = low.width > 420 ? `, area +${number(parts[0], 3)} − ${number(-parts[1], 3)} ${unit}` : "";
    tell(legend, `— p log p/q${area}    - - q log q/p${running ? "    thin: running integrals" : ""}`);
    set(legend, { x: low.margin.left + 4 });
  }

  const cumulate = (values) => {
    let sum = 0;
    return values.map((v, i) => (sum += i ? 0.5 * ((v || 0) + (values[i - 1] || 0)) * (grid[i] - grid[i - 1]) : 0));
  };
  const areas = (values) => {
    const sums = [0, 0];
    values.forEach((v, i) => {
      if (i && Number.isFinite(v)) sums[v > 0 ? 0 : 1] += v * (grid[i] - grid[i - 1]);
    });
    return sums;
  };

  function hair(x) {
    current = x;
    const [p, q] = pair(state());
    for (const [i, f] of [top, low].entries()) {
      const at = f.sx(x).toFixed(1);
      set(hairs[i], { d: `M${at} ${f.margin.top}V${f.margin.top + f.height}` });
    }
    const [a, b] = [p.log(x), q.log(x)];
    const unit = model.get("unit");
    const term = (u, v) => (u === -Infinity ? 0 : Math.exp(u) * (u - v));
    tell(
      reading,
      `x = ${number(x, 3)}:  p ${number(Math.exp(a), 3)},  q ${number(Math.exp(b), 3)},  log p/q ${nats(a - b, unit, 3)},  p log p/q ${nats(term(a, b), unit, 3)},  q log q/p ${nats(term(b, a), unit, 3)}`,
    );
  }
  const unhair = () => {
    current = null;
    for (const line of hairs) set(line, { d: "" });
    tell(reading, slots.idle);
  };
  for (const f of [top, low]) {
    f.root.addEventListener("pointermove", (event) => {
      if (document.querySelector(".dragging")) return;
      const [x] = f.at(event);
      if (x >= f.x[0] && x <= f.x[1]) hair(x);
    });
    f.root.addEventListener("pointerleave", unhair);
    f.resized = () => paint();
  }

  return {
    top,
    paint,
    stop() {
      axes.stop();
      for (const name of SHAPE) model.off(`change:${name}`, changed);
      top.remove();
      low.remove();
    },
  };
}
