// A prediction: one of some answers, words of one's own, or both. It comes before the numbers, and stands afterwards.

import { h } from "./dom.js";

/** @import { Kept, Step } from "./types.js" */

const LONGEST = 240; // characters: eighteen of them fit on two printed pages
let count = 0;

/**
 * The form of a prediction.
 * @param {Step} step
 * @param {Kept} kept
 * @param {{draft: (changes: Kept) => void, settle: (changes: Kept) => void}} on `draft` with every change, `settle` when
 *   the reader stands by it
 * @returns {HTMLElement}
 */
export function predictForm(step, kept, { draft, settle }) {
  const name = `nelbo-predict-${++count}`;
  let { choice } = kept;
  const words = h("textarea", {
    rows: 2,
    maxlength: LONGEST,
    "aria-label": "Your prediction in your own words",
    placeholder: "In your own words, and why",
    oninput: () => changed(),
  });
  words.value = kept.words ?? "";
  const options = step.options.map((text, i) =>
    h(
      "label",
      { class: "option" },
      h("input", {
        type: "radio",
        name,
        value: i,
        checked: i === choice,
        onchange: () => {
          choice = i;
          changed();
        },
      }),
      h("span", {}, text),
    ),
  );
  const done = h("button", { type: "submit", class: "primary", "data-do": "predict" }, "This is my prediction");
  const given = () => ({ choice, words: words.value.trim() });
  const show = () => (done.disabled = choice === undefined && !given().words);
  const changed = () => {
    show();
    draft(given());
  };
  show();
  return h(
    "form",
    {
      class: "predict",
      onsubmit: (event) => {
        event.preventDefault();
        if (!done.disabled) settle({ ...given(), predicted: true });
      },
    },
    h("fieldset", { class: "options" }, h("legend", {}, "What do you predict?"), ...options),
    words,
    h("div", { class: "row" }, done),
  );
}

/** What was predicted, in words. @param {Step} step @param {Kept} kept */
export const predictionOf = (step, kept) => [step.options[kept.choice], kept.words].filter(Boolean).join(" – ") || "–";

/**
 * The prediction as it stands, and, once the answer is shown, whether it holds.
 * @param {Step} step
 * @param {Kept} kept
 */
export function prediction(step, kept) {
  const chosen = step.options[kept.choice];
  const verdict =
    kept.answered && chosen
      ? kept.choice === step.right
        ? h("b", { class: "good" }, "✓ right")
        : h("b", { class: "bad" }, "✗ not so")
      : null;
  return h(
    "p",
    { class: "predicted" },
    h("span", { class: "faint-ink" }, "You predicted: "),
    predictionOf(step, kept),
    verdict ? " " : null,
    verdict,
  );
}

/** The answer. @param {Step} step */
export function answer(step) {
  return h(
    "div",
    { class: "answer", tabindex: -1 },
    h("p", {}, h("b", {}, step.options[step.right])),
    h("p", {}, step.reveal),
  );
}
