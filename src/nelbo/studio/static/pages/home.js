// Where a reader begins: the runs there are, or the offer to make some, and what each page answers.

import { h, icon } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, hear, onChange } from "../core/store.js";
import { demoOffer } from "./home/demo.js";
import { isOrder, runsTable } from "./home/runs.js";

const POLL = 3000; // ms between two looks at the folders: a run of the shell appears

const SHOWN = ["chosen", "unit", "filter", "sort"];

/** @type {import("../core/types.js").Page} */
export default {
  name: "home",
  ...PAGES.home,
  live: true,
  check: { chosen: (value) => value.every((run) => typeof run === "string"), sort: isOrder },
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
  let timer = 0;
  const offer = demoOffer(slots, {
    made: () => host.go("inspector", { run: "runs/demo/vae", other: "runs/demo/beta-vae" }),
  });
  const runs = runsTable(slots);
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
  slots.figure.append(status, offer.element, runs.element, pages);

  async function refresh() {
    clearTimeout(timer);
    try {
      const { content } = await ask(model, "train.list");
      if (gone) return;
      entries = content.runs;
      offer.show(content);
      status.textContent = "";
    } catch (error) {
      status.textContent = error.message;
    }
    if (gone) return;
    show();
    if (host.studio) timer = setTimeout(again, POLL);
  }
  const again = () => (document.hidden ? (timer = setTimeout(again, POLL)) : refresh());

  const show = () => runs.show(entries);

  const heard = hear(model, "train", (content) => ["begin", "end"].includes(content.what) && refresh());
  const back = hear(model, "connected", refresh);
  const leaveShown = onChange(model, SHOWN, show);
  refresh();
  return () => {
    gone = true;
    heard();
    back();
    offer.remove();
    clearTimeout(timer);
    leaveShown();
  };
}
