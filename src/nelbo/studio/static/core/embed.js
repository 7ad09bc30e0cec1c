// A view inside another page: its address carries embed=1, and only the figure and its numbers are shown.

import { literal } from "./format.js";

/** @import { Page, State } from "./types.js" */

/**
 * Take settings that are not the page's own out of the text of a state.
 * @param {string} text
 * @returns {{step: number, isEmbedded: boolean, text: string}} `step`: the worksheet's
 */
export function parted(text) {
  const parts = new URLSearchParams(text);
  if (!parts.has("step") && !parts.has("embed")) return { step: 0, isEmbedded: false, text };
  const step = Math.round(Number(parts.get("step"))) || 0;
  const isEmbedded = parts.get("embed") === "1";
  parts.delete("step");
  parts.delete("embed");
  return { step, isEmbedded, text: parts.toString() };
}

/** The line of HTML that shows an address in another page. @param {Pick<Page, "title">} page @param {string} address */
export function iframe(page, address) {
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;");
  const title = escaped(page.title.replace("\u00ad", ""));
  return `<iframe src="${escaped(address)}" title="${title}" style="width:100%;height:560px;border:0" loading="lazy" allow="fullscreen; clipboard-write"></iframe>`;
}

/** The lines of Python that show a state in a notebook. @param {Pick<Page, "widget"|"defaults">} page @param {State} state */
export function notebookLines(page, state) {
  const python = (value) => {
    if (typeof value === "number") return Number.isInteger(value) ? String(value) : literal(value);
    if (typeof value === "boolean") return value ? "True" : "False";
    return JSON.stringify(value);
  };
  const differs = ([name, start]) => JSON.stringify(state[name]) !== JSON.stringify(start);
  const given = Object.entries(page.defaults).filter(differs);
  const written = given.map(([name]) => `${name}=${python(state[name])}`).join(", ");
  return `from nelbo.widgets import ${page.widget}\n\n${page.widget}(${written})`;
}
