// The three numbers of an example, each where it stands among those of the data set.

import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { TERMS } from "./source.js";

export const NAMES = { reconstruction_error: "reconstruction error", kl: "KL(q(z|x) ‖ p(z))", nelbo: "total loss" };
export const COLOURS = { reconstruction_error: "recon", kl: "kl", nelbo: "total" };

/**
 * @param {HTMLElement} parent
 * @param {Object} source
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
   * @param {{reconstruction_error: ?number, kl: ?number, nelbo: ?number, standard_error?: ?number}} terms nats; null is infinite
   * @param {{unit: string, text?: string, finite?: boolean}} options
   */
  function show(terms, { unit, text = "" }) {
    for (const term of TERMS) {
      const { value, place, marker, median, track } = lines[term];
      const nothing = terms[term] === null || terms[term] === undefined;
      const isPoint = source.info.is_point && term !== "reconstruction_error";
      const about =
        terms.standard_error >= 0.05 && term !== "kl" && !nothing ? ` ± ${nats(terms.standard_error, unit, 2)}` : "";
      value.textContent = nothing ? (isPoint ? "∞" : "…") : nats(terms[term], unit) + about;
      track.hidden = place.hidden = isPoint || nothing;
      if (isPoint || nothing) continue;
      const [low, high] = [source.quantile(term, 0), source.quantile(term, 1)];
      const share = (v) => `${100 * Math.min(1, Math.max(0, (v - low) / (high - low || 1)))}%`;
      marker.style.left = share(terms[term]);
      median.style.left = share(source.quantile(term, 0.5));
      const rank = source.rank(term, terms[term]);
      place.textContent = `higher than ${rank} of ${source.n}`;
    }
    note.textContent = text;
    note.hidden = !text;
  }
  return { show };
}
