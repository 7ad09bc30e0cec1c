// q descends four divergences to p at once: the same start, the same steps, different ends.

import { h, s, set } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { nats, number } from "../../core/format.js";
import { density, integrals } from "../../core/families.js";
import { normalLogPdf } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { contours } from "../../core/raster.js";
import { checked } from "../../core/state.js";
import { read, write } from "../../core/store.js";
import { roomy } from "../../core/view.js";
import { NAMES, pair, PRESETS, SHAPE } from "./state.js";

const GOALS = [
  { name: "KL(p‖q)", key: "pq", colour: "p", dash: "", term: (lp, lq) => Math.exp(lp) * (lp - lq) },
  { name: "KL(q‖p)", key: "qp", colour: "q", dash: "7 4", term: (lp, lq) => Math.exp(lq) * (lq - lp) },
  { name: "Jensen–Shannon", key: "js", colour: "kl", dash: "2 3", term: (lp, lq) => mixed(lp, lq) },
  {
    name: "Hellinger²",
    key: "hellinger",
    colour: "recon",
    dash: "10 3 2 3",
    term: (lp, lq) => 0.5 * (Math.exp(lp / 2) - Math.exp(lq / 2)) ** 2,
  },
];
const STARTS = [
  { name: "Start beside a bump", q: { mu_q: -0.8, sigma_q: 0.8 } },
  { name: "Start on the ridge", q: { mu_q: 0, sigma_q: 2.5 } },
];
const RATE = 0.06;
const TOGETHER = 4; // steps for each frame of a quick run

function mixed(lp, lq) {
  const m = Math.max(lp, lq) + Math.log1p(Math.exp(-Math.abs(lp - lq))) - Math.LN2;
  return 0.5 * (Math.exp(lp) * (lp - m) + Math.exp(lq) * (lq - m));
}

export function fit(slots, place) {
  const { model, page } = slots;
  const put = (name, value) => write(model, { [name]: checked(page, name, value)[0] });
  const state = () => read(model, NAMES);
  if (model.get("family_p") === "normal")
    slots.load({ ...PRESETS.find((preset) => preset.state.family_p === "mixture").state, view: "fit", ...STARTS[0].q });
  let goal = 1;
  let running = 0;
  let racers = [];
  let lp = [];
  let xs = [];
  let key = "";
  const button = (text, onclick, kind = "chip") => h("button", { type: "button", class: kind, onclick }, text);
  const play = button("▶ Play", () => toggle(TOGETHER), "primary");
  const slow = button("Slow", () => toggle(0.25));
  const surfaceOf = GOALS.map((g, i) =>
    h("button", { type: "button", role: "radio", "aria-checked": i === goal, onclick: () => choose(i) }, g.name),
  );
  const rows = h("tbody");
  const [curves, surface] = [h("div"), h("div")];
  place.append(
    h(
      "div",
      { class: "row" },
      play,
      slow,
      button("Step", () => {
        stop();
        step();
        paint();
      }),
      button("Start again", restart),
      ...STARTS.map(({ name, q }) => button(name, () => write(model, q))),
    ),
    curves,
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        {},
        h("h2", {}, "Surface of"),
        h("div", { class: "choice", role: "radiogroup", "aria-label": "Surface of" }, ...surfaceOf),
        surface,
      ),
      h(
        "div",
        {},
        h("h2", {}, "Where each of them is"),
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h("tr", {}, ...["descending", "µ", "σ", "value", "steps"].map((t) => h("th", { scope: "col" }, t))),
          ),
          rows,
        ),
        h(
          "p",
          { class: "caption" },
          "KL(p‖q) covers all of p, because q = 0 where p > 0 costs without bound. KL(q‖p) settles on one bump: which one depends on the start (drag ●). Crosses are all minima of the surface shown.",
        ),
      ),
    ),
  );
  const top = plot(curves, {
    label: "Density p and the four fitted q",
    height: 260,
    x: [-6, 6],
    y: [0, 0.5],
    xLabel: "x",
    yLabel: "density",
  });
  const body = top.path({ class: "fill faint" }, top.behind);
  const target = top.path({ class: "line ink" });
  const fitted = GOALS.map((g) => top.path({ class: `line ${g.colour}`, "stroke-dasharray": g.dash }));
  const map = plot(surface, {
    label: "The divergence over mean and log standard deviation of q",
    height: 300,
    x: [-5, 5],
    y: [-1.6, 1.6],
    xLabel: "µ of q",
    yLabel: "ln σ of q",
  });
  const levels = map.path({ class: "thin faint" }, map.behind);
  const trails = GOALS.map((g) => map.path({ class: `line ${g.colour}`, "stroke-dasharray": g.dash }));
  const ends = GOALS.map((g) => map.marks.appendChild(s("circle", { r: 4, class: `fill solid ${g.colour}` })));
  const minima = map.path({ class: "line ink" });
  const start = handle(map, {
    name: "start of the descent",
    colour: "q",
    drag: (x, y) => (put("mu_q", Number(x.toFixed(2))), put("sigma_q", Number(Math.exp(y).toPrecision(3)))),
    key: (dx, dy) => (
      put("mu_q", Number((model.get("mu_q") + 0.05 * dx).toFixed(3))),
      put("sigma_q", Number((model.get("sigma_q") * 1.03 ** dy).toPrecision(4)))
    ),
  });

  const value = (i, m, ls) => {
    const sd = Math.exp(ls);
    let sum = 0;
    for (let k = 0; k < xs.length; k++) sum += GOALS[i].term(lp[k], normalLogPdf(xs[k], m, sd));
    return sum * (xs[1] - xs[0]);
  };
  /** As the cards say it: integrated over all of the support, not over the picture. */
  function shown(i, mu, ls) {
    const found = integrals(pair(state())[0], density({ family: "normal", mu, sigma: Math.exp(ls) }))[GOALS[i].key];
    if (i === 3) return number(found ** 2);
    return found < 1e-9 ? "< 10⁻⁹" : nats(found, model.get("unit"));
  }
  function prepare() {
    const now = state();
    const wanted = JSON.stringify(SHAPE.map((name) => now[name]));
    if (wanted === key) return;
    key = wanted;
    const [p] = pair(now);
    const range = roomy([
      Math.min(...p.parts.map(([m, w]) => m - 4.5 * w)),
      Math.max(...p.parts.map(([m, w]) => m + 4.5 * w)),
    ]);
    const width = range[1] - range[0];
    // beyond the picture q may reach far; below exp(-80), p counts as that, so that every value is finite
    xs = Array.from({ length: 321 }, (_, i) => range[0] - 0.5 * width + (2 * width * i) / 320);
    lp = xs.map((x) => Math.max(-80, p.log(x)));
    top.span(range, [0, 1.2 * Math.exp(Math.max(...lp))]);
    const scale = Math.log(width / 12);
    map.span(range, [scale - 2.1, scale + 1.5]);
    restart();
    draw();
  }
  function restart() {
    stop();
    racers = GOALS.map(() => ({
      at: [model.get("mu_q"), Math.log(model.get("sigma_q"))],
      m: [0, 0],
      v: [0, 0],
      steps: 0,
      trail: [[model.get("mu_q"), Math.log(model.get("sigma_q"))]],
    }));
    paint();
  }
  function step() {
    racers.forEach((racer, i) => {
      const [a, b] = racer.at;
      const d = 1e-4;
      const gradient = [
        (value(i, a + d, b) - value(i, a - d, b)) / (2 * d),
        (value(i, a, b + d) - value(i, a, b - d)) / (2 * d),
      ];
      racer.steps++;
      // Adam; its step shrinks so that the ends do not circle
      const rate = RATE / Math.sqrt(1 + racer.steps / 60);
      racer.at = racer.at.map((now, k) => {
        racer.m[k] = 0.9 * racer.m[k] + 0.1 * gradient[k];
        racer.v[k] = 0.99 * racer.v[k] + 0.01 * gradient[k] ** 2;
        const size = racer.m[k] / (1 - 0.9 ** racer.steps) / (Math.sqrt(racer.v[k] / (1 - 0.99 ** racer.steps)) + 1e-8);
        return now - rate * size;
      });
      racer.trail.push([...racer.at]);
    });
  }
  let rest = 0;
  function toggle(speed) {
    if (running) return stop();
    play.textContent = "■ Stop";
    const go = () => {
      rest += speed;
      for (; rest >= 1; rest--) step();
      paint();
      running = racers[0].steps < 600 ? requestAnimationFrame(go) : 0;
      if (!running) play.textContent = "▶ Play";
    };
    running = requestAnimationFrame(go);
    return undefined;
  }
  function stop() {
    cancelAnimationFrame(running);
    running = 0;
    play.textContent = "▶ Play";
  }
  function choose(i) {
    goal = i;
    surfaceOf.forEach((b, k) => set(b, { "aria-checked": k === i }));
    draw();
    paint();
  }
  function draw() {
    if (!(map.width > 0)) return;
    map.frame();
    const low = bestOf(goal);
    const floor = Math.min(...low.map((m) => m.value));
    set(levels, {
      d: contours(
        map,
        (m, ls) => value(goal, m, ls),
        [0.02, 0.06, 0.15, 0.3, 0.6, 1, 1.8, 3, 6, 12].map((v) => floor + v * (goal < 2 ? 1 : 0.25)),
        36,
        28,
      ),
    });
    set(minima, { d: low.map(({ at: [x, y] }) => `M${map.sx(x) - 5} ${map.sy(y) - 5}l10 10m0 -10l-10 10`).join("") });
  }
  /** All local minima that a coarse grid shows, refined by halving steps. */
  function bestOf(i) {
    const [nx, ny] = [24, 16];
    const at = (a, b) => [
      map.x[0] + ((map.x[1] - map.x[0]) * (a + 0.5)) / nx,
      map.y[0] + ((map.y[1] - map.y[0]) * (b + 0.5)) / ny,
    ];
    const values = Array.from({ length: nx }, (_, a) => Array.from({ length: ny }, (__, b) => value(i, ...at(a, b))));
    const found = [];
    for (let a = 0; a < nx; a++) {
      for (let b = 0; b < ny; b++) {
        let least = true;
        for (let da = -1; da <= 1; da++)
          for (let db = -1; db <= 1; db++) if (values[a + da]?.[b + db] < values[a][b]) least = false;
        if (!least) continue;
        let [x, y] = at(a, b);
        for (let size = 0.3; size > 1e-3; size *= 0.5) {
          for (let n = 0; n < 12; n++) {
            const next = [
              [x + size, y],
              [x - size, y],
              [x, y + size],
              [x, y - size],
            ].find(([u, v]) => value(i, u, v) < value(i, x, y));
            if (!next) break;
            [x, y] = next;
          }
        }
        if (!found.some((f) => Math.hypot(f.at[0] - x, f.at[1] - y) < 0.05))
          found.push({ at: [x, y], value: value(i, x, y) });
      }
    }
    return found;
  }
  function paint() {
    prepare();
    if (!(top.width > 0)) return;
    top.frame();
    map.frame();
    const grid = Array.from({ length: 301 }, (_, i) => top.x[0] + ((top.x[1] - top.x[0]) * i) / 300);
    const [p] = pair(state());
    const py = grid.map((x) => Math.exp(p.log(x)));
    set(target, { d: top.line(grid, py) });
    set(body, { d: top.area(grid, py) });
    start.place(
      model.get("mu_q"),
      Math.log(model.get("sigma_q")),
      `mean ${number(model.get("mu_q"))}, width ${number(model.get("sigma_q"))}`,
    );
    racers.forEach(({ at: [m, ls], trail }, i) => {
      set(fitted[i], {
        d: top.line(
          grid,
          grid.map((x) => Math.exp(normalLogPdf(x, m, Math.exp(ls)))),
        ),
      });
      set(trails[i], {
        d: map.line(
          trail.map((t) => t[0]),
          trail.map((t) => t[1]),
        ),
      });
      set(ends[i], { cx: map.sx(m), cy: map.sy(ls) });
    });
    rows.replaceChildren(
      ...racers.map(({ at: [m, ls], steps }, i) =>
        h(
          "tr",
          {},
          ...[GOALS[i].name, number(m, 3), number(Math.exp(ls), 3), shown(i, m, ls), String(steps)].map((text, k) =>
            h("td", k ? {} : { class: `${GOALS[i].colour}-ink` }, text),
          ),
        ),
      ),
    );
  }
  top.resized = paint;
  map.resized = () => {
    draw();
    paint();
  };
  prepare();
  return {
    paint,
    stop() {
      stop();
      top.remove();
      map.remove();
    },
  };
}
