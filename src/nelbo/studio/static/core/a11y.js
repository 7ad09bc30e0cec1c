// For hands on a keyboard and for ears.

import { h } from "./dom.js";

/** @import { Slots } from "./types.js" */

/** Have a text read aloud, also when it repeats the last one. @param {HTMLElement} live @param {string} text */
export function announce(live, text) {
  live.textContent = "";
  requestAnimationFrame(() => (live.textContent = text));
}

const KEYS = [
  ["Tab", "go to the next handle or control"],
  ["← → ↑ ↓", "move the focused handle; Shift: ten times as far"],
  ["Enter", "type the value of the focused handle (or double click it)"],
  ["[ ]", "previous, next preset"],
  ["Ctrl+Z", "undo; a whole drag is one step"],
  ["Ctrl+Shift+Z, Ctrl+Y", "redo"],
  ["F", "presenter mode: the figure fills the screen, with larger words; Escape leaves it"],
  [
    "Page Up, Page Down",
    "in presenter mode, the previous or next saved view, else preset; ← → where no handle has the focus",
  ],
  ["?", "this help"],
];

/** Show what keys and gestures do. @param {HTMLElement} root @param {Slots} slots */
export function help(root, slots) {
  const rows = [...KEYS, ...(slots.page.help ?? [])].map(([key, text]) =>
    h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, text)),
  );
  const dialog = h(
    "dialog",
    { class: "help", "aria-label": "Help" },
    h("h2", {}, slots.page.title),
    h("table", {}, h("tbody", {}, ...rows)),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")),
  );
  dialog.addEventListener("close", () => dialog.remove());
  root.append(dialog);
  dialog.showModal();
}

/**
 * Ask for a number; resolves to null where the reader thinks better of it.
 * @param {HTMLElement} root
 * @param {string} label
 * @param {number} value
 * @returns {Promise<number|null>}
 */
export function askNumber(root, label, value) {
  return new Promise((resolve) => {
    const input = h("input", { type: "text", inputmode: "decimal", "aria-label": label, value: String(value) });
    const dialog = h(
      "dialog",
      { class: "ask" },
      h(
        "form",
        { method: "dialog" },
        h("label", {}, label, input),
        h("button", { class: "primary", value: "ok" }, "Set"),
      ),
    );
    dialog.addEventListener("close", () => {
      const typed = Number(input.value.replace("−", "-").replace(",", "."));
      resolve(dialog.returnValue === "ok" && input.value.trim() && !Number.isNaN(typed) ? typed : null);
      dialog.remove();
    });
    root.append(dialog);
    dialog.showModal();
    input.select();
  });
}

const typing = (target) => target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select, dialog");

/**
 * Keys of the page.
 * @param {HTMLElement} root
 * @param {{undo: () => void, redo: () => void, help: () => void, preset: (by: number) => void, present: () => void,
 *   leave: () => boolean, view: (by: number) => boolean}} actions the last two say whether there was anything to do
 * @returns {() => void} ends them
 */
export function shortcuts(root, actions) {
  const pressed = (event) => {
    const own = root.contains(event.target) || event.target === document.body;
    if (!own || typing(event.target)) return;
    const isCommand = (event.ctrlKey || event.metaKey) && !event.altKey;
    const letter = event.key.toLowerCase();
    const command = letter === "z" ? (event.shiftKey ? "redo" : "undo") : letter === "y" ? "redo" : null;
    const key = isCommand ? command : event.altKey ? null : event.key;
    const isHeld = event.target.closest?.(".handle, input, [role=radio], [role=menuitem], [tabindex='0']");
    const turn = { PageUp: -1, PageDown: 1, ...(isHeld ? {} : { ArrowLeft: -1, ArrowRight: 1 }) }[key];
    if ((turn && actions.view(turn)) || (key === "Escape" && actions.leave())) {
      event.preventDefault();
      return;
    }
    const action = {
      f: actions.present,
      F: actions.present,
      undo: actions.undo,
      redo: actions.redo,
      "?": actions.help,
      "[": () => actions.preset(-1),
      "]": () => actions.preset(1),
    }[key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}
