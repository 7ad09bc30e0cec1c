// The strip above the curves: what a running training can be told, and what is said of it.

import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { remaining } from "./pace.js";
import { paceText } from "./snapshot.js";

/** @import { Slots } from "../../core/types.js" */
/** @import { RunRecord } from "./record.js" */

const ORDERS = [
  ["play", "Play"],
  ["pause", "Pause"],
  ["step", "Step"],
  ["epoch", "To epoch's end"],
  ["stop", "Stop"],
];

/** Whether a job of this status may still be told something. @param {string} status */
export const isWorking = (status) => ["starting", "training", "paused"].includes(status);

/**
 * @param {Slots} slots
 * @param {{send: (order: string) => void, resume: () => Promise<void>, inspect: () => void}} on
 */
export function ordersStrip(slots, { send, resume, inspect }) {
  const quiet = (name, text, onclick) => h("button", { type: "button", class: "quiet", ...name, onclick }, text);
  const buttons = Object.fromEntries(
    ORDERS.map(([order, text]) => [order, quiet({ "data-order": order }, text, () => send(order))]),
  );
  const again = quiet({ "data-do": "resume" }, "Go on", async () => {
    again.disabled = true; // one click, one training
    await resume();
    again.disabled = false;
  });
  const look = quiet({ "data-do": "inspect" }, "Inspect", inspect);
  const status = h("p", { class: "status", role: "status" });
  const element = h(
    "div",
    { class: "row train-strip", role: "toolbar", "aria-label": "Training" },
    ...Object.values(buttons),
    again,
    slots.host.studio ? look : null,
    status,
  );

  /** @param {?RunRecord} run */
  function show(run) {
    const state = run?.status ?? "";
    const working = Boolean(run?.job) && isWorking(state);
    const paused = working && state === "paused";
    for (const order of ["play", "step", "epoch"]) buttons[order].hidden = !paused;
    buttons.pause.hidden = !working || paused;
    buttons.stop.hidden = !working;
    again.hidden = !run || working || slots.host.file || ["damaged", "training", "loading"].includes(state);
    again.textContent = run && run.history.length >= (run.of ?? Infinity) ? "Train on" : "Go on";
    look.hidden = !run || state !== "finished";
    status.textContent = run ? sentence(run, slots.model.get("unit")) : "Choose a run, or start one.";
    status.classList.toggle("bad", ["failed", "damaged", "not finite"].includes(state));
  }
  return { element, show };
}

/** @param {RunRecord} run @param {string} unit */
function sentence(run, unit) {
  if (run.status === "damaged") return `damaged: ${run.message}`;
  if (run.status === "loading") return "Loading …";
  if (run.status === "starting") return `Starting: ${run.stage || "the first step"} …`;
  const line = run.history.at(-1);
  const part = line?.validation_nelbo === undefined ? "train" : "validation";
  const total = line?.[`${part}_nelbo`] ?? null;
  const loss = total === null ? "" : `, ${part} NELBO ${nats(total, unit)} ${unit}`;
  const text = `${run.status}: epoch ${run.history.length} of ${run.of ?? run.history.length}${loss}`;
  return [text, remaining(run), paceText(run), run.message].filter(Boolean).join(" · ");
}
