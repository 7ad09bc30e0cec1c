// When is KL symmetric? The map of KL(p||q) - KL(q||p) for two normals, with the state as a dot to drag.

import { h, s, set, tell } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { nats, number } from "../../core/format.js";
import { klAsymmetry } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { raster, rgb } from "../../core/raster.js";
import { checked } from "../../core/state.js";
import { write } from "../../core/store.js";

/** @type {[number, number]} */
const X = [-4, 4];
/** @type {[number, number]} */
const Y = [-1.6, 1.6];

export function symmetric(slots, place) {
  const { model, page, root } = slots;
  const text = h("p", { class: "caption", "data-asymmetry": "" });
  const snap = h("button", { type: "button", class: "chip", onclick: () => move(delta(), 0) }, "Snap to symmetric");
  const box = h("div");
  place.append(h("h2", {}, "When is KL symmetric? Drag the dot"), box, h("div", { class: "row" }, snap), text);
  const figure = plot(box, {
    label: "Map of KL(p‖q) − KL(q‖p) over the distance of the means and the log ratio of the widths",
    height: 250,
    x: X,
    y: Y,
    xLabel: "Δµ / √(σp σq)",
    yLabel: "t = ln σp/σq",
    margin: { left: 50 },
  });
  const map = raster(figure);
  const zero = figure.path({ class: "line ink", "data-mark": "zero" });
  figure.front.append(s("text", { class: "halo", x: 0, y: 0, "font-size": 12, "data-zero": "" }, "equal: σp = σq"));
  const label = figure.front.querySelector("[data-zero]");
  const dot = handle(figure, {
    name: "state on the symmetry map",
    colour: "kl",
    drag: (x, y) => move(x, y),
    key: (dx, dy) => move(delta() + 0.05 * dx, ratio() + 0.02 * dy),
  });
  const get = (name) => model.get(name);
  const ratio = () => Math.log(get("sigma_p") / get("sigma_q"));
  const delta = () => (get("mu_p") - get("mu_q")) / Math.sqrt(get("sigma_p") * get("sigma_q"));
  function move(x, y) {
    const scale = Math.sqrt(get("sigma_p") * get("sigma_q"));
    const t = Math.abs(y) < 0.02 ? 0 : Math.min(6, Math.max(-6, y));
    const tidy = (v) => Number(v.toPrecision(4));
    const sigma_q = tidy(scale * Math.exp(-t / 2));
    const changes = {
      sigma_q,
      sigma_p: t === 0 ? sigma_q : tidy(scale * Math.exp(t / 2)),
      mu_p: tidy(get("mu_q") + x * scale),
    };
    for (const [name, value] of Object.entries(changes)) write(model, { [name]: checked(page, name, value)[0] });
  }
  const colours = () => {
    const [p, q, paper] = ["--p", "--q", "--paper"].map((name) => rgb(root, name));
    map.draw((x, y) => {
      const v = klAsymmetry(x, Math.exp(y / 2), 0, Math.exp(-y / 2));
      const part = 0.75 * (1 - Math.exp(-Math.abs(v) / 2.5));
      const to = v > 0 ? p : q;
      return [...paper.map((c, i) => c + (to[i] - c) * part), 255];
    });
  };
  figure.resized = () => {
    colours();
    paint();
  };
  addEventListener("nelbo-theme", colours);
  function paint() {
    const normal = get("family_p") === "normal" && get("family_q") === "normal";
    place.hidden = !normal;
    if (!normal || figure.asleep()) return;
    set(zero, { d: figure.line(X, [0, 0]) });
    set(label, { x: figure.sx(X[0]) + 8, y: figure.sy(0) - 6 });
    const [x, y] = [delta(), ratio()];
    dot.place(
      Math.min(X[1], Math.max(X[0], x)),
      Math.min(Y[1], Math.max(Y[0], y)),
      `difference ${number(x)}, log ratio ${number(y)}`,
    );
    const difference = klAsymmetry(get("mu_p"), get("sigma_p"), get("mu_q"), get("sigma_q"));
    const unit = get("unit");
    const which =
      difference === 0
        ? "Symmetric: σp = σq, whatever the means."
        : `The larger direction averages over the wider ${difference > 0 ? "p" : "q"}.`;
    tell(
      text,
      `KL(p‖q) − KL(q‖p) = ${nats(difference, unit)} ${unit} = (sinh 2t − 2t) + δ² sinh t, with t = ${number(y, 3)}, δ = ${number(x, 3)}. ${which}`,
    );
    snap.disabled = y === 0;
  }
  colours();
  return {
    paint,
    stop() {
      removeEventListener("nelbo-theme", colours);
      figure.remove();
    },
  };
}
