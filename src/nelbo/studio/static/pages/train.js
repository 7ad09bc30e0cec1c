// Live training: start, pause, step and stop; the two terms of the loss apart; what the latent space looks like meanwhile.

import { group } from "../core/controls.js";
import { coalesced } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, hear, write } from "../core/store.js";
import { demoOffer } from "./home/demo.js";
import { settingsForm } from "./train/form.js";
import { runLists } from "./train/lists.js";
import { isWorking, ordersStrip } from "./train/orders.js";
import { runPanels } from "./train/panels.js";
import { runRecord } from "./train/record.js";
import { code, why } from "./train/words.js";

/** @type {import("../core/types.js").Page} */
export default {
  name: "train",
  ...PAGES.train,
  live: true,
  check: { settings: (value) => !Array.isArray(value) },
  mount,
};

/** @import { RunRecord } from "./train/record.js" */

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model } = slots;
  let gone = false;
  /** @type {?RunRecord} */
  let run = null;
  /** @type {?RunRecord} */
  let other = null;
  let job = null; // the demo trains three runs in turn: its page follows
  const strip = ordersStrip(slots, {
    send: (order) => ask(model, "train.order", { run: run.name, order }).catch(refused),
    resume,
    inspect: () => slots.host.go?.("inspector", { run: run.name }),
  });
  const offer = demoOffer(slots, { started: follow });
  const panels = runPanels(slots, goTo);
  slots.figure.append(offer.element, strip.element, panels.element);
  const lists = runLists(slots);
  const form = slots.host.file ? null : settingsForm(slots, start);
  slots.controls.append(group("Runs", ...lists.elements), form?.element ?? "");
  slots.why.append(...why());

  const refused = (error) => slots.say(error.message);
  const click = () => `${Date.now()}-${Math.random()}`;

  async function start(settings) {
    const { content } = await ask(model, "train.start", { settings, click: click() });
    follow(content);
  }

  async function resume() {
    const done = run.history.length;
    const all = run.of ?? done;
    try {
      const more = done >= all ? { epochs: all + Math.max(10, Math.round(all / 2)) } : {};
      follow((await ask(model, "train.resume", { run: run.name, ...more, click: click() })).content);
    } catch (error) {
      refused(error);
    }
  }

  function follow(summary) {
    job = summary.job;
    write(model, { run: summary.run ?? summary.job, epoch: -1 });
    list();
  }

  function goTo(epoch) {
    if (!run?.history.length) return;
    write(model, { epoch: Math.max(0, Math.min(run.history.length, epoch)) });
  }

  async function list() {
    const content = await lists.fetch();
    if (gone || !content) return;
    const running = lists.show(content);
    if (running && !job) job = running.job;
    offer.show(content);
    form?.compare(content.runs);
  }

  function open(name) {
    run?.close();
    run = null;
    if (name) {
      run = runRecord(model, name, draw);
      run.load();
    }
    draw();
  }
  function openOther(name) {
    other?.close();
    other = name && name !== model.get("run") ? runRecord(model, name, draw) : null;
    other?.load();
    draw();
  }

  const draw = coalesced(() => {
    if (gone) return;
    strip.show(run);
    const isEmpty = run && !run.history.length && !run.steps.length && !run.latest;
    panels.element.hidden = !run || (isEmpty && !isWorking(run.status));
    if (!run) return;
    panels.show(run, other, model.get("epoch") < 0 ? null : model.get("epoch"));
    slots.code.textContent = code(run);
  });

  const heard = hear(model, "train", (content, buffers) => {
    if (content.what === "begin") {
      if (job && content.job === job && content.run !== model.get("run")) write(model, { run: content.run });
      list();
    }
    if (content.what === "end") list();
    run?.event(content, buffers);
    other?.event(content, buffers);
  });
  const back = hear(model, "connected", () => {
    list();
    run?.load();
  });
  const changes = {
    run: () => (open(model.get("run")), list()),
    other: () => (openOther(model.get("other")), list()),
    epoch: draw,
    unit: draw,
    settings: draw,
  };
  for (const [name, f] of Object.entries(changes)) model.on(`change:${name}`, f);
  list();
  if (model.get("run")) open(model.get("run"));
  if (model.get("other")) openOther(model.get("other"));
  draw();
  return () => {
    gone = true;
    draw.cancel();
    heard();
    back();
    for (const [name, f] of Object.entries(changes)) model.off(`change:${name}`, f);
    offer.remove();
    form?.remove();
    run?.close();
    other?.close();
    panels.remove();
  };
}
