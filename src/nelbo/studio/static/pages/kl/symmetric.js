// When is KL symmetric? The map of KL(p || q) - KL(q || p) for two of one family of location and scale, with the state as
// a dot to drag; for other families what is known, in a sentence.

import { h, s, set, tell } from "../../core/dom.js";
import { handle } from "../../core/drag.js";
import { nats, number } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { raster, rgb } from "../../core/raster.js";
import { checked } from "../../core/state.js";
import { write } from "../../core/store.js";
import { asymmetry, ofDegrees, ZERO } from "./asymmetry.js";
import { FAMILIES } from "./words.js";

/** @type {[number, number]} */
const X = [-4, 4];
/** @type {[number, number]} */
const Y = [-1.6, 1.6];
const MAPPED = ["normal", "laplace", "cauchy", "student"];
const LETTER = { normal: "σ", laplace: "b", cauchy: "γ", student: "σ" };

export function symmetric(slots, place) {
  const { model, page, root } = slots;
  const text = h("p", { class: "caption", "data-asymmetry": "" });
  const why = h("p", { class: "caption", "data-zero-set": "" });
  const snap = h("button", { type: "button", class: "chip", onclick: () => move(delta(), 0) }, "Snap to symmetric");
  const box = h("div");
  const row = h("div", { class: "row" }, snap);
  const title = h("h2", {}, "");
  place.append(title, box, row, text, why);
  const figure = plot(box, {
    label: "Map of KL(p‖q) − KL(q‖p) over the distance of the places and the log ratio of the widths",
    height: 250,
    x: X,
    y: Y,
    xLabel: "δ = Δµ / √(width of p × width of q)",
    yLabel: "t = ln of width p / width q",
    margin: { left: 50 },
  });
  const map = raster(figure);
  const zero = figure.path({ class: "line ink", "data-mark": "zero" });
  const label = figure.front.appendChild(s("text", { class: "halo", "font-size": 12, "data-zero": "" }, ""));
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
  /** The family of both, if there is a map for it; Student's with one nu only. */
  const mapped = () => {
    const [family, other] = [get("family_p"), get("family_q")];
    if (family !== other || !MAPPED.includes(family)) return null;
    return family === "student" && get("nu_p") !== get("nu_q") ? null : family;
  };
  let drawn = "";
  const colours = () => {
    const family = mapped();
    if (!family || figure.asleep()) return;
    const nu = family === "student" ? get("nu_p") : 0;
    const f = asymmetry(family, nu, [X[1], Y[1]]);
    const [p, q, paper] = ["--p", "--q", "--paper"].map((name) => rgb(root, name));
    drawn = `${family} ${nu}`;
    map.draw((x, y) => {
      const v = f(x, y);
      const part = 0.75 * (1 - Math.exp(-Math.abs(v) / 2.5));
      const to = v > 0 ? p : q;
      return [...paper.map((c, i) => c + (to[i] - c) * part), 255];
    });
  };
  const again = () => {
    colours();
    slots.repaint?.();
  };
  figure.resized = again;
  addEventListener("nelbo-theme", colours);

  /** @param {{pq: number, qp: number}} found */
  function paint(found) {
    const family = mapped();
    const isEverywhere = family === "cauchy" || (family === "student" && get("nu_p") === 1);
    box.hidden = row.hidden = !family;
    tell(title, family ? "When is KL symmetric? Drag the dot" : "When is KL symmetric?");
    const difference = found.pq === found.qp ? 0 : found.pq - found.qp;
    const unit = get("unit");
    const value = `KL(p‖q) − KL(q‖p) = ${Number.isNaN(difference) ? "∞ − ∞" : `${nats(difference, unit)} ${unit}`}`;
    if (!family) {
      tell(text, `${value}.`);
      tell(why, withoutMap(get("family_p"), get("family_q")));
      return;
    }
    const [x, y] = [delta(), ratio()];
    tell(text, `${value}, at t = ${number(y, 3)}, δ = ${number(x, 3)}. ${larger(difference, y)}`);
    tell(why, family === "student" ? ofDegrees(get("nu_p")) : ZERO[family]);
    snap.disabled = y === 0 || isEverywhere;
    if (figure.asleep()) return;
    figure.frame();
    if (drawn !== `${family} ${family === "student" ? get("nu_p") : 0}`) colours();
    set(zero, { d: isEverywhere ? "" : figure.line(X, [0, 0]) });
    set(label, {
      x: isEverywhere ? figure.sx(0) : figure.sx(X[0]) + 8,
      y: figure.sy(0) + (isEverywhere ? 5 : -6),
      "text-anchor": isEverywhere ? "middle" : "start",
      "font-size": isEverywhere ? 16 : 12,
    });
    tell(label, isEverywhere ? "equal everywhere" : `equal: ${LETTER[family]}p = ${LETTER[family]}q`);
    dot.place(
      Math.min(X[1], Math.max(X[0], x)),
      Math.min(Y[1], Math.max(Y[0], y)),
      `difference ${number(x)}, log ratio ${number(y)}`,
    );
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

function larger(difference, t) {
  if (difference === 0) return "Symmetric.";
  const which = t > 0 === difference > 0 ? "wider" : "narrower";
  return `The larger direction averages over the ${which} ${difference > 0 ? "p" : "q"}.`;
}

function withoutMap(family, other) {
  if (family === other && ZERO[family]) return ZERO[family];
  if (family === other && family === "student")
    return "The map is for one ν on both sides: with two, p and q differ in shape.";
  const name = (key) => FAMILIES.find(([value]) => value === key)[1];
  return `The map is for p and q of one family of location and scale (normal, Laplace, Cauchy, Student’s t); here p is ${name(family)}, q is ${name(other)}.`;
}
