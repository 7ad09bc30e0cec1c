// The worksheet's strip above a page: the question under way, the reader's prediction, the goal, and then the answer.
// Until a prediction stands the numbers are hidden; until the answer is shown, so is what gives it away (theme.css).

import { h } from "./dom.js";
import { watchGoal } from "./goal.js";
import { answer, predictForm, prediction } from "./predict.js";
import { phaseOf, remembered } from "./progress.js";
import { toText } from "./state.js";

/** @import { Slots, Worksheet } from "./types.js" */

const SAID = {
  predict: "The numbers come once you have predicted.",
  holds: "The goal holds already. Leave it, and come back by hand.",
  brought: "A button or a link brought this state. Reach the goal with a handle, a slider or a field.",
  others: "The runs that are open here are not those of this step. Open it from the worksheet.",
};

/**
 * @param {Slots} slots of the page
 * @param {Worksheet} worksheet
 * @param {number} number of the step, from 1
 * @returns {() => void} ends it
 */
export function worksheetStrip(slots, { STEPS, orderOf, startOf }, number) {
  const { model, page, questions, host, root, presets } = slots;
  const step = STEPS[number - 1];
  if (step?.page !== page.name) {
    delete root.dataset.step;
    return () => {};
  }
  const record = remembered();
  const order = orderOf(record.course.steps);
  const place = order.indexOf(number);
  const next = place < 0 ? undefined : order[place + 1];
  const phase = () => phaseOf(record.get(step.id));
  const body = h("div");
  const goal = h("p", { class: "goal", tabindex: -1 }, h("b", {}, "Goal: "), step.goal);
  const status = h("p", { role: "status" });
  const say = (text, kind = "") => {
    status.textContent = text;
    status.className = `goal-status ${kind}`;
    status.hidden = !text;
  };
  const worksheet = (at) => host.go("worksheet", { ...record.course, at: String(at) });
  const onward = async () => {
    const start = await startOf(STEPS[next - 1], model).catch(() => null);
    if (start) host.go(STEPS[next - 1].page, { step: String(next), ...start });
    else worksheet(next); // which says what is missing
  };
  const watched = watchGoal(slots, step, {
    reached(state, met) {
      if (phase() !== "open") return;
      record.set(step.id, { met, answered: true, state: toText(page, state) });
      draw();
      slots.announce(`Goal reached: ${met}`);
    },
    brought: () => phase() === "open" && say(SAID.brought),
    looked(fits) {
      questions.dataset.looked = fits ? "yes" : "no";
      if (phase() === "open") say(fits ? "" : SAID.others);
    },
  });

  /** Take changes down, and put the keyboard on a part. */
  function set(changes, focused) {
    record.set(step.id, changes);
    draw();
    if (phase() === "open" && watched.isMet()) say(SAID.holds);
    /** @type {?HTMLElement} */ (body.querySelector(focused))?.focus();
  }

  function draw() {
    const kept = record.get(step.id);
    const now = phase();
    const button = (text, what, onclick, attributes = {}) =>
      h("button", { type: "button", class: "chip", "data-do": what, onclick, ...attributes }, text);
    root.dataset.step = now;
    slots.presets = now === "done" ? presets : []; // those that `[` and `]` step through
    say(now === "predict" ? SAID.predict : kept.met ? `✓ ${kept.met}` : "", kept.met ? "done" : "");
    const form = () =>
      predictForm(step, kept, {
        draft: (changes) => record.set(step.id, changes),
        settle: (changes) => set(changes, ".goal"),
      });
    const buttons = {
      predict: () => [button("Reveal", "reveal", null, { disabled: true, title: "Predict first" })],
      open: () => [
        button("Reveal", "reveal", () => set({ answered: true }, ".answer")),
        button("Change the prediction", "rethink", () => set({ predicted: false }, "textarea")),
      ],
      done: () => (next ? [button("Next step", "next", onward, { class: "primary" })] : []),
    };
    body.replaceChildren(
      now === "predict" ? form() : prediction(step, kept),
      goal,
      status,
      ...(now === "done" ? [answer(step)] : []),
      h(
        "div",
        { class: "row" },
        ...buttons[now](),
        button("Back to the worksheet", "back", () => worksheet(number)),
      ),
    );
  }

  questions.hidden = false;
  questions.append(
    h(
      "div",
      { class: "head" },
      h("h2", {}, place < 0 ? `Worksheet, step ${number}` : `Worksheet, step ${place + 1} of ${order.length}`),
      h("b", { class: "ask-line" }, step.ask),
    ),
    body,
  );
  draw();
  return watched.stop;
}
