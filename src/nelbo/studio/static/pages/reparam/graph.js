// epsilon -> z = mu + sigma epsilon -> f(z), with the numbers of one draw. Gradients flow back while something is dragged,
// or are blocked.

import { h, s, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";

/** @param {HTMLElement} place */
export function graph(place) {
  const root = s("svg", {
    class: "plot graph",
    viewBox: "0 0 760 226",
    role: "img",
    "aria-label": "Computation graph from epsilon, mu and sigma to z and f(z)",
    style: "max-width:860px;min-width:520px",
  }); // on a phone it scrolls: smaller, nobody could read it
  place.append(
    h("h2", {}, "One draw, and where its gradient goes"),
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Graph" }, root),
  );
  const node = (x, y, colour, text) => {
    const value = s("text", { x, y: y + 15, "text-anchor": "middle", "font-size": 13 });
    root.append(
      s("rect", {
        x: x - 32,
        y: y - 30,
        width: 64,
        height: 60,
        rx: 14,
        class: `node fill ${colour}`,
        "data-mark": text,
      }),
      s("text", { x, y: y - 6, "text-anchor": "middle", "font-weight": 700, "font-size": 15 }, text),
      value,
    );
    return value;
  };
  const arrow = (id, d, colour) =>
    root.appendChild(s("path", { d, class: `line ${colour}`, "marker-end": `url(#${id})` }));
  const head = (id, colour) =>
    s(
      "marker",
      { id, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
      s("path", { d: "M0 0 10 5 0 10Z", class: `fill solid ${colour}`, style: "fill-opacity:1" }),
    );
  const id = Math.random().toString(36).slice(2);
  root.append(s("defs", {}, head(`f${id}`, "faint"), head(`g${id}`, "good")));
  const forward = [
    ["M123 44 L254 90"],
    ["M123 108 L252 108"],
    ["M123 172 L254 126"],
    ["M318 108 H468"],
    ["M534 108 H640"],
  ].map(([d]) => arrow(`f${id}`, d, "faint"));
  const nodes = {
    mu: node(90, 36, "mu", "µ"),
    sigma: node(90, 108, "sigma", "σ"),
    eps: node(90, 180, "eps", "ε"),
    z: node(286, 108, "z", "z"),
    f: node(502, 108, "ink", "f(z)"),
  };
  const back = [
    ["M470 126 C430 146 360 146 316 126", 394, 160],
    ["M262 80 C226 44 170 26 124 30", 216, 34],
    ["M253 116 C220 132 160 132 124 118", 190, 144],
  ].map(([d, x, y]) => ({
    path: arrow(`g${id}`, d, "good back"),
    text: root.appendChild(s("text", { x, y, "text-anchor": "middle", "font-size": 12.5, class: "halo" })),
  }));
  const wall = root.appendChild(
    s("path", { d: "M226 98 l-20 20 m0 -20 l20 20", class: "line bad", "stroke-width": 4 }),
  );
  const word = root.appendChild(s("text", { x: 250, y: 200, "font-size": 12.5, class: "bad" }));
  root.append(s("text", { x: 648, y: 112, "font-size": 13 }, "loss"));
  const how = root.appendChild(
    s("text", { x: 286, y: 160, "text-anchor": "middle", "font-size": 12.5, class: "faint" }, ""),
  );
  return {
    /** @param {import("../../core/types.js").State} state @param {ReturnType<typeof import("./draw.js").oneDraw>} draw */
    paint(state, { z, f, slope: d, score }) {
      const values = { mu: state.mu, sigma: state.sigma, eps: state.eps, z, f };
      for (const [name, element] of Object.entries(nodes)) tell(element, number(values[name], 3));
      const through = state.node === "reparam";
      const texts = [`∂f/∂z = ${number(d, 3)}`, `× 1 = ${number(d, 3)}`, `× ε = ${number(d * state.eps, 3)}`];
      back.forEach(({ path, text }, i) => {
        const on = through || i === 0;
        path.style.display = on ? "" : "none";
        tell(text, on ? texts[i] : "");
      });
      // a sample drawn from N(mu, sigma) without epsilon has no derivative by them
      forward[2].style.display = through ? "" : "none";
      set(wall, { visibility: through ? "hidden" : "visible" });
      root.toggleAttribute("data-blocked", !through);
      const [byMu, bySigma] = score.map((g) => number(g, 3));
      const said = `a draw blocks the gradient; f(z) · ∂ log q(z) remains: ${byMu} by µ, ${bySigma} by σ`;
      tell(word, through ? "" : said);
      tell(how, through ? "z = µ + σ ε" : "z ~ N(µ, σ²)");
    },
  };
}
