// The VAE inspector: an example, where it lies in the latent space, its reconstruction, and what its loss is made of.

import { bookmarks } from "../core/bookmarks.js";
import { card, choice, group } from "../core/controls.js";
import { h } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, hear, onChange, read, write } from "../core/store.js";
import { demoOffer } from "./home/demo.js";
import { chooseExamples } from "./inspector/board.js";
import { colourOf, coloursOf, dropDown, layerSwitches, pickers, runLabel } from "./inspector/choose.js";
import { isPrepared } from "./inspector/columns.js";
import { told } from "./inspector/numbers.js";
import { isImage } from "./inspector/pixels.js";
import { code, why } from "./inspector/words.js";
import { settled } from "./inspector/settle.js";
import { openRun } from "./inspector/source.js";

/** @import { RunEntry, RunInfo, Slots, Source } from "../core/types.js" */

const numbers = (value) => Array.isArray(value) && value.every((v) => Number.isFinite(v));
const whole = (value) =>
  Array.isArray(value) && value.length <= 24 && value.every((v) => Number.isInteger(v) && v >= 0);

/** @type {import("../core/types.js").Page} */
export default {
  name: "inspector",
  ...PAGES.inspector,
  live: true,
  check: {
    pins: whole,
    axes: whole,
    z: numbers,
    q: numbers,
    view: numbers,
    other_view: numbers,
    lasso: numbers,
    layers: (value) => value.every((v) => typeof v === "string"),
  },
  help: [
    ["point at a term", "of the equation: what it is made of lights up; a click unfolds how it is computed"],
    ["click", "a point in the plane pins that example"],
    ["drag ◆", "decode another z"],
    ["drag ●, ▮", "move and widen q(z|x)"],
    ["Draw, Edit", "an input of your own: q(z|x), reconstruction and numbers follow the stroke"],
    ["Shift + drag", "a lasso around examples, which the table then shows"],
    ["Ctrl + wheel, pinch", "zoom the plane; + and − with the plane in focus"],
    ["Alt + drag, two fingers", "move the plane; arrows with the plane in focus"],
    ["double click, 0", "all of the plane"],
    ["Find", "a number, a class, or a condition such as kl > 10"],
  ],
  mount,
};

/** @param {Slots} slots */
function mount(slots) {
  const { model, page } = slots;
  /** @type {RunEntry[]} */
  let entries = [];
  /** @type {Source[]} */
  let sources = [];
  /** @type {?ReturnType<typeof chooseExamples>} */
  let board = null;
  let loading = 0;
  let gone = false;
  const status = h("p", { class: "status", role: "status" });
  const place = h("div", { class: "board" });
  slots.figure.append(status, place);

  const runBox = dropDown("Model", (run) =>
    write(model, { run, split: "", z: [], q: [], axes: [], view: [], lasso: [], search: "" }),
  );
  const otherBox = dropDown("Compare", (other) => write(model, { other, other_view: [], z: [], q: [] }));
  const splitBox = dropDown("Part of the data", (split) => write(model, { split, pins: [], active: 0, z: [], q: [] }));
  const axesBox = dropDown("Axes", (projection) =>
    write(model, { projection, axes: [], view: [], other_view: [], z: [], q: [], lasso: [] }),
  );
  const colourBox = dropDown("Colour by", (colour) => write(model, { colour }));
  const valuesBox = choice(slots, {
    name: "values",
    label: "Values",
    options: [
      ["raw", "units of the data"],
      ["standardized", "as the model sees them"],
    ],
  });
  const switches = layerSwitches(slots);
  const pick = pickers(
    slots,
    () => sources[0],
    pin,
    (text) => board?.find(text),
  );
  const views = bookmarks(slots, () => {
    const row = model.get("pins")[model.get("active")] ?? 0;
    return `${sources[0]?.className(row) ?? "example"} #${row}${model.get("other") ? ", compared" : ""}`;
  });
  slots.controls.append(
    group("Run", runBox.element, otherBox.element, splitBox.element, colourBox.element, axesBox.element, valuesBox),
    pick.element,
    switches.element,
    views.element,
  );
  slots.why.append(...why());
  const totals = totalCards(slots);
  const showTotals = () => sources.length && totals(sources[0].info);
  model.on("change:unit", showTotals);

  /** Make an example the one that is looked at; with Shift or a second one, rows are added. */
  function pin(row) {
    const pins = model.get("pins");
    if (pins.includes(row)) return write(model, { active: pins.indexOf(row), z: [], q: [] });
    if (pins.length >= 24) return slots.say("24 examples are pinned; unpin one first");
    write(model, { pins: [...pins, row], active: pins.length, z: [], q: [] });
  }

  const usable = (entry) => entry.status !== "damaged" && (entry.weights || entry.checkpoint !== null);
  /** The run that the state means, by its name or by its folder. @param {string} run */
  const entryOf = (run) => entries.find((entry) => entry.name === run || entry.run === run);
  let isQuiet = false; // while the state gets other words for what it means already
  const quietly = (change) => {
    isQuiet = true;
    write(model, change);
    isQuiet = false;
  };
  // a link names a run by its name: its folder is another one on another machine; a report and Python name its folder
  const isByName = !slots.host.notebook && page.name === "inspector";
  /** @param {{run: string, name?: string}} entry */
  const nameOf = (entry) => (isByName ? (entry.name ?? entry.run) : entry.run);
  /** @param {?{run: string, name?: string}} entry @param {string} key */
  const nameRun = (entry, key) => entry && nameOf(entry) !== model.get(key) && quietly({ [key]: nameOf(entry) });

  async function refresh() {
    try {
      entries = (await ask(model, "inspect.runs")).content.runs;
    } catch (error) {
      entries = [];
      if (!model.get("run")) return say(error.message);
    }
    if (gone) return;
    const good = entries.filter(usable);
    if (!model.get("run")) {
      const first = good.find((entry) => entry.recipe !== "autoencoder") ?? good[0];
      if (!first) return offer();
      quietly({ run: nameOf(first) });
    }
    for (const key of ["run", "other"]) nameRun(entryOf(model.get(key)), key);
    showRuns();
    await load();
  }

  function showRuns() {
    const run = model.get("run");
    const known = entryOf(run);
    const unknown = { run, name: run, title: run.split("/").pop(), status: "not in the list" };
    runBox.show(
      [...entries, ...(known ? [] : [unknown])].map((entry) => [nameOf(entry), runLabel(entry)]),
      run,
    );
    otherBox.show(
      [
        ["", "nothing"],
        ...entries.filter((entry) => usable(entry) && entry !== known).map((entry) => [nameOf(entry), runLabel(entry)]),
      ],
      model.get("other"),
    );
  }

  const demo = demoOffer(slots, {});

  async function offer() {
    if (place.firstChild !== demo.element)
      place.replaceChildren(demo.element, h("p", { class: "caption" }, "Or name a run: nelbo studio runs/x"));
    say("");
    demo.show((await ask(model, "train.list")).content);
  }

  const say = (text) => {
    status.textContent = text;
    status.hidden = !text;
  };

  async function load() {
    const mine = ++loading;
    const names = [model.get("run"), model.get("other")].filter(Boolean);
    if (names.length === 2 && names[0] === names[1]) return write(model, { other: "" });
    say(sources.length ? "" : "Embedding the examples …");
    slots.figure.setAttribute("aria-busy", "true");
    try {
      const opened = [];
      for (const name of names) {
        const isKept = (one) => name === one.run || name === one.info.name || name === one.info.run;
        const kept = sources.find((one) => isKept(one) && (one.split === model.get("split") || !model.get("split")));
        opened.push(kept ?? (await openedFor(name)));
        if (mine !== loading || gone) return;
      }
      if (opened.length === 2 && String(opened[0].info.event) !== String(opened[1].info.event)) {
        slots.say(`${opened[1].info.title} was trained on data of another shape; the two cannot be compared`);
        opened.pop();
        write(model, { other: "" });
      }
      sources = opened;
      ["run", "other"].forEach((key, i) => nameRun(opened[i]?.info ?? null, key));
      showRuns();
      say("");
    } catch (error) {
      if (mine !== loading || gone) return;
      say(error.message);
      board?.remove();
      board = null;
      place.replaceChildren();
      return;
    } finally {
      if (mine === loading) slots.figure.removeAttribute("aria-busy");
    }
    settle();
    splitBox.show(
      ["validation", "train", "test"].map((split) => [split, split]),
      sources[0].split,
    );
    colourBox.show(coloursOf(sources[0]), colourOf(sources[0], model.get("colour")));
    switches.refresh(sources[0]);
    valuesBox.hidden = isImage(sources[0].info.event) || !isPrepared(sources[0]);
    axesBox.element.hidden = !sources[0].info.principal;
    axesBox.show(
      [
        ["units", "latent units"],
        ["principal", "principal components"],
      ],
      model.get("projection"),
    );
    pick.refresh(sources[0]);
    showTotals();
    rebuild();
    complete();
  }

  /** A run with its first examples; with all of them, where a pinned one is farther on. @param {string} name */
  async function openedFor(name) {
    const split = model.get("split");
    const isAlone = slots.host.file;
    const one = await openRun(model, name, split, { isAlone });
    const isEnough = model.get("pins").every((row) => row < one.n || row >= one.info.of);
    return isEnough ? one : openRun(model, name, split, { isAlone, isWhole: true }).catch(() => one);
  }

  /** The first examples were shown at once; all others follow, as soon as no hand holds anything. */
  async function complete() {
    const mine = loading;
    const before = sources;
    const filled = async (one) => {
      if (one.isWhole || one.info.of <= one.info.n) return one;
      try {
        const all = await openRun(model, one.run, model.get("split"), { isAlone: slots.host.file, isWhole: true });
        if (one.isLocal) await all.fetchDecoder();
        return all;
      } catch {
        return one; // a file or a site, with which only the first travelled
      }
    };
    const after = await Promise.all(before.map(filled));
    while (slots.figure.querySelector(".dragging"))
      await new Promise((done) => addEventListener("pointerup", done, { once: true }));
    if (mine !== loading || gone || sources !== before || after.every((one, i) => one === before[i])) return;
    sources = after;
    const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    place.style.minHeight = `${place.offsetHeight}px`; // what stands below stays where it is
    showTotals();
    rebuild();
    await board.ready;
    place.style.minHeight = "";
    if (focused) /** @type {?HTMLElement} */ (place.querySelector(`[aria-label="${CSS.escape(focused)}"]`))?.focus();
  }

  /** Bring the state into what these runs have. */
  function settle() {
    const { change, said } = settled(
      read(model, ["pins", "active", "axes", "view", "other_view", "z", "q", "lasso"]),
      sources[0],
    );
    if (said.length) slots.say(said.join(" · "));
    write(model, change);
  }

  function rebuild() {
    board?.remove();
    place.replaceChildren();
    place.classList.toggle("pair", sources.length > 1);
    board = chooseExamples(slots, place, { sources, entries, pin, said: switches.said });
    showCode();
  }

  const showCode = () => (slots.code.textContent = sources.length ? code(slots, sources) : "");
  const names = { rebuild: ["pins", "axes", "projection"], load: ["run", "other", "split"] };
  const again = () => {
    if (!sources.length) return;
    settle(); // a link may have taken away the pins
    rebuild();
  };
  const reload = () => void (isQuiet || refresh());
  let queued = 0;
  const later = (f) => () => {
    cancelAnimationFrame(queued);
    queued = requestAnimationFrame(f);
  };
  const [onRebuild, onLoad] = [later(again), reload];
  const leaveRebuild = onChange(model, names.rebuild, onRebuild);
  const leaveLoad = onChange(model, names.load, onLoad);
  const leaveCode = onChange(model, ["active", "z", "q", "colour"], showCode);
  const recolour = () => {
    if (sources.length) colourBox.box.value = colourOf(sources[0], model.get("colour"));
    board?.recolour();
  };
  model.on("change:colour", recolour);
  const leaveTrain = hear(model, "train", (content) => content.what === "end" && refresh());
  const leaveConnect = hear(model, "connected", () => !sources.length && refresh());
  addEventListener("nelbo-theme", again);
  refresh();
  return () => {
    gone = true;
    cancelAnimationFrame(queued);
    demo.remove();
    pick.remove();
    views.remove();
    leaveTrain();
    leaveConnect();
    removeEventListener("nelbo-theme", again);
    board?.remove();
    leaveRebuild();
    leaveLoad();
    leaveCode();
    model.off("change:colour", recolour);
    model.off("change:unit", showTotals);
  };
}

/** Means of the terms over all examples, as cards. @param {Slots} slots @returns {(info: RunInfo) => void} shows a run's */
function totalCards({ model, numbers: place }) {
  const cards = {
    reconstruction_error: card("mean reconstruction error", { colour: "recon", name: "reconstruction_error" }),
    kl: card("mean KL", { colour: "kl", name: "kl" }),
    nelbo: card("mean total loss", { colour: "nelbo-c whole", name: "nelbo" }),
  };
  place.append(...Object.values(cards).map((one) => one.element));
  return (info) => {
    const unit = model.get("unit");
    for (const [term, one] of Object.entries(cards)) {
      const { mean, standard_error } = info.totals[term];
      const some = info.of > info.n ? `the first ${info.n.toLocaleString("en")} of ` : "";
      one.show(
        mean === null ? "∞" : told(mean, standard_error, unit),
        `over ${some}${info.of.toLocaleString("en")} ${info.split} examples`,
      );
    }
  };
}
