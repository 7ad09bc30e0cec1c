// The report of a run: what was measured, what was found wrong, and the inspector below; also as one file.

import { h } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, hear, write } from "../core/store.js";
import inspector from "./inspector.js";
import { findingParts } from "./report/findings.js";
import { measureParts } from "./report/measured.js";

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
  const examples = h("h2", { class: "report-part", tabindex: -1 }, "Examples");
  const making = slots.host.file ? "" : h("div", { class: "row making-report" }, make, effort, status);
  slots.figure.append(making, ...(slots.host.file ? [status] : []), findings, sections, examples, below);
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
    const page = { href: `/report?run=${encodeURIComponent(run)}`, target: "_blank", rel: "noopener" };
    const hasPage = content.page && slots.host.studio;
    const figures = hasPage ? [h("p", {}, h("a", page, "Open the report with figures"))] : [];
    make.textContent = content.measure && content.diagnose ? "Measure and diagnose again" : "Measure and diagnose";
    try {
      findings.replaceChildren(...findingParts(content.diagnose, content.missing.diagnose, showEvidence));
      sections.replaceChildren(...measureParts(content.measure, content.missing.measure), ...figures);
    } catch {
      status.textContent =
        "The report kept with this run is damaged, or of another nelbo; measure and diagnose it again";
    }
  }

  /** Open the examples, or the curves, where a finding is seen. */
  function showEvidence(evidence) {
    if (evidence.page === "train" && slots.host.go) return slots.host.go("train", { run: model.get("run") });
    write(model, evidence.state ?? { unfold: "nelbo" });
    examples.scrollIntoView({ block: "start" });
    examples.focus({ preventScroll: true });
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
