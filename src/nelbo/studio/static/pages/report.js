// The report of a run: what was measured, what was found wrong, and the inspector below; also as one file.

import { group } from "../core/controls.js";
import { h } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, hear } from "../core/store.js";
import inspector from "./inspector.js";

/** @type {import("../core/types.js").Page} */
export default { ...inspector, name: "report", ...PAGES.report, mount };

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model } = slots;
  let gone = false;
  const status = h("p", { class: "status", role: "status" });
  const findings = h("section", { class: "findings" });
  const sections = h("section", { class: "measured" });
  const make = h(
    "button",
    { type: "button", class: "primary", "data-do": "measure", onclick: measure },
    "Measure and diagnose",
  );
  const effort = h(
    "select",
    { "aria-label": "Effort" },
    ...[
      ["quick", "quick: seconds"],
      ["normal", "normal"],
      ["thorough", "thorough: minutes"],
    ].map(([value, text]) => h("option", { value }, text)),
  );
  const below = h("div", {});
  slots.figure.append(status, findings, sections, h("h2", { class: "report-part" }, "Examples"), below);
  if (!slots.host.file) slots.controls.append(group("Report", h("div", { class: "pick-row" }, make, effort)));
  const leaveInspector = inspector.mount({ ...slots, figure: below });

  async function show() {
    const run = model.get("run");
    if (!run) return;
    let content;
    try {
      ({ content } = await ask(model, "report.open", { run }));
    } catch (error) {
      status.textContent = error.message;
      return;
    }
    if (gone || run !== model.get("run")) return;
    const figures =
      content.page && slots.host.studio
        ? [
            h(
              "p",
              {},
              h(
                "a",
                { href: `/report?run=${encodeURIComponent(run)}`, target: "_blank", rel: "noopener" },
                "Open the report with figures",
              ),
            ),
          ]
        : [];
    try {
      findings.replaceChildren(...findingParts(content.diagnose, content.missing.diagnose));
      sections.replaceChildren(...measureParts(content.measure, content.missing.measure), ...figures);
    } catch {
      status.textContent =
        "The report kept with this run is damaged, or of another nelbo; measure and diagnose it again";
    }
  }

  async function measure() {
    make.disabled = true;
    try {
      await ask(model, "report.make", { run: model.get("run"), effort: effort.value });
      status.textContent = "Starting …";
    } catch (error) {
      slots.say(error.message);
      make.disabled = false;
    }
  }

  const heard = hear(model, "train", (content) => {
    if (content.what === "section" && content.run === model.get("run"))
      status.textContent = `Measuring: ${content.title} …`;
    if (content.what !== "end" || content.job !== `${model.get("run")} report`) return;
    make.disabled = false;
    status.textContent = content.status === "finished" ? "" : content.message;
    show();
  });
  model.on("change:run", show);
  show();
  return () => {
    gone = true;
    heard();
    model.off("change:run", show);
    leaveInspector();
  };
}

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");

function findingParts(found, missing) {
  const heading = h("h2", { class: "report-part" }, "What is wrong");
  if (!found) return [heading, h("p", { class: "caption" }, sentence(missing))];
  return [
    heading,
    h("p", { class: "verdict" }, found.verdict),
    ...found.findings.map((one) =>
      h(
        "article",
        { class: `finding is-${one.severity}` },
        h("h3", {}, `${sentence(one.severity)}: ${one.title}`),
        h("p", {}, one.meaning),
        h("ul", {}, ...one.evidence.map((fact) => h("li", {}, `${fact.label}: ${fact.text}`))),
        h("pre", { class: "code", tabindex: 0 }, one.change),
        one.cost_nats ? h("p", { class: "caption" }, `Costs ${one.cost_nats.text} per example.`) : null,
        h("p", { class: "caption" }, one.source),
      ),
    ),
    found.passed.length
      ? h(
          "details",
          {},
          h("summary", {}, `${found.passed.length} checks found nothing wrong`),
          h(
            "ul",
            {},
            ...found.passed.map((one) =>
              h("li", {}, `${one.title}: ${one.evidence.map((fact) => `${fact.label}: ${fact.text}`).join("; ")}`),
            ),
          ),
        )
      : null,
    Object.keys(found.skipped).length
      ? h(
          "details",
          {},
          h("summary", {}, `${Object.keys(found.skipped).length} checks could not be made`),
          h("ul", {}, ...Object.entries(found.skipped).map(([id, why]) => h("li", {}, `${id}: ${why}`))),
        )
      : null,
  ].filter(Boolean);
}

function measureParts(report, missing) {
  const heading = h("h2", { class: "report-part" }, "What was measured");
  if (!report) return [heading, h("p", { class: "caption" }, sentence(missing))];
  return [
    heading,
    h(
      "dl",
      { class: "facts" },
      ...Object.entries(report.facts).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]),
    ),
    ...report.sections.map((section) =>
      h(
        "section",
        { class: "panel" },
        h("h3", {}, section.title),
        h("p", { class: "caption" }, section.finding),
        rows(section),
        ...section.notes.map((note) => h("p", { class: "caption" }, sentence(note))),
      ),
    ),
  ];
}

function rows(section) {
  if (!section.rows.length) return null;
  const training = section.rows.some((one) => one.values.training);
  const cell = (found) => h("td", {}, found?.text ?? "");
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "quantity"),
          h("th", { scope: "col" }, "held-out"),
          training ? h("th", { scope: "col" }, "training") : null,
        ),
      ),
      h(
        "tbody",
        {},
        ...section.rows.map((one) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", title: one.meaning }, one.label),
            cell(one.values.held_out),
            training ? cell(one.values.training) : null,
          ),
        ),
      ),
    ),
  );
}
