// Which steps a class works through, in which order: a link says so, and a small form makes the link.

import { h } from "../../core/dom.js";
import { toText } from "../../core/state.js";
import { STEPS } from "./steps.js";

/** @import { Course, Slots } from "../../core/types.js" */

export const LONGEST_TITLE = 80;
const ALL = STEPS.map((_, i) => i + 1);

/**
 * The numbers that "1, 3, 7-9" stands for, and what of it stands for none.
 * @param {string} text "" is all steps
 * @returns {{order: number[], said: string[]}}
 */
export function readSteps(text) {
  const said = [];
  const order = [];
  for (const part of text.split(/[\s,;]+/).filter(Boolean)) {
    const [, from, to = from] = /^(\d{1,3})(?:[-–−](\d{1,3}))?$/.exec(part) ?? [];
    const [low, high] = [Number(from), Number(to)];
    if (!(low >= 1 && high >= low && high <= STEPS.length)) {
      said.push(`“${part.slice(0, 20)}” is no step; there are 1 to ${STEPS.length}`);
      continue;
    }
    for (let number = low; number <= high; number++) if (!order.includes(number)) order.push(number);
  }
  return { order: order.length ? order : [...ALL], said };
}

/** @param {string} steps */
export const orderOf = (steps) => readSteps(steps).order;

/**
 * The form.
 * @param {Slots} slots
 * @param {Course} course to begin with
 * @returns {HTMLElement}
 */
export function courseForm(slots, course) {
  const title = h("input", {
    type: "text",
    maxlength: LONGEST_TITLE,
    "aria-label": "Title",
    "data-course": "title",
    placeholder: "Machine learning, week 5",
    value: course.title,
    oninput: () => show(),
  });
  const steps = h("input", {
    type: "text",
    "aria-label": "Steps, in their order",
    "data-course": "steps",
    placeholder: `1-${STEPS.length}`,
    value: course.steps,
    oninput: () => show(),
  });
  const boxes = STEPS.map((step, i) => {
    const box = h("input", { type: "checkbox", onchange: () => toggle(i + 1, box.checked) });
    return { box, element: h("label", { class: "toggle" }, box, h("span", {}, `${i + 1}. ${step.ask}`)) };
  });
  const link = h("a", { class: "course-link", "data-course": "link" });
  const note = h("p", { class: "caption", role: "status" });
  const copy = h(
    "button",
    {
      type: "button",
      class: "chip",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(link.textContent);
          slots.say("Link copied");
        } catch {
          slots.say("Copying is not allowed here; select the link");
        }
      },
    },
    "Copy the link",
  );

  /** A step that is ticked comes last. @param {number} number @param {boolean} on */
  function toggle(number, on) {
    const chosen = steps.value.trim() ? orderOf(steps.value) : [];
    const next = on ? [...chosen, number] : (steps.value.trim() ? chosen : [...ALL]).filter((one) => one !== number);
    steps.value = next.join(",");
    show();
  }

  function show() {
    const { order, said } = readSteps(steps.value);
    boxes.forEach(({ box }, i) => (box.checked = order.includes(i + 1)));
    const all = order.length === ALL.length && order.every((number, i) => number === ALL[i]);
    const state = { steps: all ? "" : order.join(","), title: title.value.trim(), at: "" };
    const text = toText(slots.page, state);
    link.textContent = slots.host.address?.(text) ?? `#worksheet${text ? `?${text}` : ""}`;
    link.href = `#worksheet${text ? `?${text}` : ""}`;
    note.textContent = said.join(" · ");
    note.hidden = !said.length;
  }
  show();
  return h(
    "details",
    { class: "fold course" },
    h("summary", {}, "For a class: choose the steps, get a link"),
    h("label", { class: "control select" }, h("span", {}, "title"), title),
    h("label", { class: "control select" }, h("span", {}, "steps"), steps),
    note,
    h("div", { class: "course-steps" }, ...boxes.map(({ element }) => element)),
    h("p", {}, link),
    h("div", { class: "row" }, copy),
    h(
      "p",
      { class: "caption" },
      "Whoever opens it sees these steps under this title. What they write stays in their browser; they hand in the printed record. In a studio of their own, what follows the # goes behind its address.",
    ),
  );
}
