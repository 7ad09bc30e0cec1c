// Saved views of a page: they stand in its state, so that a link, an exported file and a notebook carry them.

import { group } from "./controls.js";
import { h } from "./dom.js";
import { MOST_VIEWS, toText } from "./state.js";
import { read, write } from "./store.js";

/** @import { Preset, Slots, State } from "./types.js" */

/**
 * Name, open and drop the views of a page whose state has `bookmarks`.
 * @param {Slots} slots
 * @param {() => string} [suggested] a name for what is shown
 */
export function bookmarks(slots, suggested) {
  const { model, page } = slots;
  const suggest = suggested ?? (() => `view ${model.get("bookmarks").length + 1}`);
  const field = h("input", {
    type: "text",
    "aria-label": "Name of this view",
    placeholder: "name this view",
    maxlength: 40,
  });
  const add = h("button", { type: "button", class: "quiet", "data-do": "bookmark", onclick: keep }, "Keep");
  const list = h("div", { class: "presets" });
  field.addEventListener("keydown", (event) => event.key === "Enter" && keep());

  function keep() {
    const all = model.get("bookmarks");
    if (all.length >= MOST_VIEWS) return slots.say(`${MOST_VIEWS} views are kept; drop one first`);
    const defaults = without(page.defaults);
    const name = field.value.trim().slice(0, 40) || suggest();
    write(model, { bookmarks: [...all, [name, toText({ defaults }, read(model, Object.keys(defaults)))]] });
    field.value = "";
  }

  const drop = (index) => write(model, { bookmarks: model.get("bookmarks").filter((_, i) => i !== index) });
  const show = () =>
    list.replaceChildren(
      ...model
        .get("bookmarks")
        .map(([name, text], i) =>
          h(
            "span",
            { class: "bookmark" },
            h("button", { type: "button", class: "chip", onclick: () => slots.load(text) }, name),
            h(
              "button",
              { type: "button", class: "drop", "aria-label": `Drop the view ${name}`, onclick: () => drop(i) },
              "×",
            ),
          ),
        ),
    );
  model.on("change:bookmarks", show);
  show();
  slots.hasViews = true;
  return {
    element: group("Views", h("div", { class: "pick-row" }, field, add), list),
    remove: () => model.off("change:bookmarks", show),
  };
}

/** What a presenter steps through: the saved views, else the presets. @param {Slots} slots @returns {{name: string, state: State|string}[]} */
export function viewsOf(slots) {
  const kept = "bookmarks" in slots.page.defaults ? slots.model.get("bookmarks") : [];
  return kept.length ? kept.map(([name, state]) => ({ name, state })) : slots.presets;
}

/** @param {State} state */
const without = (state) => Object.fromEntries(Object.entries(state).filter(([name]) => name !== "bookmarks"));
