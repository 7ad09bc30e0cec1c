// The runs there are, as a table: what each cost, where it can be looked at, and two of them to compare.

import { h, set } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { write } from "../../core/store.js";

/** @import { RunEntry, Slots } from "../../core/types.js" */

/** @type {import("../../core/types.js").Term[]} */
const TERMS = ["reconstruction_error", "kl", "nelbo"];
const MANY = 6; // runs, from which on they are worth searching

/** What each column is sorted by; "open" has no order. @type {Record<string, (entry: RunEntry) => string|number|null|undefined>} */
const COLUMNS = {
  run: (entry) => entry.title.toLowerCase(),
  open: null,
  model: (entry) => modelOf(entry),
  data: (entry) => dataOf(entry),
  epochs: (entry) => entry.epochs,
  "reconstruction error": (entry) => entry.terms?.reconstruction_error,
  KL: (entry) => entry.terms?.kl,
  "total loss": (entry) => entry.terms?.nelbo,
};

/** Whether a state's order is one: a column's name, with a minus sign from the top down. @param {string} sort */
export const isOrder = (sort) => sort === "" || Boolean(orderOf(sort));
const orderOf = (sort) => (Object.hasOwn(COLUMNS, sort.replace(/^-/, "")) ? COLUMNS[sort.replace(/^-/, "")] : null);

/** @param {RunEntry} entry */
const modelOf = (entry) => [entry.recipe, entry.latent && `latent ${entry.latent}`].filter(Boolean).join(", ");
/** The last part of a path. @param {RunEntry} entry */
const dataOf = ({ data }) => (data ?? "").split("/").pop();

/**
 * The runs that have all words of a search, in an order; those without a number come last.
 * @param {RunEntry[]} entries
 * @param {string} filter
 * @param {string} sort
 */
export function arranged(entries, filter, sort) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (entry) =>
    [entry.name ?? entry.title, modelOf(entry), dataOf(entry), entry.status].join(" ").toLowerCase();
  const found = entries.filter((entry) => words.every((word) => text(entry).includes(word)));
  const by = orderOf(sort);
  if (!by) return found;
  const sign = sort.startsWith("-") ? -1 : 1;
  const known = (one) => one !== null && one !== undefined && one !== "";
  return found.sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (!known(x) || !known(y)) return Number(known(y)) - Number(known(x));
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
}

/** @param {Slots} slots */
export function runsTable(slots) {
  const { model, host } = slots;
  const body = h("tbody");
  const compare = h(
    "button",
    {
      type: "button",
      class: "primary",
      "data-do": "compare",
      onclick: () => host.go("inspector", { run: model.get("chosen")[0], other: model.get("chosen")[1] }),
    },
    "Compare side by side",
  );
  const hint = h("p", { class: "caption" }, "Choose two runs to compare them on the same examples.");
  const search = h("input", {
    type: "search",
    "aria-label": "Search the runs",
    placeholder: "name, model, data …",
    oninput: () => write(model, { filter: search.value }),
  });
  const found = h("span", { class: "caption", role: "status" });
  const searching = h("div", { class: "row search-runs", hidden: true }, search, found);
  const heads = Object.keys(COLUMNS).map((name) => headOf(model, name));
  const table = h(
    "table",
    { class: "runs-table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "choose")), heads)),
    body,
  );
  const element = h(
    "section",
    { class: "panel", hidden: true, "aria-label": "Runs" },
    h("h2", {}, "Runs"),
    searching,
    h("div", { class: "scroll" }, table),
    h("div", { class: "row" }, compare, hint),
  );
  let shown = "";

  /** @param {RunEntry[]} entries */
  function show(entries) {
    const [filter, sort, unit] = ["filter", "sort", "unit"].map((name) => model.get(name));
    const known = new Set(entries.map((entry) => entry.run));
    const chosen = model.get("chosen").filter((run) => known.has(run));
    const next = JSON.stringify([entries, filter, sort, unit, chosen]);
    if (next === shown) return; // it is asked for every few seconds: what is in focus stays
    shown = next;
    element.hidden = !entries.length;
    searching.hidden = entries.length < MANY && !filter;
    if (document.activeElement !== search) search.value = filter;
    const listed = arranged(entries, filter, sort);
    found.textContent = filter ? `${listed.length} of ${entries.length}` : "";
    const whole = entries.filter((entry) => entry.status !== "damaged").length;
    keepingFocus(body, () =>
      body.replaceChildren(
        ...listed.map((entry) => (entry.status === "damaged" ? damaged(entry) : row(slots, entry, chosen))),
      ),
    );
    for (const head of heads) head.mark(sort);
    compare.disabled = chosen.length !== 2;
    compare.hidden = whole < 2;
    hint.hidden = chosen.length === 2 || whole < 2;
  }
  return { element, show };
}

/** A column's name, which sorts by it: up, down, and not at all. */
function headOf(model, name) {
  if (!COLUMNS[name]) return Object.assign(h("th", { scope: "col" }, name), { mark() {} });
  const turn = () => {
    const now = model.get("sort");
    write(model, { sort: now === name ? `-${name}` : now === `-${name}` ? "" : name });
  };
  const button = h("button", { type: "button", class: "sort", "data-sort": name, onclick: turn }, name);
  const head = h("th", { scope: "col" }, button);
  const mark = (sort) => {
    const order = { [name]: "ascending", [`-${name}`]: "descending" }[sort] ?? "none";
    set(head, { "aria-sort": order });
  };
  return Object.assign(head, { mark });
}

/** Replace what is in a place; what had the focus gets it again. @param {HTMLElement} place @param {() => void} replace */
function keepingFocus(place, replace) {
  const had = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  replace();
  const again = [...place.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === had);
  if (had && again instanceof HTMLElement) again.focus();
}

/** @param {Slots} slots @param {RunEntry} entry @param {string[]} chosen */
function row({ model, host }, entry, chosen) {
  const on = chosen.includes(entry.run);
  const ready = entry.status !== "training" || entry.epochs > 0;
  const box = h("input", {
    type: "checkbox",
    checked: on,
    "aria-label": `Compare ${entry.title}`,
    onchange: () =>
      write(model, { chosen: on ? chosen.filter((run) => run !== entry.run) : [...chosen, entry.run].slice(-2) }),
  });
  const to = (page, text) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-to": page,
        "aria-label": `${text}: ${entry.title}`,
        onclick: () => host.go(page, { run: entry.run }),
      },
      text,
    );
  return h(
    "tr",
    { "data-run": entry.run },
    h("td", {}, ready ? box : ""),
    h(
      "th",
      { scope: "row", title: entry.run },
      h("a", { href: `#inspector?${new URLSearchParams({ run: entry.run })}` }, entry.title),
    ),
    h(
      "td",
      {},
      h("div", { class: "run-doors" }, to("inspector", "Inspect"), to("train", "Curves"), to("report", "Report")),
    ),
    h("td", { class: "words" }, modelOf(entry)),
    h("td", { class: "words", title: entry.data }, dataOf(entry)),
    h("td", {}, epochs(entry)),
    ...TERMS.map((term) => h("td", {}, value(entry, term, model.get("unit")))),
  );
}

/** @param {RunEntry} entry */
function damaged(entry) {
  return h(
    "tr",
    { class: "damaged" },
    h("td", {}),
    h("th", { scope: "row", title: entry.run }, entry.title),
    h("td", { colspan: 7 }, h("span", { class: "bad" }, "damaged: "), entry.error),
  );
}

/** @param {RunEntry} entry */
function epochs({ of, epochs: done, status }) {
  return of ? `${done} of ${of}${status === "finished" ? "" : `, ${status}`}` : status;
}

/** @param {RunEntry} entry @param {import("../../core/types.js").Term} term @param {string} unit */
function value({ terms }, term, unit) {
  if (!terms) return "";
  if (terms[term] === null) return term === "reconstruction_error" ? "–" : "∞";
  return nats(terms[term], unit);
}
