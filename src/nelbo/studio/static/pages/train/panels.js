// All that is shown of a run: its curves, its way between rate and distortion, and what it looks like at one epoch.

import { h } from "../../core/dom.js";
import { curvePanel, trailPanel } from "./curves.js";
import { scrubber } from "./scrub.js";
import { snapshotPanel } from "./snapshot.js";

/** @import { Slots } from "../../core/types.js" */
/** @import { RunRecord } from "./record.js" */

/** @param {Slots} slots @param {(epoch: number) => void} goTo */
export function runPanels({ model, say }, goTo) {
  const element = h("div", { class: "board" });
  const scrub = scrubber(model, goTo);
  const curves = curvePanel(element, {
    unit: () => model.get("unit"),
    hover: (epoch, click = false) => (click || model.get("epoch") >= 0) && goTo(Math.round(epoch)),
  });
  const trailPlace = h("div", { class: "panel" });
  const below = h("div", { class: "columns two" }, trailPlace);
  element.append(
    h(
      "p",
      { class: "caption" },
      "Solid: training set; dashed: held out; pale: running epochs, and the run laid under. Click a curve to see that epoch everywhere.",
    ),
    scrub.element,
    below,
  );
  const trail = trailPanel(trailPlace);
  const shot = snapshotPanel(below);
  let wanted = 0;

  /** @param {RunRecord} run @param {?number} epoch */
  async function showSnapshot(run, epoch) {
    const mine = ++wanted;
    const kept = run.snapshots;
    const newest = epoch === null && run.latest;
    if (!newest && !kept.length && run.status !== "finished") return;
    const at = newest || !kept.length ? null : nearestOf(kept, epoch);
    try {
      const found = await run.snapshot(at);
      if (mine === wanted) shot.show(found);
    } catch (error) {
      if (mine === wanted) say(error.message);
    }
  }

  return {
    element,
    /** @param {RunRecord} run @param {?RunRecord} other @param {?number} epoch null is the latest */
    show(run, other, epoch) {
      curves.show(run, other, epoch);
      trail.show(run, other, epoch);
      scrub.show(epoch, run.history.length);
      showSnapshot(run, epoch);
    },
    remove() {
      wanted = -1;
      curves.remove();
      trail.remove();
      shot.remove();
    },
  };
}

/** The epoch that is nearest to the one asked for; for null, the last. @param {number[]} kept @param {?number} epoch */
function nearestOf(kept, epoch) {
  if (epoch === null) return Math.max(...kept);
  return kept.reduce((best, one) => (Math.abs(one - epoch) < Math.abs(best - epoch) ? one : best));
}
