// Where a reader begins: the runs there are, or the offer to make some, and what each page answers.

import { h, icon } from "../core/dom.js";
import { nats } from "../core/format.js";
import { PAGES } from "../core/pages.js";
import { ask, hear, write } from "../core/store.js";
import { demoOffer } from "./home/demo.js";

/** @type {import("../core/types.js").Page} */
export default {
  name: "home",
  ...PAGES.home,
  live: true,
  check: { chosen: (value) => value.every((run) => typeof run === "string") },
  mount,
};

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model, host } = slots;
  slots.root.classList.add("one-column", "no-folds");
  slots.code.textContent = 'import nelbo\n\nrun = nelbo.load("runs/demo/vae")';
  /** @type {import("../core/types.js").RunEntry[]} */
  let entries = [];
  let gone = false;
  const offer = demoOffer(slots, {
    made: () => host.go("inspector", { run: "runs/demo/vae", other: "runs/demo/beta-vae" }),
  });
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
  const runs = h(
    "section",
    { class: "panel", hidden: true, "aria-label": "Runs" },
    h("h2", {}, "Runs"),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "runs-table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["", "run", "model", "data", "epochs", "reconstruction error", "KL", "total loss", ""].map((text) =>
              h("th", { scope: "col" }, text),
            ),
          ),
        ),
        body,
      ),
    ),
    h("div", { class: "row" }, compare, hint),
  );
  const status = h("p", { class: "status", role: "status" }, "Looking for runs …");
  const pages = h(
    "nav",
    { class: "doors", "aria-label": "What each page answers" },
    ...Object.entries(PAGES)
      .filter(([, { question }]) => question)
      .map(([name, { title, question, icon: path }]) =>
        h(
          "a",
          { class: "door", href: `#${name}`, "data-door": name },
          icon(path),
          h("strong", {}, title),
          h("span", {}, question),
        ),
      ),
  );
  slots.figure.append(status, offer.element, runs, pages);

  async function refresh() {
    try {
      const { content } = await ask(model, "train.list");
      if (gone) return;
      entries = content.runs;
      offer.show(content);
      status.textContent = "";
    } catch (error) {
      status.textContent = error.message;
    }
    show();
  }

  function show() {
    runs.hidden = !entries.length;
    const unit = model.get("unit");
    const known = new Set(entries.map((entry) => entry.run));
    const chosen = model.get("chosen").filter((run) => known.has(run));
    body.replaceChildren(
      ...entries.map((entry) => (entry.status === "damaged" ? damaged(entry) : row(entry, unit, chosen))),
    );
    compare.disabled = chosen.length !== 2;
    hint.hidden = chosen.length === 2 || entries.filter((entry) => entry.status !== "damaged").length < 2;
    compare.hidden = entries.filter((entry) => entry.status !== "damaged").length < 2;
  }

  function damaged(entry) {
    return h(
      "tr",
      { class: "damaged" },
      h("td", {}),
      h("th", { scope: "row" }, entry.title),
      h("td", { colspan: 7 }, h("span", { class: "bad" }, "damaged: "), entry.error),
    );
  }

  function row(entry, unit, chosen) {
    const on = chosen.includes(entry.run);
    const ready = entry.status !== "training" || entry.epochs > 0;
    const box = h("input", {
      type: "checkbox",
      checked: on,
      "aria-label": `Compare ${entry.title}`,
      onchange: () =>
        write(model, { chosen: on ? chosen.filter((run) => run !== entry.run) : [...chosen, entry.run].slice(-2) }),
    });
    const term = (name) =>
      !entry.terms
        ? ""
        : entry.terms[name] === null
          ? name === "reconstruction_error"
            ? "–"
            : "∞"
          : nats(entry.terms[name], unit);
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
      h(
        "td",
        {},
        entry.of
          ? `${entry.epochs} of ${entry.of}${entry.status === "finished" ? "" : `, ${entry.status}`}`
          : entry.status,
      ),
      ...["reconstruction_error", "kl", "nelbo"].map((name) => h("td", {}, term(name))),
      h("td", { class: "run-doors" }, to("inspector", "Inspect"), to("train", "Curves"), to("report", "Report")),
    );
  }

  const heard = hear(model, "train", (content) => ["begin", "end"].includes(content.what) && refresh());
  const back = hear(model, "connected", refresh);
  for (const name of ["chosen", "unit"]) model.on(`change:${name}`, show);
  refresh();
  return () => {
    gone = true;
    heard();
    back();
    offer.remove();
    for (const name of ["chosen", "unit"]) model.off(`change:${name}`, show);
  };
}
