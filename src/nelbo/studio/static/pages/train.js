// Live training: start, pause, step and stop; the two terms of the loss apart; what the latent space looks like meanwhile.

import { group } from "../core/controls.js";
import { coalesced, h, set } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, hear, write } from "../core/store.js";
import { dropDown, runLabel } from "./inspector/choose.js";
import { demoOffer } from "./home/demo.js";
import { curvePanel, trailPanel } from "./train/curves.js";
import { settingsForm } from "./train/form.js";
import { isWorking, ordersStrip } from "./train/orders.js";
import { runRecord } from "./train/record.js";
import { snapshotPanel } from "./train/snapshot.js";
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
  const scrub = h("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 1,
    "aria-label": "Epoch shown",
    oninput: () => goTo(Number(scrub.value)),
  });
  const scrubText = h("output", {});
  const live = h("button", { type: "button", class: "chip", onclick: () => write(model, { epoch: -1 }) }, "latest");
  const body = h("div", { class: "board" });
  slots.figure.append(offer.element, strip.element, body);
  const curves = curvePanel(body, {
    unit: () => model.get("unit"),
    hover: (epoch, click = false) => (click || model.get("epoch") >= 0) && goTo(Math.round(epoch)),
  });
  body.append(
    h(
      "p",
      { class: "caption" },
      "Solid: training set; dashed: held out; pale: running epochs, and the run laid under. Click a curve to see that epoch everywhere.",
    ),
    h("label", { class: "scrub" }, h("span", {}, "epoch"), scrub, scrubText, live),
  );
  const below = h("div", { class: "columns two" });
  body.append(below);
  const trailPlace = h("div", { class: "panel" });
  below.append(trailPlace);
  const trail = trailPanel(trailPlace);
  const shot = snapshotPanel(below);
  const runBox = dropDown("Run", (name) => write(model, { run: name, epoch: -1 }));
  const otherBox = dropDown("Under it", (name) => write(model, { other: name }));
  const form = slots.host.file ? null : settingsForm(slots, start);
  slots.controls.append(group("Runs", runBox.element, otherBox.element), form?.element ?? "");
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
    let content;
    try {
      ({ content } = await ask(model, "train.list"));
    } catch {
      if (!slots.host.file) return;
      content = { runs: [], jobs: [], demo: { out: "", models: {}, offer: false } };
    }
    if (gone) return;
    const running = content.jobs.filter((one) => isWorking(one.status)).at(-1);
    if (!model.get("run")) {
      const wanted = running
        ? (running.run ?? running.job)
        : content.runs.filter((entry) => entry.status !== "damaged").at(-1)?.run;
      if (wanted) write(model, { run: wanted });
    }
    if (running && !job) job = running.job;
    const listed = namesOf(content, model.get("run"));
    runBox.show(listed.length ? listed : [["", "none yet"]], model.get("run"));
    otherBox.show([["", "nothing"], ...listed.filter(([name]) => name !== model.get("run"))], model.get("other"));
    offer.show(content);
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
    body.hidden = !run || (!run.history.length && !run.steps.length && !run.latest);
    if (!run) return;
    const epoch = model.get("epoch") < 0 ? null : model.get("epoch");
    curves.show(run, other, epoch);
    trail.show(run, other, epoch);
    scrub.max = String(Math.max(1, run.history.length));
    scrub.value = String(epoch ?? run.history.length);
    scrubText.textContent = epoch === null ? `${run.history.length}` : `${epoch} of ${run.history.length}`;
    set(live, { "aria-pressed": epoch === null });
    showSnapshot(epoch);
    slots.code.textContent = code(run);
  });

  let wanted = 0;
  async function showSnapshot(epoch) {
    const mine = ++wanted;
    const kept = run.snapshots;
    const newest = epoch === null && run.latest;
    if (!newest && !kept.length && run.status !== "finished") return;
    const at = newest || !kept.length ? null : nearestOf(kept, epoch);
    try {
      const found = await run.snapshot(at);
      if (mine === wanted && !gone) shot.show(found);
    } catch (error) {
      if (!gone && mine === wanted) slots.say(error.message);
    }
  }

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
    curves.remove();
    trail.remove();
    shot.remove();
  };
}

/** The epoch that is nearest to the one asked for; for null, the last. @param {number[]} kept @param {?number} epoch */
function nearestOf(kept, epoch) {
  if (epoch === null) return Math.max(...kept);
  return kept.reduce((best, one) => (Math.abs(one - epoch) < Math.abs(best - epoch) ? one : best));
}

/** [run, what it is called] of runs and jobs; the chosen one is among them. @param {{runs: any[], jobs: any[]}} content @param {string} chosen */
function namesOf({ runs, jobs }, chosen) {
  const listed = runs.map((entry) => [entry.run, runLabel(entry)]);
  for (const one of jobs)
    if (!listed.some(([name]) => name === (one.run ?? one.job)))
      listed.push([one.run ?? one.job, `${one.title} (${one.status})`]);
  if (chosen && !listed.some(([name]) => name === chosen)) listed.push([chosen, chosen.split("/").pop()]);
  return listed;
}
