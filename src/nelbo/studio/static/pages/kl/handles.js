// The handles of a density: peaks that move it, shoulders that widen it, ends, and the mean of an exponential.

import { askNumber } from "../../core/a11y.js";
import { s } from "../../core/dom.js";
import { draggable, handle } from "../../core/drag.js";
import { number, rounded } from "../../core/format.js";
import { checked } from "../../core/state.js";
import { write } from "../../core/store.js";
import { PARAMETERS } from "./words.js";

/** @import { Density, Shape } from "../../core/densities.js" */
/** @import { Figure, Slots } from "../../core/types.js" */

/** Which handles a family has. */
const HAS = {
  mixture: ["mu", "sigma", "mu2", "sigma2"],
  truncated: ["mu", "sigma", "low", "high"],
  exponential: ["mu"],
};
const MEAN = 1e-3; // the least mean of an exponential

/** Steps of a dragged place, a thousandth of the axis or less. @param {Figure} figure */
const grain = (figure) => 10 ** (Math.floor(Math.log10(figure.x[1] - figure.x[0])) - 3);

/**
 * @param {Figure} figure
 * @param {Slots} slots
 * @param {"p"|"q"} which
 */
export function handlesOf(figure, slots, which) {
  const { model, page, root } = slots;
  const full = (name) => `${name}_${which}`;
  const get = (name) => model.get(full(name));
  const put = (name, value) => write(model, { [full(name)]: checked(page, full(name), value)[0] });
  const isExponential = () => get("family") === "exponential";
  /** What the "mu" of a family is: an exponential's place is its mean, one over its rate. */
  const place = {
    get: (name) => (name === "mu" && isExponential() ? 1 / get("rate") : get(name)),
    put(name, value) {
      if (name === "mu" && isExponential()) put("rate", Number((1 / Math.max(MEAN, value)).toPrecision(5)));
      else put(name, value);
    },
  };
  const words = (name) => (name === "mu" && isExponential() ? "mean" : (PARAMETERS[get("family")][name]?.[1] ?? name));
  const typed = async (name) => {
    const value = await askNumber(root, `${words(name)} of ${which}`, Number(place.get(name).toPrecision(6)));
    if (value === null) return;
    const isRate = name === "mu" && isExponential();
    const [fine, note] = checked(page, full(isRate ? "rate" : name), isRate ? 1 / value : value);
    if (note) slots.say(note);
    write(model, { [full(isRate ? "rate" : name)]: fine });
  };
  const made = Object.fromEntries(
    ["mu", "sigma", "mu2", "sigma2", "low", "high"].map((name) => {
      const isWidth = name.startsWith("sigma");
      const centre = name === "sigma2" ? "mu2" : "mu";
      const one = handle(figure, {
        name: `${words(name)} of ${which}`,
        colour: which,
        ...(isWidth ? { shape: "diamond", radius: 6 } : {}),
        ...(name === "low" || name === "high" ? { shape: "bar", radius: 6 } : {}),
        axis: "x",
        drag: (x) =>
          isWidth
            ? put(name, Number(Math.max(1e-3, x - get(centre)).toPrecision(3)))
            : place.put(name, rounded(x, grain(figure))),
        key: (dx, dy) =>
          isWidth
            ? put(name, Number((get(name) * 1.03 ** (dx || dy)).toPrecision(4)))
            : place.put(name, rounded(place.get(name) + 0.05 * (dx || dy), 0.001)),
        type: () => typed(name),
      });
      one.element.dataset.mark = full(name);
      return [name, one];
    }),
  );
  let named = "";
  const rename = () => {
    if (named === get("family")) return;
    named = get("family");
    for (const [name, { element }] of Object.entries(made)) {
      const text = `${words(name)} of ${which}`;
      element.setAttribute("aria-label", text);
      element.dataset.handle = text;
      element.querySelector("title").textContent = text;
    }
  };
  return {
    /** Put each where its parameter is, on the curve. @param {Shape} shape @param {Density} d */
    place(shape, d) {
      rename();
      const shown = HAS[shape.family] ?? ["mu", "sigma"];
      const height = (x) => Math.exp(d.log(x)) || 0;
      const [mu, mu2] = [place.get("mu"), shape.mu2];
      const at = { mu, sigma: mu + shape.sigma, mu2, sigma2: mu2 + shape.sigma2, low: shape.low, high: shape.high };
      for (const [name, { element, place: to }] of Object.entries(made)) {
        const isOn = shown.includes(name);
        element.style.display = isOn ? "" : "none";
        const isEnd = name === "low" || name === "high";
        if (isOn) to(at[name], isEnd ? 0 : height(at[name]), number(name === "mu" ? mu : shape[name]));
      }
    },
  };
}

/**
 * A body to hold: moved along x, and wider or narrower up and down.
 * @param {Figure} figure
 * @param {Slots} slots
 * @param {"p"|"q"} which
 * @param {Element} where
 */
export function bodyOf(figure, slots, which, where) {
  const { model, page } = slots;
  const grip = where.appendChild(s("path", { class: "body-grip", "aria-hidden": "true" }));
  const names = ["mu", "sigma", "mu2", "low", "high", "rate"];
  draggable(grip, {
    start(event) {
      figure.hold({ x: true });
      const now = Object.fromEntries(names.map((name) => [name, model.get(`${name}_${which}`)]));
      return { ...now, at: figure.at(event), py: event.clientY };
    },
    end: () => figure.release(),
    move(event, from) {
      const moved = figure.at(event)[0] - from.at[0];
      const family = model.get(`family_${which}`);
      const along = { mixture: ["mu", "mu2"], truncated: ["mu", "low", "high"] }[family] ?? ["mu"];
      const changes = Object.fromEntries(along.map((name) => [name, rounded(from[name] + moved, grain(figure))]));
      changes.sigma = Number((from.sigma * Math.exp((event.clientY - from.py) / 120)).toPrecision(3));
      const exponential = { rate: Number((1 / Math.max(MEAN, 1 / from.rate + moved)).toPrecision(5)) };
      for (const [name, value] of Object.entries(family === "exponential" ? exponential : changes))
        write(model, { [`${name}_${which}`]: checked(page, `${name}_${which}`, value)[0] });
    },
  });
  return grip;
}
