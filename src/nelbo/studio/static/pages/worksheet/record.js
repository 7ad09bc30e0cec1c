// The record of a worksheet: what was predicted, what holds, which goals were reached. Printed on two A4 pages, or saved.

import { h } from "../../core/dom.js";
import { predictionOf } from "../../core/predict.js";

/** @import { Kept, Step } from "../../core/types.js" */

/** @typedef {{step: Step, kept: Kept}} Line */

/** Goals reached, and predictions that hold, of so many steps. @param {Line[]} lines */
export function counted(lines) {
  const met = lines.filter(({ kept }) => kept.met).length;
  const right = lines.filter(({ step, kept }) => kept.answered && kept.choice === step.right).length;
  return `${met} of ${lines.length} goals reached, ${right} of ${lines.length} predictions right`;
}

/** Whether the prediction that was chosen holds. @param {Step} step @param {Kept} kept */
const verdict = (step, kept) =>
  kept.answered && kept.choice !== undefined ? (kept.choice === step.right ? " ✓" : " ✗") : "";

const today = () => new Date().toLocaleDateString("en-CA"); // 2026-02-28: read alike everywhere

/**
 * What is printed; on the screen it is hidden.
 * @param {{title: string, name: string, lines: Line[]}} record
 * @returns {HTMLElement}
 */
export function printed({ title, name, lines }) {
  const cells = ({ step, kept }, i) => [
    h("td", {}, String(i + 1)),
    h(
      "td",
      {},
      h("b", {}, step.ask),
      h("div", { class: "goal" }, `Goal: ${step.goal}`),
      h("div", {}, kept.met ? `✓ ${kept.met}` : "not reached"),
    ),
    h("td", {}, predictionOf(step, kept), verdict(step, kept)),
    h("td", {}, ...(kept.answered ? [h("b", {}, step.options[step.right]), ". ", step.reveal] : ["not revealed"])),
  ];
  const heads = ["", "Question and goal", "Prediction", "Answer"];
  return h(
    "section",
    { class: "record", "aria-hidden": "true" },
    h("h1", {}, title || "Worksheet: KL, the ELBO and VAEs"),
    h(
      "p",
      { class: "record-head" },
      h("span", {}, "Name: ", h("b", {}, name || "_".repeat(32))),
      h("span", {}, "Date: ", h("b", {}, today())),
      h("span", {}, counted(lines)),
    ),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...lines.map((line, i) => h("tr", {}, ...cells(line, i)))),
    ),
  );
}

/** The same as Markdown. @param {{title: string, name: string, lines: Line[]}} record */
export function saved({ title, name, lines }) {
  return [
    `# ${title || "Worksheet: KL, the ELBO and VAEs"}`,
    "",
    `${name ? `${name}, ` : ""}${today()}. ${counted(lines)}.`,
    "",
    ...lines.flatMap(({ step, kept }, i) => [
      `## ${i + 1}. ${step.ask}`,
      "",
      `Prediction: ${predictionOf(step, kept)}`,
      "",
      `Goal: ${step.goal} ${kept.met ? `Reached: ${kept.met}` : "Not reached."}`,
      "",
      `Answer: ${kept.answered ? `${step.options[step.right]}. ${step.reveal}` : "not revealed."}`,
      "",
    ]),
  ].join("\n");
}
