// Named views: they stand in the state, so that a link, an exported file and a notebook carry them.

import { group } from "../../core/controls.js";
import { h } from "../../core/dom.js";
import { toText } from "../../core/state.js";
import { read, write } from "../../core/store.js";

const MOST = 12;

/** @param {import("../../core/types.js").Slots} slots @param {() => string} suggested a name for what is shown */
export function bookmarks(slots, suggested) {
  const { model, page } = slots;
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
    if (all.length >= MOST) return slots.say(`${MOST} views are kept; drop one first`);
    const defaults = without(page.defaults);
    write(model, {
      bookmarks: [
        ...all,
        [field.value.trim().slice(0, 40) || suggested(), toText({ defaults }, read(model, Object.keys(defaults)))],
      ],
    });
    field.value = "";
  }

  const open = (text) =>
    slots.load({ ...Object.fromEntries(new URLSearchParams(text)), bookmarks: model.get("bookmarks") });
  const drop = (index) => write(model, { bookmarks: model.get("bookmarks").filter((_, i) => i !== index) });
  const show = () =>
    list.replaceChildren(
      ...model
        .get("bookmarks")
        .map(([name, text], i) =>
          h(
            "span",
            { class: "bookmark" },
            h("button", { type: "button", class: "chip", onclick: () => open(text) }, name),
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
  return {
    element: group("Views", h("div", { class: "pick-row" }, field, add), list),
    remove: () => model.off("change:bookmarks", show),
  };
}

/** @param {import("../../core/types.js").State} state */
const without = (state) => Object.fromEntries(Object.entries(state).filter(([name]) => name !== "bookmarks"));

/** What `bookmarks` in a state has to be. */
export const areBookmarks = (value) =>
  value.length <= MOST &&
  value.every((one) => Array.isArray(one) && one.length === 2 && one.every((part) => typeof part === "string"));
