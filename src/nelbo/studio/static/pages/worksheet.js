// The worksheet: a lecture in steps over all pages. Predict, reach the goal by hand on the page where the answer shows, and
// read the answer. Everything that is written stays in this browser.

import { download, h } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { phaseOf, remembered } from "../core/progress.js";
import { ask, hear, write } from "../core/store.js";
import { demoOffer } from "./home/demo.js";
import { courseForm, LONGEST_TITLE, orderOf, readSteps } from "./worksheet/course.js";
import { stepItem } from "./worksheet/item.js";
import { startOf } from "./worksheet/models.js";
import { counted, printed, saved } from "./worksheet/record.js";
import { STEPS } from "./worksheet/steps.js";

export { orderOf, startOf, STEPS };

/** @import { Slots, Step } from "../core/types.js" */

const FOLDED = "0"; // the state in which no step is unfolded
const SURE = 4000; // ms in which "Start over" asks back

/** @param {Slots} slots */
function mount(slots) {
  const { model, figure, host } = slots;
  const record = remembered();
  slots.root.classList.add("one-column");
  let gone = false;
  let look = () => {}; // whether the runs are there that the unfolded step needs
  const name = h("input", {
    type: "text",
    maxlength: 60,
    autocomplete: "name",
    "aria-label": "Your name, for the printed record",
    placeholder: "Name, for the record",
    class: "reader",
    value: record.name,
    onchange: () => {
      record.name = name.value.trim();
      drawPaper(); // and nothing else: a click that takes the focus away lands on what it was meant for
    },
  });
  const title = h("p", { class: "course-title" });
  const track = h("div", { class: "track-steps", role: "progressbar", "aria-label": "Steps done", "aria-valuemin": 0 });
  const count = h("p", { class: "caption", role: "status" });
  const list = h("div", { class: "steps" });
  const paper = h("div", { class: "paper" });
  const course = h("div");
  const offer = demoOffer(slots, { made: () => look() });
  figure.append(title, h("div", { class: "worksheet-head" }, track, name), count, list, course, paper);

  const titleOf = () => model.get("title").slice(0, LONGEST_TITLE);
  const courseOf = () => ({ steps: model.get("steps"), title: titleOf() });
  const order = () => orderOf(model.get("steps"));
  const lineOf = (number) => ({ number, step: STEPS[number - 1], kept: record.get(STEPS[number - 1].id) });
  const lines = () => order().map(lineOf);
  const recorded = () => ({ title: titleOf(), name: record.name, lines: lines() });

  /** The step that is unfolded: the one asked for, else the first that is not answered. */
  function current() {
    const asked = Number(model.get("at"));
    if (order().includes(asked)) return asked;
    if (model.get("at") === FOLDED) return 0;
    return lines().find(({ kept }) => phaseOf(kept) !== "done")?.number ?? 0;
  }

  /** @param {string} [focused] a selector, for where the keyboard goes on */
  function draw(focused) {
    const all = lines();
    const open = current();
    const done = all.filter(({ kept }) => phaseOf(kept) === "done").length;
    title.textContent = titleOf();
    title.hidden = !titleOf();
    track.setAttribute("aria-valuemax", String(all.length));
    track.setAttribute("aria-valuenow", String(done));
    track.replaceChildren(
      ...all.map(({ number, kept }) =>
        h("span", { "data-phase": kept.met ? "met" : phaseOf(kept), class: number === open ? "here" : null }),
      ),
    );
    count.textContent = `${done} of ${all.length} steps answered: ${counted(all)}.`;
    look = () => {};
    const parts = [];
    all.forEach((line, i) => {
      const { part } = line.step;
      if (part !== all[i - 1]?.step.part) parts.push(h("h2", {}, part), h("ol", { start: i + 1 }));
      const shown = { position: i + 1, isOpen: line.number === open };
      parts.at(-1).append(stepItem(line, shown, acts(line.number, line.step, shown.isOpen, all[i + 1]?.number)));
    });
    list.replaceChildren(...parts);
    drawPaper();
    if (focused) /** @type {?HTMLElement} */ (list.querySelector(focused))?.focus();
  }

  const drawPaper = () => paper.replaceChildren(printed(recorded()));

  /**
   * @param {number} number
   * @param {Step} step
   * @param {boolean} isOpen
   * @param {number} [next]
   * @returns {import("./worksheet/item.js").Acts}
   */
  function acts(number, step, isOpen, next) {
    const here = (selector) => `[data-step="${number}"] ${selector}`;
    return {
      set(changes, focused) {
        record.set(step.id, changes);
        if (focused) draw(here(focused));
      },
      forget(focused) {
        record.forget([step.id]);
        draw(here(focused));
      },
      fold: () => write(model, { at: isOpen ? FOLDED : String(number) }),
      next: next ? () => write(model, { at: String(next) }) : null,
      runs(place, open) {
        look = () => needRuns(step, place, open);
        look();
      },
      async open() {
        record.course = courseOf();
        const state = await startOf(step, model).catch(() => null);
        if (state) host.go(step.page, { step: String(number), ...state });
      },
      again: () => host.go(step.page, Object.fromEntries(new URLSearchParams(record.get(step.id).state))),
    };
  }

  /** A step on trained models: where its runs are missing, the demo's are offered in its place. */
  async function needRuns(step, place, open) {
    open.disabled = true;
    let words = "This step needs Python behind the page: nelbo studio.";
    try {
      const isThere = await startOf(step, model);
      const { content } = await ask(model, "train.list");
      if (gone || !place.isConnected) return; // drawn anew meanwhile
      open.disabled = !isThere;
      offer.show(content);
      if (isThere) return place.replaceChildren();
      if (!offer.element.hidden) return place.replaceChildren(offer.element);
      words =
        "This step needs an autoencoder, a VAE and a β-VAE among the studio’s runs: make the demo’s with nelbo demo, and start nelbo studio where they are.";
    } catch {
      // no Python
    }
    place.replaceChildren(h("p", { class: "caption" }, words));
  }

  const over = startOver(() => {
    record.forget(lines().map(({ step }) => step.id));
    write(model, { at: "" });
    draw();
  });
  const button = (text, onclick) => h("button", { type: "button", class: "quiet", onclick }, text);
  slots.bar.append(
    button("Print the record", () => print()),
    button("Save the record", () => download("worksheet.md", saved(recorded()), "text/markdown")),
    over.element,
  );
  slots.why.innerHTML =
    "<p>Every answer, with its proof and the code that computes it, is in docs/worksheet.md and notebooks/worksheet.ipynb.</p>";
  slots.code.textContent = 'nelbo kl "Normal(0, 1)" "Normal(1, 2)"\nnelbo axioms kl --family Normal\nnelbo demo';

  /** The steps of this link; what is wrong with it is said. */
  function take() {
    const { said } = readSteps(model.get("steps"));
    if (said.length) slots.say(said.join(" · "));
    record.course = courseOf();
    course.replaceChildren(courseForm(slots, courseOf()));
    draw();
  }
  const turned = () => draw(`[data-step="${current()}"] .step-head`);
  model.on("change:steps change:title", take);
  model.on("change:at", turned);
  const heard = hear(model, "train", ({ what }) => what === "end" && look());
  take();
  if (model.get("at")) list.querySelector(`[data-step="${current()}"]`)?.scrollIntoView({ block: "center" });
  return () => {
    gone = true;
    over.stop();
    offer.remove();
    heard();
    for (const event of ["change:steps", "change:title"]) model.off(event, take);
    model.off("change:at", turned);
  };
}

/** Two clicks: one alone would lose all predictions. @param {() => void} sure */
function startOver(sure) {
  let timer = 0;
  const calm = () => {
    clearTimeout(timer);
    timer = 0;
    element.textContent = "Start over";
  };
  const element = h(
    "button",
    {
      type: "button",
      class: "quiet",
      "data-do": "over",
      onclick: () => {
        if (timer) {
          calm();
          return sure();
        }
        element.textContent = "Forget all answers?";
        timer = setTimeout(calm, SURE);
      },
    },
    "Start over",
  );
  return { element, stop: calm };
}

/** @type {import("../core/types.js").Page} */
export default {
  name: "worksheet",
  ...PAGES.worksheet,
  mount,
  unit: false,
  help: [
    ["predict", "choose an answer or write one, before the numbers are shown"],
    ["reach the goal", "with a handle, a slider, the arrow keys or a typed value; presets do not count"],
  ],
};
