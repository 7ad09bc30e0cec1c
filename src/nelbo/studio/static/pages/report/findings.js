// What is wrong with a run: each finding with its evidence, what to change, and a way to see it.

import { h } from "../../core/dom.js";
import { evidenceOf } from "./evidence.js";

export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");

/** What is missing, with the line of the shell that makes it. @param {string} why as report.py says it */
export function missingPart(why) {
  const [said, line] = why.split(/: (?=nelbo )/);
  return h("p", { class: "caption" }, sentence(said), line ? [": ", h("code", {}, line)] : "");
}

/**
 * @param {any} found content of findings.json; null where there is none
 * @param {string} missing why there is none
 * @param {(evidence: ReturnType<typeof evidenceOf>) => void} show
 */
export function findingParts(found, missing, show) {
  const heading = h("h2", { class: "report-part" }, "What is wrong");
  if (!found) return [heading, missingPart(missing)];
  const passed = found.passed.map((one) => `${one.title}: ${one.evidence.map(fact).join("; ")}`);
  const skipped = Object.entries(found.skipped).map(([id, why]) => `${id}: ${why}`);
  return [
    heading,
    h("p", { class: "verdict" }, found.verdict),
    ...found.findings.map((one) => finding(one, show)),
    fold(passed, "checks found nothing wrong"),
    fold(skipped, "checks could not be made"),
  ].filter(Boolean);
}

const fact = ({ label, text }) => `${label}: ${text}`;

function fold(lines, said) {
  if (!lines.length) return null;
  const list = h("ul", {}, ...lines.map((line) => h("li", {}, line)));
  return h("details", {}, h("summary", {}, `${lines.length} ${said}`), list);
}

function finding(one, show) {
  const evidence = evidenceOf(one.id);
  const words = evidence.page === "train" ? "Show it in the curves" : "Show it in the examples";
  return h(
    "article",
    { class: `finding is-${one.severity}` },
    h("h3", {}, `${sentence(one.severity)}: ${one.title}`),
    h("p", {}, one.meaning),
    h("ul", {}, ...one.evidence.map((each) => h("li", {}, fact(each)))),
    h("pre", { class: "code", tabindex: 0 }, one.change),
    one.cost_nats ? h("p", { class: "caption" }, `Costs ${one.cost_nats.text} per example.`) : null,
    h(
      "div",
      { class: "row" },
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-evidence": one.id,
          "aria-label": `${words}: ${one.title}`,
          onclick: () => show(evidence),
        },
        words,
      ),
      h("span", { class: "caption" }, one.source),
    ),
  );
}
