// A series of models along beta, from the autoencoder to collapse: the codes glide, a point walks along rate and distortion.

import { group } from "../core/controls.js";
import { coalesced, h, tell } from "../core/dom.js";
import { PAGES } from "../core/pages.js";
import { ask, write } from "../core/store.js";
import { between, betaAt, placeOf } from "./beta/along.js";
import { curveView } from "./beta/curve.js";
import { exampleView } from "./beta/example.js";
import { planeView } from "./beta/plane.js";
import { openSeries } from "./beta/series.js";
import { betaSlider } from "./beta/slider.js";
import { code, meansAt, offer, SERIES, why } from "./beta/words.js";
import { dropDown } from "./inspector/choose.js";

/** @import { Slots } from "../core/types.js" */
/** @import { Opened, Seen, Series } from "./beta/series.js" */

/** @type {import("../core/types.js").Page} */
export default {
  name: "beta",
  ...PAGES.beta,
  live: true,
  help: [
    ["drag ◆", "along the curve of rate and distortion"],
    ["slider", "the same: the weight of the KL, β"],
    ["click", "a point of the plane looks at that example"],
    ["arrows", "on ◆: a tenth of the way to the next model"],
  ],
  mount,
};

/** @param {Slots} slots */
function mount(slots) {
  const { model } = slots;
  /** @type {Series[]} */
  let all = [];
  /** @type {?ReturnType<typeof seriesBoard>} */
  let board = null;
  let newest = 0;
  let gone = false;
  const status = h("p", { class: "status", role: "status" });
  const place = h("div", { class: "board" });
  slots.figure.append(status, place);
  const seriesBox = dropDown("Series", (run) => write(model, { run, row: -1 }));
  const picker = rowPicker(slots, () => board);
  slots.controls.append(group("Models", seriesBox.element), picker.element);
  slots.why.append(...why());
  const say = (text) => {
    status.textContent = text;
    status.hidden = !text;
  };

  async function load() {
    const mine = ++newest;
    say(board ? "" : "Looking for runs that differ in β …");
    try {
      all = (await ask(model, "beta.series")).content.series;
      const isMeant = (entry) => [entry.run, entry.name].includes(model.get("run"));
      const chosen = all.find(({ runs }) => runs.some(isMeant)) ?? (model.get("run") ? null : all[0]);
      if (gone || mine !== newest) return;
      showList(chosen);
      const series = chosen && (await openSeries(model, chosen));
      if (gone || mine !== newest) return;
      board?.remove();
      board = null;
      place.replaceChildren(...(series ? [] : [offer(slots, all.length > 0)]));
      slots.code.textContent = series ? code(series) : SERIES;
      if (series) board = seriesBoard(slots, place, series, picker.show);
      say("");
    } catch (error) {
      if (mine === newest && !gone) say(error.message);
    }
  }

  /** The run that stands for a series in the list and in the address: the one of beta 1, or the first. @param {Series} one */
  const standsFor = ({ runs }) => runs.find(({ beta }) => beta === 1) ?? runs[0];

  /** @param {?Series} chosen */
  function showList(chosen) {
    const label = ({ data, runs }) =>
      `${(data ?? "data").split("/").pop()}, latent ${runs[0].latent}: β ${runs.map(({ beta }) => beta).join(", ")}`;
    const options = all.map((one) => [standsFor(one).run, label(one)]);
    seriesBox.show(options, chosen ? standsFor(chosen).run : "");
    seriesBox.element.hidden = !all.length;
  }

  model.on("change:run", load);
  load();
  return () => {
    gone = true;
    board?.remove();
    model.off("change:run", load);
  };
}

/** A field for the number of the example. @param {Slots} slots @param {() => ?ReturnType<typeof seriesBoard>} boardOf */
function rowPicker(slots, boardOf) {
  const field = h("input", {
    type: "text",
    inputmode: "numeric",
    "aria-label": "Example number",
    placeholder: "number",
  });
  const take = () => {
    const n = boardOf()?.series.n;
    const text = field.value.trim();
    if (!n || !text) return;
    const row = Math.min(n - 1, Math.max(0, Math.round(Number(text)) || 0));
    if (String(row) !== text) slots.say(`Examples are 0 to ${n - 1}. Shown: ${row}`);
    field.value = String(row);
    write(slots.model, { row });
  };
  field.addEventListener("keydown", (event) => event.key === "Enter" && take());
  const button = h("button", { type: "button", class: "quiet", onclick: take }, "Show");
  return {
    element: group("Example", h("div", { class: "pick-row" }, field, button)),
    show: (row) => (field.value = String(row)),
  };
}

/**
 * Slider, plane, curve and example of a series.
 * @param {Slots} slots
 * @param {HTMLElement} parent
 * @param {Opened} series
 * @param {(row: number) => void} looked called with the example that is shown
 */
function seriesBoard(slots, parent, series, looked) {
  const { model } = slots;
  const unit = () => model.get("unit");
  let place = placeOf(series.betas, model.get("beta"));
  /** @type {?{row: number, each: Seen[]}} */
  let seen = null;
  let gone = false;
  const [left, right, below] = ["beta-plane", "beta-curve", "beta-below"].map((name) => h("div", { class: name }));
  const words = h("p", { class: "caption", "data-mean": "" });
  const slider = betaSlider(series, { place: () => place, onPlace: moveTo });
  parent.append(slider.element, h("div", { class: "beta-board" }, left, right, below));
  const plane = planeView(left, series, (row) => write(model, { row }));
  const walk = (next) => {
    slider.stop();
    moveTo(next);
  };
  const curve = curveView(right, series, { onPlace: walk, onRest: slider.settle, unit });
  right.append(words);
  const example = exampleView(below, series, unit);

  /** @param {number} next */
  function moveTo(next) {
    place = Math.min(series.betas.length - 1, Math.max(0, next));
    const { t, i } = between(series.betas.length, place);
    write(model, { beta: t === 0 ? series.betas[i] : Number(betaAt(series.betas, place).toPrecision(4)) });
    draw();
  }

  const draw = coalesced(() => {
    slider.show();
    plane.draw(place, seen?.each ?? null);
    curve.draw(place);
    if (seen) example.draw(place, seen.each, seen.row);
    tell(words, meansAt(series, place, unit()));
  });

  /** Fetch the example that the state names under each model; a 6, the worksheet's digit, where it names none. */
  async function look() {
    const [{ info, labels }] = series.sources;
    const six = info.label_names?.indexOf("6") ?? -1;
    const wanted = model.get("row");
    const row = wanted >= 0 ? Math.min(wanted, series.n - 1) : Math.max(0, six < 0 ? 0 : labels.indexOf(six));
    try {
      const each = await series.example(row);
      if (gone || wanted !== model.get("row")) return;
      seen = { row, each };
      looked(row);
      draw();
    } catch (error) {
      if (!gone) slots.say(slots.host.file ? `Example ${row} did not travel with this page` : error.message);
    }
  }

  const follow = () => {
    if (slider.isMoving) return;
    const wanted = placeOf(series.betas, model.get("beta"));
    if (Math.abs(wanted - place) < 0.002) return; // the state keeps four digits of it
    place = wanted;
    draw();
  };
  plane.figure.resized = draw;
  const watched = { row: look, beta: follow, unit: draw };
  for (const [name, f] of Object.entries(watched)) model.on(`change:${name}`, f);
  addEventListener("nelbo-theme", draw);
  draw();
  look();
  return {
    series,
    remove() {
      gone = true;
      slider.stop();
      draw.cancel();
      plane.remove();
      curve.remove();
      removeEventListener("nelbo-theme", draw);
      for (const [name, f] of Object.entries(watched)) model.off(`change:${name}`, f);
    },
  };
}
