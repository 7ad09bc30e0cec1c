// The three numbers of an example, each where it stands among those of the data set.

import { h } from "../../core/dom.js";
import { BITS, nats } from "../../core/format.js";
import { TERMS } from "./terms.js";

export const NAMES = { reconstruction_error: "reconstruction error", kl: "KL(q(z|x) ‖ p(z))", nelbo: "total loss" };
export const COLOURS = { reconstruction_error: "recon", kl: "kl", nelbo: "total" };

const DIGITS = 5; // of a number with its error, at most

/**
 * A number of nats with its standard error, in as many digits as the error allows; without the error where that is below the
 * last of five.
 * @param {number} value
 * @param {?number} error
 * @param {string} unit
 */
export function told(value, error, unit) {
  const factor = unit === "bits" ? BITS : 1;
  const [size, off] = [Math.abs(value * factor), (error ?? 0) * factor];
  const power = Math.floor(Math.log10(size || 1));
  if (!Number.isFinite(value) || !(off >= 10 ** (power + 1 - DIGITS) / 2)) return nats(value, unit);
  const digits = Math.max(0, Math.min(DIGITS - 1 - power, 1 - Math.floor(Math.log10(off))));
  return `${(value * factor).toFixed(digits)} ± ${off.toFixed(digits)}`.replace("-", "−");
}

/**
 * @param {HTMLElement} parent
 * @param {import("../../core/types.js").Source} source
 */
export function termsPanel(parent, source) {
  const lines = Object.fromEntries(TERMS.map((term) => [term, line(term)]));
  const note = h("p", { class: "terms-note" });
  parent.append(h("div", { class: "terms" }, ...TERMS.map((term) => lines[term].element), note));

  function line(term) {
    const value = h("output", { class: "value", "data-term": term });
    const place = h("span", { class: "rank" });
    const marker = h("i", { class: "marker" });
    const median = h("i", { class: "median", title: "median of the data set" });
    const track = h("div", { class: "track", "aria-hidden": "true" }, median, marker);
    const element = h(
      "div",
      { class: `term ${COLOURS[term]}` },
      h("span", { class: "label" }, term === "nelbo" ? "= total loss" : (term === "kl" ? "+ " : "") + NAMES[term]),
      value,
      track,
      place,
    );
    return { element, value, place, marker, median, track };
  }

  /**
   * @param {{reconstruction_error: ?number, kl: ?number, nelbo: ?number, standard_errors?: Partial<Record<string, ?number>>}} terms
   *   nats; null is infinite
   * @param {{unit: string, text?: string, missing?: string}} options `missing` stands for what is not known
   */
  function show(terms, { unit, text = "", missing = "…" }) {
    for (const term of TERMS) {
      const { value, place, marker, median, track } = lines[term];
      const nothing = terms[term] === null || terms[term] === undefined;
      const isPoint = source.info.is_point && term !== "reconstruction_error";
      const text_ = () => told(terms[term], terms.standard_errors?.[term], unit);
      value.textContent = nothing ? (isPoint ? "∞" : missing) : text_();
      track.hidden = place.hidden = isPoint || nothing;
      if (isPoint || nothing) continue;
      const [low, high] = [source.loss.quantile(term, 0), source.loss.quantile(term, 1)];
      const share = (v) => `${100 * Math.min(1, Math.max(0, (v - low) / (high - low || 1)))}%`;
      marker.style.left = share(terms[term]);
      median.style.left = share(source.loss.quantile(term, 0.5));
      const rank = source.loss.rank(term, terms[term]);
      place.textContent = `higher than ${rank.toLocaleString("en")} of ${source.n.toLocaleString("en")}`;
    }
    note.textContent = text;
    note.hidden = !text;
  }
  /** @param {?import("../../core/types.js").Term} lit */
  const light = (lit) => TERMS.forEach((term) => lines[term].element.classList.toggle("lit", term === lit));
  return { show, light };
}
