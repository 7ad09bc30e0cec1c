// The runs there are, as a table: what each cost, where it can be looked at, and two of them to compare.

import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { write } from "../../core/store.js";

/** @import { RunEntry, Slots } from "../../core/types.js" */

/** @type {import("../../core/types.js").Term[]} */
const TERMS = ["reconstruction_error", "kl", "nelbo"];

/** @param {Slots} slots */
export function runsTable(slots) {
  const { model, host } = slots;
  const body = h("tbody");
  const compare = h(
    "button",
    {
      type: "button",
      class: "primary",
      "data-do": "compare",
      onclick: () => host.go("inspector", { run: model.get("chosen")[0], other: model.get("chosen")[1] }),
    },
    "Compare side by side",
  );
  const hint = h("p", { class: "caption" }, "Choose two runs to compare them on the same examples.");
  const titles = ["choose", "run", "model", "data", "epochs", "reconstruction error", "KL", "total loss", "open"];
  const heads = titles.map((text) => h("th", { scope: "col" }, text));
  const element = h(
    "section",
    { class: "panel", hidden: true, "aria-label": "Runs" },
    h("h2", {}, "Runs"),
    h("div", { class: "scroll" }, h("table", { class: "runs-table" }, h("thead", {}, h("tr", {}, heads)), body)),
    h("div", { class: "row" }, compare, hint),
  );

  /** @param {RunEntry[]} entries */
  function show(entries) {
    element.hidden = !entries.length;
    const known = new Set(entries.map((entry) => entry.run));
    const chosen = model.get("chosen").filter((run) => known.has(run));
    const whole = entries.filter((entry) => entry.status !== "damaged").length;
    body.replaceChildren(...entries.map((entry) => (entry.status === "damaged" ? damaged(entry) : row(entry, chosen))));
    compare.disabled = chosen.length !== 2;
    compare.hidden = whole < 2;
    hint.hidden = chosen.length === 2 || whole < 2;
  }

  /** @param {RunEntry} entry @param {string[]} chosen */
  function row(entry, chosen) {
    const on = chosen.includes(entry.run);
    const ready = entry.status !== "training" || entry.epochs > 0;
    const box = h("input", {
      type: "checkbox",
      checked: on,
      "aria-label": `Compare ${entry.title}`,
      onchange: () =>
        write(model, { chosen: on ? chosen.filter((run) => run !== entry.run) : [...chosen, entry.run].slice(-2) }),
    });
    const to = (page, text) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-to": page,
          "aria-label": `${text}: ${entry.title}`,
          onclick: () => host.go(page, { run: entry.run }),
        },
        text,
      );
    return h(
      "tr",
      { "data-run": entry.run },
      h("td", {}, ready ? box : ""),
      h(
        "th",
        { scope: "row", title: entry.run },
        h("a", { href: `#inspector?${new URLSearchParams({ run: entry.run })}` }, entry.title),
      ),
      h("td", {}, [entry.recipe, entry.latent && `latent ${entry.latent}`].filter(Boolean).join(", ")),
      h("td", {}, entry.data ?? ""),
      h("td", {}, epochs(entry)),
      ...TERMS.map((term) => h("td", {}, value(entry, term, model.get("unit")))),
      h("td", { class: "run-doors" }, to("inspector", "Inspect"), to("train", "Curves"), to("report", "Report")),
    );
  }
  return { element, show };
}

/** @param {RunEntry} entry */
function damaged(entry) {
  return h(
    "tr",
    { class: "damaged" },
    h("td", {}),
    h("th", { scope: "row" }, entry.title),
    h("td", { colspan: 7 }, h("span", { class: "bad" }, "damaged: "), entry.error),
  );
}

/** @param {RunEntry} entry */
function epochs({ of, epochs: done, status }) {
  return of ? `${done} of ${of}${status === "finished" ? "" : `, ${status}`}` : status;
}

/** @param {RunEntry} entry @param {import("../../core/types.js").Term} term @param {string} unit */
function value({ terms }, term, unit) {
  if (!terms) return "";
  if (terms[term] === null) return term === "reconstruction_error" ? "–" : "∞";
  return nats(terms[term], unit);
}
