// epsilon -> z = mu + sigma epsilon -> f(z), with the numbers of one draw; gradients flow back, or are blocked.

import { h, s, set } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { FUNCTIONS } from "./estimators.js";

export function graph(slots, place) {
  const { model } = slots;
  const root = s("svg", { class: "plot", viewBox: "0 0 760 190", role: "img", "aria-label": "Computation graph from epsilon, mu and sigma to z and f(z)", style: "max-width:860px" });
  place.append(h("h2", {}, "One draw, and where its gradient goes"), root);
  const node = (x, y, colour, text) => {
    const value = s("text", { x, y: y + 15, "text-anchor": "middle", "font-size": 13 });
    root.append(s("circle", { cx: x, cy: y, r: 34, class: `line ${colour}`, "data-mark": text }), s("text", { x, y: y - 6, "text-anchor": "middle", "font-weight": 700, "font-size": 15 }, text), value);
    return value;
  };
  const arrow = (id, d, colour) => root.appendChild(s("path", { d, class: `line ${colour}`, "marker-end": `url(#${id})` }));
  const head = (id, colour) => s("marker", { id, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, s("path", { d: "M0 0 10 5 0 10Z", class: `fill solid ${colour}`, style: "fill-opacity:1" }));
  const id = Math.random().toString(36).slice(2);
  root.append(s("defs", {}, head(`f${id}`, "faint"), head(`g${id}`, "good")));
  const forward = [[`M128 40 L${250} 70`], [`M128 95 L246 92`], [`M128 150 L250 116`], [`M322 92 H466`], [`M538 92 H640`]].map(([d]) => arrow(`f${id}`, d, "faint"));
  const nodes = { mu: node(92, 36, "mu", "µ"), sigma: node(92, 95, "sigma", "σ"), eps: node(92, 154, "eps", "ε"), z: node(286, 92, "z", "z"), f: node(502, 92, "ink", "f(z)") };
  const back = [[`M466 112 C420 132 370 132 322 112`, 394, 146], [`M252 72 C210 40 170 30 128 30`, 205, 26], [`M246 100 C210 112 170 112 128 102`, 190, 124]].map(([d, x, y]) => ({ path: arrow(`g${id}`, d, "good"), text: root.appendChild(s("text", { x, y, "text-anchor": "middle", "font-size": 12.5, class: "halo" })) }));
  const wall = root.appendChild(s("path", { d: "M300 128 l-18 18 m0 -18 l18 18", class: "line bad", "stroke-width": 4 }));
  const word = root.appendChild(s("text", { x: 300, y: 172, "font-size": 12.5, "text-anchor": "middle", class: "bad" }));
  root.append(s("text", { x: 648, y: 88, "font-size": 13 }, "loss"));
  const how = root.appendChild(s("text", { x: 648, y: 106, "font-size": 12, class: "faint" }, ""));
  return {
    paint(state, eps) {
      const { f, slope } = FUNCTIONS[state.fn];
      const z = state.mu + state.sigma * eps;
      const d = slope(z, state.c);
      const values = { mu: state.mu, sigma: state.sigma, eps, z, f: f(z, state.c) };
      for (const [name, element] of Object.entries(nodes)) element.textContent = number(values[name], 3);
      const through = state.node === "reparam";
      const texts = [`∂f/∂z = ${number(d, 3)}`, `× 1 = ${number(d, 3)}`, `× ε = ${number(d * eps, 3)}`];
      back.forEach(({ path, text }, i) => {
        const on = through || i === 0;
        path.style.display = on ? "" : "none";
        text.textContent = on ? texts[i] : "";
      });
      // a sample drawn from N(mu, sigma) without epsilon has no derivative by them
      forward[2].style.display = through ? "" : "none";
      nodes.eps.parentNode.style.setProperty("--through", through ? 1 : 0);
      set(wall, { visibility: through ? "hidden" : "visible" });
      word.textContent = through ? "" : "sampling blocks the gradient: only f(z) · ∂ log q(z) gets through";
      how.textContent = through ? "z = µ + σ ε" : "z ~ N(µ, σ²)";
    },
  };
}
