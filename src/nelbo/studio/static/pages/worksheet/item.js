// One step in the list: folded it is its question, unfolded what is to be done next in it.

import { h } from "../../core/dom.js";
import { PAGES } from "../../core/pages.js";
import { answer, predictForm, prediction } from "../../core/predict.js";
import { phaseOf } from "../../core/progress.js";

/** @import { Kept, Step } from "../../core/types.js" */

const WORDS = { predict: "", open: "predicted", done: "answered" };

/**
 * @typedef {Object} Acts what an item can bring about
 * @property {(changes: Kept, focused?: string) => void} set takes changes down; with `focused`, a selector within the item,
 *   the list is drawn again
 * @property {(focused: string) => void} forget
 * @property {() => void} fold
 * @property {(() => void) | null} next
 * @property {(place: HTMLElement, open: HTMLButtonElement) => void} runs looks whether the runs are there that the step needs
 * @property {() => void} open the step's page
 * @property {() => void} again the state that reached the goal
 */

/**
 * @param {{number: number, step: Step, kept: Kept}} line
 * @param {{position: number, isOpen: boolean}} shown
 * @param {Acts} acts
 */
export function stepItem({ number, step, kept }, { position, isOpen }, acts) {
  const phase = phaseOf(kept);
  const head = h(
    "button",
    { type: "button", class: "step-head", "aria-expanded": isOpen, onclick: acts.fold },
    h("span", { class: "step-number" }, String(position)),
    h("span", { class: "ask-line" }, step.ask),
    h("span", { class: `step-said ${kept.met ? "good" : ""}` }, kept.met ? "✓ goal reached" : WORDS[phase]),
  );
  return h(
    "li",
    { class: "step", "data-step": number, "data-phase": phase },
    head,
    isOpen ? h("div", { class: "step-body" }, ...body(step, kept, acts)) : null,
  );
}

/** @param {Step} step @param {Kept} kept @param {Acts} acts */
function body(step, kept, acts) {
  const phase = phaseOf(kept);
  if (phase === "predict")
    return [predictForm(step, kept, { draft: acts.set, settle: (changes) => acts.set(changes, ".goal") })];
  const button = (text, what, onclick, kind = "chip") =>
    h("button", { type: "button", class: kind, "data-do": what, onclick }, text);
  const open = button(`Open “${PAGES[step.page].title}”`, "open", acts.open, phase === "done" ? "chip" : "primary");
  const goal = h("p", { class: "goal", tabindex: -1 }, h("b", {}, "Goal: "), step.goal);
  const place = h("div", { class: "runs-place" });
  if (step.runs) acts.runs(place, open);
  if (phase === "open")
    return [
      prediction(step, kept),
      goal,
      place,
      h(
        "div",
        { class: "row" },
        open,
        button("Change the prediction", "rethink", () => acts.set({ predicted: false }, "textarea")),
        button("Reveal", "reveal", () => acts.set({ answered: true }, ".answer")),
      ),
    ];
  return [
    prediction(step, kept),
    kept.met ? h("p", { class: "good" }, `✓ Goal reached: ${kept.met}`) : goal,
    answer(step),
    place,
    h(
      "div",
      { class: "row" },
      acts.next ? button("Next step", "next", acts.next, "primary") : null,
      kept.state === undefined ? open : button("See it again", "again", acts.again),
      button("Do this step again", "redo", () => acts.forget("textarea")),
    ),
  ];
}
