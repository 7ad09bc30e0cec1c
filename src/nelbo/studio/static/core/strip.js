// The worksheet's strip below a page: the question under way, its goal checked on the state, and the answer.

import { h } from "./dom.js";
import { remembered } from "./progress.js";
import { read } from "./store.js";

/**
 * @param {import("./types.js").Slots} slots of the page
 * @param {import("./types.js").Step[]} steps of the worksheet
 * @param {number} number of the step, from 1
 * @returns {() => void} ends it
 */
export function worksheetStrip(slots, steps, number) {
  const step = steps[number - 1];
  if (!step || step.page !== slots.page.name) return () => {};
  const record = remembered();
  const { model, page, questions, host } = slots;
  const result = h("p", { role: "status" });
  const answer = h("p", { hidden: true }, step.reveal);
  questions.hidden = false;
  questions.append(
    h("div", { class: "head" }, h("h2", {}, `Worksheet ${number}`), h("b", {}, step.ask)),
    h("p", {}, step.goal),
    result,
    answer,
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "chip", onclick: () => (answer.hidden = !answer.hidden) }, "Reveal"),
      h("button", { type: "button", class: "chip", onclick: () => host.go("worksheet") }, "Back to the worksheet"),
    ),
  );
  const names = Object.keys(page.defaults);
  const start = JSON.stringify(read(model, names));
  const check = () => {
    const state = read(model, names);
    if (answer.dataset.met || JSON.stringify(state) === start || !step.met(state)) return;
    answer.dataset.met = "yes";
    answer.hidden = false;
    result.className = "done";
    result.textContent = `✓ ${step.shown(state)}`;
    record.set(number - 1, { met: step.shown(state) });
    slots.announce(`Goal reached: ${step.shown(state)}`);
  };
  for (const name of names) model.on(`change:${name}`, check);
  return () => {
    for (const name of names) model.off(`change:${name}`, check);
  };
}
