// What every page looks like, in every host: bar, claim, figure, numbers, controls, and below the questions, Why and Code.

import { announce, help, shortcuts } from "./a11y.js";
import { bookmarks } from "./bookmarks.js";
import { download, h, icon } from "./dom.js";
import { iframe, notebookLines } from "./embed.js";
import { history } from "./history.js";
import { picture, standalone } from "./plot.js";
import { presenter } from "./present.js";
import { fromText, toText } from "./state.js";
import { read, write } from "./store.js";
import { applyTheme, switchTheme } from "./theme.js";

/** @import { Host, Model, Page, Slots } from "./types.js" */

const ICONS = {
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  undo: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  reset: "M4 4v6h6M4.5 15a8 8 0 1 0 2-8.5L4 10",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
  share: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  present: "M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5",
  save: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2m0 3v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
};

/**
 * Draw a page into an element.
 * @param {Page} page
 * @param {Model} model holds `page.defaults`, and `unit` ("nats" or "bits")
 * @param {HTMLElement} el
 * @param {Host} [host] what this host can do besides
 * @returns {() => void} removes it
 */
export function openPage(page, model, el, host = {}) {
  const names = Object.keys(page.defaults);
  const root = h("article", { class: `nelbo page${host.isEmbedded ? " embedded" : ""}`, "data-page": page.name });
  applyTheme(root);
  let saying = 0; // until when a note stands
  const live = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  const note = h("div", { class: "note", role: "status", hidden: true });
  /** @type {Slots} */
  const slots = {
    page,
    model,
    host,
    root,
    figure: h("section", { class: "figure", "aria-label": "Figure" }),
    numbers: h("section", { class: "numbers", "aria-label": "Numbers" }),
    controls: h("section", { class: "controls", "aria-label": "Controls" }),
    questions: h("section", { class: "questions", "aria-label": "Worksheet", hidden: true }),
    why: h("div", { class: "why" }),
    code: h("pre", { class: "code", tabindex: 0 }),
    bar: h("div", { class: "page-extra" }),
    wide: h("div", { class: "wide", hidden: true }),
    say(text) {
      note.textContent = text;
      note.hidden = !text;
      announce(live, text);
      clearTimeout(saying);
      saying = setTimeout(() => (note.hidden = true), 8000);
    },
    announce: (text) => announce(live, text),
    load(state) {
      const { values, said } = fromText(page, state);
      const given = typeof state === "string" ? Object.fromEntries(new URLSearchParams(state)) : state;
      if (!("bookmarks" in given)) delete values.bookmarks; // saved views stay where one is opened
      write(model, values);
      if (said.length) slots.say(said.join(" · "));
    },
    presets: [],
  };
  const past = history(model, names);
  const undo = () => slots.say(past.undo() ? "" : "Nothing to undo");
  const redo = () => slots.say(past.redo() ? "" : "Nothing to redo");
  const button = (name, text, onclick, attributes) =>
    h(
      "button",
      { type: "button", class: "tool", title: text, "aria-label": text, onclick, ...attributes },
      icon(ICONS[name]),
    );
  const unit = unitSwitch(model);
  const presenting = presenter(slots);
  const address = () => host.address?.(toText(page, read(model, names)));
  const menu = saveMenu(page, model, slots, host, names);
  const wantsUnit = page.unit !== false;
  const bar = h(
    "header",
    { class: "bar" },
    h("div", { class: "headline" }, h("h1", {}, page.title), h("p", { class: "claim" }, page.claim)),
    h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Page" },
      slots.bar,
      wantsUnit ? unit.element : null,
      button("undo", "Undo (Ctrl+Z)", undo),
      button("redo", "Redo (Ctrl+Shift+Z)", redo),
      button("reset", "Reset", () => slots.load({})),
      host.address
        ? button("share", "Copy a link to exactly this", async () =>
            slots.say((await copy(address())) ? "Link copied" : address()),
          )
        : null,
      menu,
      button("present", "Presenter mode (F)", presenting.toggle),
      button("theme", "Light or dark", () => switchTheme(root)),
      button("help", "Help (?)", () => help(root, slots)),
    ),
  );
  const copyCode = h(
    "button",
    {
      type: "button",
      class: "quiet copy",
      onclick: async () =>
        slots.say(
          (await copy(slots.code.textContent)) ? "Code copied" : "Copying is not allowed here; select the text",
        ),
    },
    "Copy",
  );
  root.append(
    bar,
    slots.questions,
    h(
      "div",
      { class: "body" },
      h("div", { class: "main" }, slots.figure),
      h("aside", { class: "side" }, slots.numbers, slots.controls),
    ),
    slots.wide,
    h(
      "div",
      { class: "folds" },
      h("details", { class: "fold", "data-fold": "why" }, h("summary", {}, "Why"), slots.why),
      h("details", { class: "fold", "data-fold": "code" }, h("summary", {}, "Code"), copyCode, slots.code),
    ),
    live,
    note,
  );
  el.append(root);
  const leaveKeys = shortcuts(root, {
    undo,
    redo,
    help: () => help(root, slots),
    preset: (by) => stepPreset(slots, by),
    present: presenting.toggle,
    leave: presenting.leave,
    view: presenting.step,
  });
  const leave = page.mount(slots) ?? (() => {});
  const views = "bookmarks" in page.defaults && !slots.hasViews ? bookmarks(slots) : null;
  if (views) slots.controls.append(views.element);
  if (host.isEmbedded) root.append(wayOut(address));
  linkSymbols(root);
  // a formula wider than its place scrolls, also by the keyboard
  for (const formula of slots.why.querySelectorAll("math[display=block]")) formula.setAttribute("tabindex", "0");
  let leaveStrip = () => {};
  host.strip?.(slots).then((end) => (leaveStrip = end));
  host.say = slots.say;
  if (host.said?.length) slots.say(host.said.join(" · "));
  return () => {
    presenting.stop();
    views?.remove();
    leave();
    leaveStrip();
    leaveKeys();
    past.stop();
    clearTimeout(saying);
    unit.leave();
    root.remove();
  };
}

/** Nats or bits, with the one that holds in bold. @param {Model} model */
function unitSwitch(model) {
  const words = ["nats", "bits"].map((name) => h("span", {}, name));
  const element = h(
    "button",
    {
      type: "button",
      class: "tool unit",
      title: "Show nats or bits",
      onclick: () => write(model, { unit: model.get("unit") === "bits" ? "nats" : "bits" }),
    },
    h("span", { class: "unseen" }, "unit, "),
    words[0],
    " / ",
    words[1],
  );
  const show = () => words.forEach((word) => word.classList.toggle("on", word.textContent === model.get("unit")));
  model.on("change:unit", show);
  show();
  return { element, leave: () => model.off("change:unit", show) };
}

/** From a view in another page to the page itself, as it stands. @param {() => string|undefined} address */
function wayOut(address) {
  const link = h(
    "a",
    { class: "way-out", href: address() ?? "#", target: "_blank", rel: "noopener" },
    "Open in nelbo ↗",
  );
  const now = () => (link.href = address() ?? "#");
  for (const event of ["pointerenter", "focus"]) link.addEventListener(event, now);
  return link;
}

/** @param {Slots} slots @param {number} by */
function stepPreset(slots, by) {
  if (!slots.presets.length) return;
  slots.presetIndex = ((slots.presetIndex ?? (by > 0 ? -1 : 0)) + by + slots.presets.length) % slots.presets.length;
  const preset = slots.presets[slots.presetIndex];
  slots.load({ ...preset.state });
  slots.say(preset.name);
}

/** @param {Page} page @param {Model} model @param {Slots} slots @param {Host} host @param {string[]} names */
function saveMenu(page, model, slots, host, names) {
  const figure = () => /** @type {?SVGSVGElement} */ (slots.figure.querySelector("svg.plot"));
  const file = `nelbo-${page.name}`;
  const entry = (text, onclick) =>
    h(
      "button",
      {
        type: "button",
        role: "menuitem",
        onclick: () => {
          menu.open = false;
          onclick();
        },
      },
      text,
    );
  const entries = [
    entry("Figure as SVG", () => figure() && download(`${file}.svg`, standalone(figure()), "image/svg+xml")),
    entry("Figure as PNG", async () => figure() && download(`${file}.png`, await picture(figure()), "image/png")),
  ];
  if (host.exportUrl) {
    entries.push(
      entry("Page as one HTML file", () => {
        const state = read(model, names);
        for (const name of names)
          if (JSON.stringify(state[name]) === JSON.stringify(page.defaults[name])) delete state[name];
        const link = h("a", { href: host.exportUrl(state), download: "" });
        link.click();
      }),
    );
  }
  const copied = async (text, note) => slots.say((await copy(text)) ? note : text);
  if (host.embedded)
    entries.push(
      entry("Copy embed code", () => {
        const { address, note } = host.embedded(toText(page, read(model, names)));
        copied(iframe(page, address), note);
      }),
    );
  if (page.kind === "explorer" && !host.notebook)
    entries.push(
      entry("Copy lines for a notebook", () => copied(notebookLines(page, read(model, names)), "Lines copied")),
    );
  const menu = h(
    "details",
    { class: "menu" },
    h("summary", { class: "tool", title: "Save", "aria-label": "Save" }, icon(ICONS.save)),
    h("div", { role: "menu" }, ...entries),
  );
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(/** @type {?Node} */ (event.relatedTarget))) menu.open = false;
  });
  return menu;
}

// A symbol of a formula (data-sym="mu_p") lights up the marks that carry it (data-mark="mu_p"), and the other way round.
function linkSymbols(root) {
  const light = (event, on) => {
    const name =
      event.target.closest?.("[data-sym]")?.dataset.sym ?? event.target.closest?.("[data-mark]")?.dataset.mark;
    if (!name) return;
    for (const mark of root.querySelectorAll(`[data-mark="${name}"], [data-sym="${name}"]`))
      mark.classList.toggle("lit", on);
  };
  root.addEventListener("pointerover", (event) => light(event, true));
  root.addEventListener("pointerout", (event) => light(event, false));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
