// The equations over the rows, one for each model: they follow the active row, and light up in it what a term is made of.

import { equation } from "./equation.js";

/** @import { Slots, Source, Term } from "../../core/types.js" */

const MADE_OF = { reconstruction_error: "errors", kl: "units" };

/**
 * @param {Slots} slots
 * @param {Source[]} sources
 * @param {{active: () => {views: ReturnType<typeof import("./row.js").exampleRow>[]}, rows: any[], units: () => any,
 *   points: {light: (term: ?Term) => void}}} board its rows, the one that is active, the panel of the units, and the points
 */
export function equations(slots, sources, { rows, active, units, points }) {
  const title = ({ info }) => (sources.length > 1 ? info.title : "");
  const all = sources.map((source) =>
    equation(slots, source, { title: title(source), isFirst: source === sources[0], light }),
  );

  /** Show what a term is made of where it stands: pixels or columns, units, and all examples by their share of it. @param {?Term} term */
  function light(term) {
    const now = active();
    for (const row of rows)
      for (const view of row.views) view.light(row === now ? (MADE_OF[term] ?? null) : null, row === now ? term : null);
    points.light(term);
    units()?.element.classList.toggle("lit", MADE_OF[term] === "units");
  }
  return {
    elements: all.map((one) => one.element),
    /** The numbers of the active row. */
    show: () => active().views.forEach(({ shown }, which) => shown && all[which].show(shown)),
    remove: () => all.forEach((one) => one.remove()),
  };
}
