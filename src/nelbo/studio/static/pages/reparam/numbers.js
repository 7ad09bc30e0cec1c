// The number cards: how much noisier the score function is, and what each estimator says beside the truth.

import { card } from "../../core/controls.js";
import { h, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { meanAndError } from "../../core/math.js";
import { ESTIMATORS, FUNCTIONS, variances } from "./estimators.js";
import { COLOURS } from "./panels.js";

const NAMED = { pathwise: "pathwise, z = µ + σε", score: "score function", baseline: "score, leave-one-out baseline" };

/**
 * @param {HTMLElement} place
 * @returns {(state: import("../../core/types.js").State, made: ReturnType<typeof import("./estimators.js").gradients>) => void}
 *   shows the gradients of a state
 */
export function numbers(place) {
  const ratios = [
    card("variance of score / pathwise, d/dµ", { colour: "big", name: "ratio" }),
    card("the same for d/dσ", { colour: "big", name: "ratio-sigma" }),
  ];
  const cells = Object.fromEntries(["truth", ...ESTIMATORS].map((name) => [name, [h("td"), h("td")]]));
  const heads = ["d/dµ", "mean ± SE", "variance"].map((text) => h("th", { scope: "col" }, text));
  const rows = h(
    "tbody",
    {},
    h("tr", {}, h("td", {}, "truth"), ...cells.truth),
    ...ESTIMATORS.map((name) => h("tr", {}, h("td", { class: `${COLOURS[name]}-ink` }, NAMED[name]), ...cells[name])),
  );
  place.append(
    ...ratios.map((one) => one.element),
    h("div", { class: "card whole" }, h("table", { class: "tight" }, h("thead", {}, h("tr", {}, heads)), rows)),
  );
  const fill = (name, mean, variance) => [mean, variance].forEach((text, i) => tell(cells[name][i], text));

  return (state, made) => {
    const [, exact] = FUNCTIONS[state.fn].exact(state.mu, state.sigma, state.c);
    const found = Object.fromEntries(ESTIMATORS.map((name) => [name, made[name].map((g) => meanAndError(g))]));
    const known = variances(state);
    const flat = found.pathwise[0].variance === 0;
    const said = known ? `exactly ${number(known.score / known.pathwise)}×` : "";
    ratios.forEach((one, i) => {
      const ratio = found.score[i].variance / found.pathwise[i].variance;
      const note = i ? "" : flat ? "pathwise never varies, and is wrong" : said;
      one.show(flat ? "–" : `${number(ratio, 3)}×`, note);
    });
    fill("truth", number(exact), "–");
    for (const name of ESTIMATORS) {
      const { mean, error, variance } = found[name][0];
      const biased = error === 0 ? mean !== exact : Math.abs(mean - exact) > 6 * error;
      fill(name, `${number(mean)} ± ${number(error, 2)}${biased ? ", biased" : ""}`, number(variance, 3));
      set(cells[name][0], { class: biased ? "bad" : "" });
      set(cells[name][1], { title: known?.[name] ? `exactly ${number(known[name])}` : "" });
    }
  };
}
