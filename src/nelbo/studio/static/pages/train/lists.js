// The runs and trainings to choose from: the one that is shown, and one to lay under it.

import { ask, write } from "../../core/store.js";
import { dropDown, runLabel } from "../inspector/choose.js";
import { isWorking } from "./orders.js";

/** @import { RunEntry, Slots } from "../../core/types.js" */

/** @param {Slots} slots */
export function runLists({ model, host }) {
  const runBox = dropDown("Run", (name) => write(model, { run: name, epoch: -1 }));
  const otherBox = dropDown("Under it", (name) => write(model, { other: name }));
  return {
    elements: [runBox.element, otherBox.element],
    /** What there is; null where it cannot be told now. */
    async fetch() {
      try {
        return (await ask(model, "train.list")).content;
      } catch {
        return host.file ? { runs: [], jobs: [], demo: { out: "", models: {}, offer: false } } : null;
      }
    },
    /**
     * Offer what there is. With no run chosen, the one in training is, else the latest with both terms of the loss.
     * @param {{runs: RunEntry[], jobs: any[]}} content
     * @returns {?any} the latest job at work
     */
    show(content) {
      const running = content.jobs.filter((one) => isWorking(one.status)).at(-1) ?? null;
      if (!model.get("run")) {
        const wanted = running ? (running.run ?? running.job) : firstLook(content.runs)?.run;
        if (wanted) write(model, { run: wanted });
      }
      const listed = namesOf(content, model.get("run"));
      runBox.show(listed.length ? listed : [["", "none yet"]], model.get("run"));
      otherBox.show([["", "nothing"], ...listed.filter(([name]) => name !== model.get("run"))], model.get("other"));
      return running;
    },
  };
}

/** The latest run with both terms of the loss; else the latest. @param {RunEntry[]} entries */
function firstLook(entries) {
  const whole = entries.filter((entry) => entry.status !== "damaged");
  return whole.findLast((entry) => entry.recipe !== "autoencoder") ?? whole.at(-1);
}

/** [run, what it is called] of runs and jobs; the chosen one is among them. @param {{runs: RunEntry[], jobs: any[]}} content @param {string} chosen */
function namesOf({ runs, jobs }, chosen) {
  const listed = runs.map((entry) => [entry.run, runLabel(entry)]);
  for (const one of jobs)
    if (!listed.some(([name]) => name === (one.run ?? one.job)))
      listed.push([one.run ?? one.job, `${one.title} (${one.status})`]);
  if (chosen && !listed.some(([name]) => name === chosen)) listed.push([chosen, chosen.split("/").pop()]);
  return listed;
}
