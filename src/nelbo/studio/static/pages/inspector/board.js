// All rows of the inspector, and what belongs to the active one: handles, linked cursor, units, film, table, comparison.

import { coalesced, h, set, trailing } from "../../core/dom.js";
import { ask, onChange, write } from "../../core/store.js";
import { along, axesOf as axesFor, movedTo } from "./axes.js";
import { colouring, colourOf } from "./choose.js";
import { isNamed } from "./columns.js";
import { comparePanel } from "./compare.js";
import { equations } from "./equations.js";
import { filmOfRows } from "./film.js";
import { marking } from "./marking.js";
import { neighbours } from "./neighbours.js";
import { told } from "./numbers.js";
import { NO_ENCODER, ownInput, sprayQ } from "./own.js";
import { isImage } from "./pixels.js";
import { exampleRow } from "./row.js";
import { examplesTable } from "./table.js";
import { TERMS } from "./terms.js";
import { unitsPanel } from "./units.js";

/** @import { RunEntry, Slots, Source } from "../../core/types.js" */

const VIEWS = ["view", "other_view"]; // of the first model's plane and of the second's

/**
 * @param {Slots} slots
 * @param {HTMLElement} place
 * @param {{sources: Source[], entries: RunEntry[], pin: (row: number) => void, said: HTMLElement}} options `said` shows what a layer has to say
 */
export function chooseExamples(slots, place, { sources, entries, pin, said }) {
  const { model } = slots;
  const [first, second] = sources;
  const axes = new Map(sources.map((source) => [source, axesFor(model, source, source === first)]));
  const axesOf = (source) => axes.get(source);
  const points = marking(slots, sources, {
    axesOf,
    wholeOf: () => boxes.get(first).whole,
    planes: () =>
      rows.flatMap(({ views }) => views.map((view, which) => ({ plane: view.plane, source: sources[which] }))),
    goTo: (middle, half) => active().views[0].plane.goTo(middle, half),
    changed: () => select(),
  });
  const parts = [];
  /** @type {{pin: number, views: ReturnType<typeof exampleRow>[]}[]} */
  const rows = []; // `views`: of each source
  const boxes = new Map();
  let align = null;
  let lassoing = false; // what a drag on the plane does without Shift
  let gone = false;
  let edited = null;
  const isPicture = isImage(first.info.event);
  const isDrawable = isPicture || isNamed(first);
  const canDraw = isDrawable && first.canEncode;

  const over = equations(slots, sources, { rows, active: () => active(), units: () => units, points });
  parts.push(over);

  async function build() {
    for (const source of sources) boxes.set(source, await source.boxes(axesOf(source)));
    if (gone) return;
    points.mix();
    place.append(...over.elements);
    model.get("pins").forEach((row, index) => addRow(row, index));
    addBelow();
    update();
    points.show();
    if (second && first.latent >= 2 && second.latent >= 2) {
      try {
        const [one, other] = sources.map((source) => axesOf(source).asked);
        align = (
          await ask(model, "inspect.align", {
            run: first.run,
            other: second.run,
            split: first.split,
            ...(one ? { axes: one } : {}),
            ...(other ? { other_axes: other } : {}),
          })
        ).content;
        update();
      } catch (error) {
        slots.say(error.message);
      }
    }
  }

  const missing = (row, error) =>
    slots.host.file ? `Example ${row} did not travel with this page; the studio shows it.` : error.message;

  /** What is looked at of a source's plane; a view that does not fit it is that of another run. */
  const viewOf = (which) => {
    const view = model.get(VIEWS[which]);
    return view.length === axesOf(sources[which]).w.length + 1 ? view : [];
  };
  const lookAgain = () => rows.forEach(({ views }) => views.forEach((view) => view.plane.look()));

  function addRow(row, index) {
    const views = sources.map((source, which) => {
      const name = source.className(row);
      const isFirst = which === 0;
      const view = exampleRow(place, source, {
        title: source.info.title,
        what: name === null ? `example ${row}` : `${name}, example ${row}`,
        axes: axesOf(source),
        boxes: boxes.get(source),
        view: () => viewOf(which),
        onView: (next) => write(model, { [VIEWS[which]]: next }),
        colour: colouring(source, colourOf(source, model.get("colour"))),
        inks: points.inksOf(source),
        labelled: () => !points.isLit && colourOf(source, model.get("colour")) === "label",
        unit: () => model.get("unit"),
        fixed: !isFirst,
        say: slots.say,
        onActive: () => index !== model.get("active") && write(model, { active: index, z: [], q: [] }),
        onCode: isFirst ? (z) => write(model, { z: full(source, row, z) }) : undefined,
        onQ:
          isFirst && !source.info.is_point
            ? ({ mean, sd }) => write(model, { q: [...mean, ...sd].map((v) => Number(v.toPrecision(6))), z: [] })
            : undefined,
        onLasso: isFirst && first.latent > 1 ? (lasso) => write(model, { lasso }) : undefined,
        isLassoing: () => lassoing,
        onPick: pin,
        onHover: (near) => hover(source, near),
        onUnpin: isFirst && model.get("pins").length > 1 ? () => unpin(index) : undefined,
        onEdit: isFirst && canDraw ? () => edit(index) : undefined,
        onDone: stopEdit,
        onShown: over.show,
        units: () => model.get("values"),
      });
      view.plane.layers.said = (text, hint) => isFirst && index === model.get("active") && tellLayer(text, hint);
      source.example(row).then(
        (example) => !gone && (view.setExample(example), update()),
        (error) => !gone && view.explain(missing(row, error)),
      );
      return view;
    });
    rows.push({ pin: row, views });
  }

  /** What a layer has to say; a hint names what would show it better. */
  function tellLayer(text, hint = "") {
    const zoom = h(
      "button",
      { type: "button", class: "chip", onclick: () => active().views[0].plane.toPrior() },
      "Zoom to the prior",
    );
    said.replaceChildren(text, ...(hint === "prior" ? [" ", zoom] : []));
  }

  /** A point of the plane as a code: the other units stay where they are. */
  function full(source, row, z) {
    const start = model.get("z").length
      ? model.get("z")
      : Array.from(active().views[0].example?.mean ?? source.meanOf(row));
    return movedTo(axesOf(source).w, start, z).map((v) => Number(Math.max(-1e3, Math.min(1e3, v)).toFixed(4)));
  }

  const active = () => rows[Math.min(model.get("active"), rows.length - 1)];

  function unpin(index) {
    const pins = model.get("pins").filter((_, i) => i !== index);
    write(model, { pins, active: Math.max(0, Math.min(model.get("active"), pins.length - 1)), z: [], q: [] });
  }

  function hover(source, row) {
    for (const { views } of rows) {
      views.forEach((view, which) => {
        if (row === null) return view.plane.showNear([]);
        const other = sources[which];
        if (row < other.n) view.plane.showNear([row]);
      });
    }
    hovered = row === null ? null : { source, row };
    if (row === null) return;
    sayHovered();
    refineHovered();
  }
  const hoverWords = h("p", { class: "caption hover-words" }, " ");
  /** @type {?{source: Source, row: number}} */
  let hovered = null;
  const refineHovered = trailing(() => void (hovered && hovered.source.loss.refine([hovered.row])));

  function sayHovered() {
    if (!hovered) return;
    const { source, row } = hovered;
    const unit = model.get("unit");
    const [error, kl, total] = TERMS.map((term) =>
      told(source.loss.values[term][row], source.loss.errors[term][row], unit),
    );
    const terms = source.info.is_point ? `reconstruction error ${error}` : `${error} + ${kl} = ${total}`;
    hoverWords.textContent = `${source.className(row) ?? "example"} #${row}: ${terms} ${unit}`;
  }

  /** Where a code of the first model lies in the second one's plane. */
  function counterpart(z) {
    if (!align || !second) return null;
    const p = along(axesOf(first).w, z).map((v, i) => v - align.center[i]);
    return align.rotation[0].map(
      (_, c) => align.scale * p.reduce((sum, v, r) => sum + v * align.rotation[r][c], 0) + align.target_center[c],
    );
  }

  function update() {
    const now = active();
    const [z, q] = [model.get("z"), model.get("q")];
    rows.forEach((one) => {
      const on = one === now;
      one.views.forEach((view) => view.setActive(on && rows.length > 1));
      const view = one.views[0];
      if (!view.example) return;
      const half = q.length / 2;
      view.setQ(on && q.length ? { mean: q.slice(0, half), sd: q.slice(half) } : null);
      view.setCode(on && z.length ? Float32Array.from(z) : null);
      view.plane.layers.show(model.get("layers"), on && z.length ? z : Array.from(view.example.mean));
      const other = one.views[1];
      if (!other?.example) return;
      const there = on && z.length ? counterpart(z) : null;
      other.plane.showGhost(there);
      other.setCode(there ? movedTo(axesOf(second).w, other.example.mean, there) : null);
      other.plane.layers.show(model.get("layers"), Array.from(other.example.mean));
    });
    over.show();
    const example = now.views[0].example;
    if (example) showRest(z.length ? z : example.mean);
  }

  let rest = 0;
  let restShown = "";
  /** What follows the hand a moment later: traverses of the units. */
  function showRest(z) {
    clearTimeout(rest);
    const key = String(Array.from(z));
    if (key === restShown) return;
    rest = setTimeout(() => {
      restShown = key;
      units?.show(Float32Array.from(z));
      near?.show(z);
    }, 120);
  }

  /** Show the examples within the lasso, and those that a search found, as a table, and their means. */
  function select() {
    const flat = model.get("lasso");
    for (const { views } of rows) views[0].plane.showLasso(flat);
    const { rows: chosen, words } = points.within(flat);
    table?.select(chosen, words);
  }

  let units = null;
  let near = null;
  let table = null;
  function addBelow() {
    place.append(hoverWords);
    place.append(actions(), sprayPlace, filmPlace);
    near = neighbours(first, pin);
    place.append(near.element);
    if (second) {
      const compare = comparePanel(slots, [first, second], entries, pin);
      place.append(compare.element);
      parts.push(compare);
      compare.draw();
    }
    if (first.latent > 1) {
      units = unitsPanel(slots, first);
      place.append(units.element);
      parts.push(units);
    }
    table = examplesTable(slots, first, pin);
    slots.wide.append(table.element);
    parts.push(table);
    select();
    slots.wide.hidden = false;
    if (model.get("film")) film.show();
  }

  const [sprayPlace, filmPlace] = [h("div"), h("div")];
  const film = filmOfRows(filmPlace, first, { rows, axesOf, isGone: () => gone });

  /** Buttons for the active row. */
  function actions() {
    const button = (name, text, onclick, attributes = {}) =>
      h("button", { type: "button", class: "quiet", "data-do": name, onclick, ...attributes }, text);
    const lasso = (event) => {
      lassoing = !lassoing;
      set(event.currentTarget, { "aria-pressed": lassoing });
    };
    const lassoTitle = "draw a line around examples (or hold Shift and drag)";
    return h(
      "div",
      { class: "row" },
      button("sample", "Sample q", spray, { title: "25 draws of z from q, decoded" }),
      canDraw && isPicture ? button("draw", "Draw your own", () => edit(null)) : null,
      button("back", "Back to the model's q", () => write(model, { z: [], q: [] })),
      first.latent > 1 ? button("lasso", "Lasso", lasso, { "aria-pressed": false, title: lassoTitle }) : null,
      model.get("pins").length > 1 ? button("film", "Path between the first two", toggleFilm) : null,
      isDrawable && !canDraw ? h("p", { class: "caption" }, `Draw and edit in the studio: ${NO_ENCODER}`) : null,
    );
  }

  async function spray() {
    const { pin: row, views } = active();
    try {
      await first.example(row);
    } catch (error) {
      return slots.say(missing(row, error));
    }
    sprayQ(slots, first, views[0], axesOf(first), sprayPlace).catch((error) =>
      sprayPlace.replaceChildren(h("p", { class: "caption" }, `The draws stand in the plane. ${error.message}`)),
    );
  }

  const toggleFilm = () => (write(model, { film: !model.get("film") }), model.get("film") ? film.show() : film.hide());

  /** Draw on an empty sheet in the active row, or change a pinned example, once that has arrived. */
  async function edit(index) {
    const chosen = index === null ? active() : rows[index];
    try {
      await first.example(chosen.pin);
    } catch (error) {
      return slots.say(missing(chosen.pin, error));
    }
    if (gone) return;
    stopEdit();
    write(model, { active: rows.indexOf(chosen), z: [], q: [] });
    edited = ownInput(slots, sources, chosen, index !== null, () => gone || redraw());
  }

  function stopEdit() {
    edited?.remove();
    edited = null;
  }

  const redraw = coalesced(update);
  const leaveTerms = sources.map((source) =>
    source.loss.listen(() => {
      sayHovered();
      redraw(); // the ranks
    }),
  );
  const leaveWatched = onChange(model, ["z", "q", "active", "layers", "unit"], redraw);
  const looked = coalesced(lookAgain);
  const inUnits = () => rows.forEach(({ views }) => views.forEach((view) => view.inUnits()));
  model.on("change:values", inUnits);
  const leaveViews = onChange(model, VIEWS, looked);
  model.on("change:lasso", select);
  slots.wide.replaceChildren();
  const ready = build().catch((error) => slots.say(error.message));
  return {
    ready,
    recolour: points.recolour,
    find: points.find,
    remove() {
      gone = true;
      clearTimeout(rest);
      refineHovered.stop();
      leaveTerms.forEach((leave) => leave());
      redraw.cancel();
      looked.cancel();
      leaveWatched();
      leaveViews();
      model.off("change:lasso", select);
      points.remove();
      model.off("change:values", inUnits);
      for (const { views } of rows) for (const view of views) view.remove();
      for (const part of parts) part.remove();
      film.remove();
      edited?.remove();
      slots.wide.replaceChildren();
    },
  };
}
