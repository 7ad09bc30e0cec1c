// The controls of p and of q: the family, and sliders for the parameters that it has.

import { group, select, slider } from "../../core/controls.js";
import { h, tell } from "../../core/dom.js";
import { isOfCounts } from "../../core/families.js";
import { FITTED } from "./descent.js";
import { FAMILIES, PARAMETERS } from "./words.js";

/** Sliders by parameter: how far they reach, and for which families. */
const SLIDERS = [
  { name: "mu", low: -6, high: 6 },
  { name: "sigma", log: true, low: 0.1, high: 6 },
  { name: "nu", log: true, low: 0.5, high: 30 },
  { name: "skew", low: -10, high: 10 },
  { name: "low", low: -6, high: 6 },
  { name: "high", low: -6, high: 6 },
  { name: "mu2", low: -6, high: 6 },
  { name: "sigma2", log: true, low: 0.1, high: 6 },
  { name: "weight", low: 0.01, high: 0.99 },
  { name: "rate", log: true, low: 0.1, high: 10, of: ["exponential"] },
  { name: "rate", log: true, low: 0.1, high: 50, of: ["poisson"] },
  { name: "prob", low: 0, high: 1, step: 0.005 },
];

/**
 * @param {import("../../core/types.js").Slots} slots
 * @param {"p"|"q"} which
 */
export function sideControls(slots, which) {
  const { model } = slots;
  const made = SLIDERS.map(({ name, of, ...options }) => ({
    name,
    of,
    element: slider(slots, { name: `${name}_${which}`, label: name, colour: which, ...options }),
  }));
  const family = select(slots, { name: `family_${which}`, label: "family", options: FAMILIES, colour: which });
  family.querySelector("select").setAttribute("aria-label", `family of ${which}`);
  family.addEventListener("change", () => {
    const [chosen, other] = [model.get(`family_${which}`), which === "p" ? "q" : "p"];
    if (isOfCounts(chosen)) slots.say(`A count and a density share no mass: ${other} is of the same family now.`);
  });
  const element = group(h("span", { class: `${which}-ink` }, which), family, ...made.map((one) => one.element));
  let shown = "";
  return {
    element,
    /** @param {boolean} isFit q is a normal there, and p one that a normal can be fitted to */
    paint(isFit) {
      const now = model.get(`family_${which}`);
      family.hidden = isFit && which === "q";
      for (const option of family.querySelectorAll("option")) option.disabled = isFit && !FITTED.includes(option.value);
      if (now === shown) return;
      shown = now;
      for (const { name, of, element: control } of made) {
        const words = PARAMETERS[now][name];
        control.hidden = !words || Boolean(of && !of.includes(now));
        if (!words) continue;
        const [letter, says] = words;
        tell(control.querySelector("label"), letter);
        const [range, field] = control.querySelectorAll("input");
        range.setAttribute("aria-label", `${says} of ${which}`);
        field.setAttribute("aria-label", `${says} of ${which}, typed`);
      }
    },
  };
}
