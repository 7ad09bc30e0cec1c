// Three normals as dots in the half-plane of mean and width, and their sides as a triangle of sticks.

import { h, s, set, tell } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { number } from "../../core/format.js";
import { normalLogPdf } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { checked } from "../../core/state.js";
import { write } from "../../core/store.js";
import { roomy } from "../../core/view.js";

const WHO = ["p", "q", "r"];

/**
 * @param {import("../../core/types.js").Slots} slots
 * @param {() => import("./divergences.js").Normal[]} triple
 */
export function plane(slots, triple) {
  const { model, page } = slots;
  const [left, right, below] = [h("div"), h("div"), h("div")];
  slots.figure.append(
    h(
      "div",
      { class: "columns" },
      h("div", { class: "panel" }, h("h2", {}, "Three normals: drag the dots"), left),
      h("div", { class: "panel", "data-answer": "numbers" }, h("h2", {}, "Their distances as sticks"), right),
    ),
    below,
  );
  const map = plot(left, {
    label: "Means and standard deviations of p, q, r",
    height: 300,
    x: [-4, 4],
    y: [0, 2.6],
    xLabel: "mean µ",
    yLabel: "standard deviation σ",
    grid: true,
    reaches: true,
    floor: true,
  });
  const edges = [
    ["p", "q"],
    ["q", "r"],
    ["p", "r"],
  ].map((pair) => ({
    pair,
    path: map.path({ class: pair.join("") === "pr" ? "line ink" : "line faint" }),
    text: map.front.appendChild(s("text", { class: "halo", "font-size": 12, "text-anchor": "middle" })),
  }));
  const dots = WHO.map((who) =>
    handle(map, {
      name: `distribution ${who}`,
      colour: who,
      radius: 8,
      drag: (x, y) =>
        put({ [`mu_${who}`]: Number(x.toFixed(2)), [`sigma_${who}`]: Number(Math.max(0.05, y).toFixed(2)) }),
      key: (dx, dy) =>
        put({
          [`mu_${who}`]: Number((model.get(`mu_${who}`) + 0.05 * dx).toFixed(3)),
          [`sigma_${who}`]: Number((model.get(`sigma_${who}`) + 0.02 * dy).toFixed(3)),
        }),
    }),
  );
  const letters = WHO.map((who) =>
    map.front.appendChild(s("text", { class: `halo ${who}`, "font-weight": 700, "text-anchor": "middle" }, who)),
  );
  const sticks = plot(right, {
    label: "The sides d(p,q), d(q,r) and d(p,r) as a triangle of sticks",
    height: 300,
    x: [0, 1],
    y: [0, 1],
    margin: { left: 14, right: 14, bottom: 14 },
    xTicks: () => [],
    yTicks: () => [],
    bare: true,
  });
  const base = sticks.path({ class: "line thick ink" });
  const [first, second] = ["faint", "faint"].map((c) => sticks.path({ class: `line thick ${c}` }));
  const gap = sticks.path({ class: "line gap bad" });
  const words = Array.from({ length: 4 }, () =>
    sticks.front.appendChild(s("text", { class: "halo", "font-size": 13, "text-anchor": "middle" })),
  );
  const densities = plot(below, {
    label: "Densities of p, q, r",
    height: 190,
    x: [-6, 6],
    y: [0, 1],
    xLabel: "x",
    yLabel: "density",
  });
  const curves = WHO.map((who) => [
    densities.path({ class: `fill ${who}` }, densities.behind),
    densities.path({ class: `line ${who}` }),
  ]);

  function put(changes) {
    for (const [name, value] of Object.entries(changes)) write(model, { [name]: checked(page, name, value)[0] });
  }

  function paint(found) {
    const members = triple();
    if (!(map.width > 0) || !(sticks.width > 0)) return;
    const reach = Math.max(4, ...members.map(([m]) => Math.abs(m) * 1.15));
    map.span([-reach, reach], [0, Math.max(2.6, ...members.map(([, sd]) => sd * 1.15))]);
    map.frame();
    members.forEach(([m, sd], i) => {
      dots[i].place(m, sd, `mean ${number(m)}, width ${number(sd)}`);
      set(letters[i], { x: map.sx(m), y: map.sy(sd) - 14 });
    });
    const at = Object.fromEntries(WHO.map((who, i) => [who, members[i]]));
    for (const {
      pair: [a, b],
      path,
      text,
    } of edges) {
      const ends = [a, b].map((who) => [map.sx(at[who][0]), map.sy(at[who][1])]);
      const middle = [0, 1].map((i) => (ends[0][i] + ends[1][i]) / 2);
      // the direct way bends downwards, or three dots in a row would hide it
      const bend = a === "p" && b === "r" ? 56 : 0;
      set(path, { d: `M${ends[0]}Q${middle[0]} ${middle[1] + bend} ${ends[1]}` });
      set(text, { x: middle[0], y: bend ? middle[1] + bend / 2 + 16 : middle[1] - 14 });
      // between two dots that touch there is no place for a number; the sticks show it too
      const room = bend || Math.hypot(ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]) > 64;
      tell(text, room ? number(found[`${a}${b}`], 3) : "");
    }
    paintSticks(found);
    const from = Math.min(...members.map(([m, sd]) => m - 3.5 * sd));
    const to = Math.max(...members.map(([m, sd]) => m + 3.5 * sd));
    if (densities.asleep()) return;
    densities.span(roomy([from, to]), roomy([0, 0.42 / Math.min(...members.map(([, sd]) => sd))]));
    densities.frame();
    const xs = Array.from({ length: 301 }, (_, i) => densities.x[0] + ((densities.x[1] - densities.x[0]) * i) / 300);
    members.forEach(([m, sd], i) => {
      const ys = xs.map((x) => Math.exp(normalLogPdf(x, m, sd)));
      set(curves[i][0], { d: densities.area(xs, ys) });
      set(curves[i][1], { d: densities.line(xs, ys) });
    });
  }

  function paintSticks({ pq, qr, pr, excess }) {
    sticks.frame();
    const [w, tall] = [sticks.width, sticks.height];
    const longest = Math.max(pr, pq, qr, 1e-300);
    const scale = Math.min(w / Math.max(pr, pq + qr, 1e-300), (0.9 * w) / longest) * 0.96;
    const x0 = sticks.margin.left + (w - scale * pr) / 2;
    const y0 = sticks.margin.top + 0.74 * tall;
    const x1 = x0 + scale * pr;
    set(base, { d: `M${x0} ${y0}H${x1}` });
    const closes = excess <= 0;
    let top = [0, 0];
    if (closes && pr > 0) {
      const along = (pq * pq - qr * qr + pr * pr) / (2 * pr);
      const up = Math.sqrt(Math.max(0, pq * pq - along * along));
      const fits = Math.min(1, (0.66 * tall) / (scale * up || 1));
      top = [x0 + scale * along, y0 - scale * up * fits];
      // a side much longer than the base leaves the figure: lean it inwards
      top[0] = Math.min(sticks.margin.left + w, Math.max(sticks.margin.left, top[0]));
      set(first, { d: `M${x0} ${y0}L${top}` });
      set(second, { d: `M${x1} ${y0}L${top}` });
      set(gap, { d: "" });
    } else {
      const y = y0 - 26;
      set(first, { d: `M${x0} ${y}h${scale * pq}` });
      set(second, { d: `M${x1} ${y}h${-scale * qr}` });
      set(gap, { d: `M${x0 + scale * pq} ${y}H${x1 - scale * qr}` });
    }
    const label = (i, x, y, text, kind = "") => {
      set(words[i], { x, y, class: `halo ${kind}` });
      tell(words[i], text);
    };
    label(0, (x0 + x1) / 2, y0 + 20, `d(p,r) = ${number(pr)}`);
    if (closes) {
      label(1, (x0 + top[0]) / 2 - 8, (y0 + top[1]) / 2 - 8, number(pq), "faint");
      label(2, (x1 + top[0]) / 2 + 8, (y0 + top[1]) / 2 - 8, number(qr), "faint");
      label(
        3,
        sticks.margin.left + w / 2,
        sticks.margin.top + tall - 2,
        `closes: the detour is ${number(-excess, 3)} longer`,
        "faint",
      );
    } else {
      label(1, x0 + (scale * pq) / 2, y0 - 36, number(pq), "faint");
      label(2, x1 - (scale * qr) / 2, y0 - 36, number(qr), "faint");
      label(3, (x0 + x1) / 2, y0 - 62, `cannot close: ${number(excess, 3)} too short`, "bad");
    }
  }
  for (const f of [map, sticks, densities]) f.resized = () => slots.repaint?.();
  return { paint, stop: () => [map, sticks, densities].forEach((f) => f.remove()) };
}
