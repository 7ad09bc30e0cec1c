// An example that is no picture: each column of a table, or each count, by its name, with its reconstruction on the same
// track. Many values are bars that stand side by side.

import { h, s, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";

/** @import { Source } from "../../core/types.js" */

export const FEW = 40; // values that can still be named
const SEEN = 3.5; // standard deviations that a track shows at least
const SIZE = { width: 640, height: 190 };

/** Whether an example's values have a place for their names. @param {Source} source */
export const isNamed = (source) => source.features <= FEW;

/** The name of each value. @param {Source} source @returns {string[]} */
export const namesOf = (source) =>
  source.info.features ?? Array.from({ length: source.features }, (_, i) => `x${i + 1}`);

/** Whether the model sees other numbers than the data hold. @param {Source} source */
export const isPrepared = ({ info: { preparation } }) => preparation.mean !== null || preparation.scale !== 1;

/**
 * From the numbers that the model sees to those of the data, and back.
 * @param {Source} source
 * @param {string} units "raw" or "standardized"
 */
export function unitsOf({ info: { preparation } }, units) {
  const { mean, std, scale } = preparation;
  const isRaw = units === "raw";
  return {
    shown: (v, i) => (isRaw ? (mean ? v * std[i] + mean[i] : v / scale) : v),
    seen: (v, i) => (isRaw ? (mean ? (v - mean[i]) / std[i] : v * scale) : v),
  };
}

/**
 * @param {HTMLElement} parent
 * @param {Source} source
 * @param {() => string} units "raw" or "standardized"
 * @returns {ValuesView}
 *
 * @typedef {Object} ValuesView
 * @property {() => void} draw anew, as in other units
 * @property {(values: ArrayLike<number>) => void} original
 * @property {(values: ArrayLike<number>) => void} rebuilt
 * @property {(text: string) => void} say what the reconstruction is of
 * @property {(errors: ?ArrayLike<number>) => void} light marks each value by what it costs; null takes that away
 * @property {(changed: ?((x: Float32Array) => void)) => void} edit let the reader change the example; null ends it
 */
export function valuesView(parent, source, units) {
  return isNamed(source) ? named(parent, source, units) : side(parent, source);
}

/**
 * Where on its track a value lies, from 0 to 1, which value lies there, and where 0 (or the mean) does. `most` is the largest
 * count in sight.
 * @param {Source} source
 */
function tracks(source) {
  const { info } = source;
  const { low, high } = info.columns;
  const isWhole = /counts|integers|\{0, 1\}/.test(info.support);
  if (info.preparation.mean) {
    // standard deviations: one scale for all columns, around their means
    const at = (v) => 0.5 + v / (2 * SEEN);
    const said = `track: mean ± ${SEEN} standard deviations`;
    return { at, value: (share_) => (2 * share_ - 1) * SEEN, zero: () => 0.5, isWhole, said };
  }
  if (isCount(source)) {
    const at = (v, i, most) => Math.sqrt(v / most);
    return { at, value: (share_, i, most) => share_ ** 2 * most, zero: () => 0, isWhole, said: "square root scale" };
  }
  const ends = (i) => [Math.min(0, low[i]), Math.max(0, high[i])];
  const at = (v, i) => (v - ends(i)[0]) / (ends(i)[1] - ends(i)[0] || 1);
  const value = (share_, i) => ends(i)[0] + share_ * (ends(i)[1] - ends(i)[0]);
  return { at, value, zero: (i) => at(0, i), isWhole, said: "track: from 0 to the largest value of each column" };
}

/** @param {Source} source */
const isCount = ({ info }) => info.support.startsWith("counts");

/** @returns {ValuesView} */
function named(parent, source, units) {
  const { at, value, zero, isWhole, said } = tracks(source);
  const names = namesOf(source);
  const label = h("th", { scope: "col" }, "reconstruction");
  const ticks = h("span", { class: "caption" }, said);
  const caption = h(
    "caption",
    {},
    h("span", { class: "key x-key" }, "original x"),
    h("span", { class: "key rebuilt-key" }, "reconstruction"),
    ticks,
  );
  const body = h("tbody");
  parent.append(
    h(
      "table",
      { class: "columns-of" },
      caption,
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, h("span", { class: "unseen" }, "column")),
          h("td"),
          h("th", { scope: "col" }, "x"),
          label,
        ),
      ),
      body,
    ),
  );
  let x = null;
  let rebuilt = null;
  /** @type {?((x: Float32Array) => void)} */
  let changed = null;
  let most = 1; // it stays while the reader changes values: their track would move under the hand
  const rows = names.map((name, i) => {
    const dot = h("i", { class: "dot" });
    const bar = h("i", { class: "fill" });
    const middle = h("i", { class: "zero", style: `left:${share(zero(i))}` });
    const track = h("div", { class: "value-track", "aria-hidden": "true" }, middle, bar, dot);
    const cells = [h("td", { class: "x-cell", "data-x": name }), h("td", { "data-rebuilt": name })];
    const place = h("td", { class: "track-cell" }, track);
    const line = h("tr", {}, h("th", { scope: "row", title: name }, name), place, ...cells);
    body.append(line);
    return { dot, bar, track, place, cells, line };
  });

  function draw() {
    const { shown } = unitsOf(source, units());
    if (!changed) most = Math.max(1, ...(x ?? []), ...(rebuilt ?? []));
    const ratio = (v, i) => Math.min(1, Math.max(0, at(v, i, most)));
    rows.forEach(({ dot, bar, cells }, i) => {
      if (x) {
        set(dot, { style: `left:${share(ratio(x[i], i))}` });
        if (!changed) tell(cells[0], tidy(shown(x[i], i)));
      }
      if (!rebuilt) return;
      const [from, to] = [zero(i), ratio(rebuilt[i], i)];
      set(bar, { style: `left:${share(Math.min(from, to))};width:${share(Math.abs(to - from))}` });
      tell(cells[1], tidy(shown(rebuilt[i], i)));
    });
  }

  /** A slider on the track and a field beside it, for each value. */
  function edit(tellChange) {
    changed = tellChange;
    if (changed && isCount(source)) most = Math.max(most, ...source.info.columns.high);
    const { shown, seen } = unitsOf(source, units());
    rows.forEach(({ track, place, cells }, i) => {
      place.replaceChildren(track);
      place.classList.toggle("changing", Boolean(changed));
      if (!changed) return tell(cells[0], "");
      const range = h("input", { type: "range", "aria-label": names[i], min: 0, max: 1, step: 0.002 });
      const field = h("input", { type: "text", inputmode: "decimal", "aria-label": `${names[i]}, typed` });
      const show = () => {
        range.value = String(at(x[i], i, most));
        field.value = String(Number(shown(x[i], i).toPrecision(5)));
        set(range, { "aria-valuetext": field.value });
      };
      const take = (v) => {
        x = Float32Array.from(x);
        x[i] = isWhole ? Math.round(v) : v;
        show();
        draw();
        changed?.(x);
      };
      range.addEventListener("input", () => take(value(Number(range.value), i, most)));
      field.addEventListener("change", () => {
        const typed = Number(field.value.replace("−", "-").replace(",", "."));
        if (field.value.trim() === "" || Number.isNaN(typed)) return show();
        take(seen(typed, i));
      });
      show();
      place.append(range);
      cells[0].replaceChildren(field);
    });
    draw();
  }
  return {
    draw: () => (changed ? edit(changed) : draw()),
    original(values) {
      if (changed) return; // the reader's own stands there
      x = values;
      draw();
    },
    rebuilt(values) {
      rebuilt = values;
      draw();
    },
    say: (text) => tell(label, text),
    light(errors) {
      const highest = errors ? Math.max(...Array.from(errors), 1e-9) : 1;
      rows.forEach(({ line }, i) => {
        const share_ = errors ? Math.max(0, errors[i]) / highest : 0;
        line.style.setProperty("--cost", `${Math.round(70 * share_)}%`);
      });
    },
    edit,
  };
}

/** Four digits, and of a whole number no more than it has. @param {number} v */
export const tidy = (v) => {
  const short = Number(v.toPrecision(7));
  return Number.isInteger(short) && Math.abs(short) < 1e6 ? String(short).replace("-", "−") : number(v, 4);
};

const share = (v) => `${(100 * v).toFixed(2)}%`;

/** Bars side by side, for more values than can be named. @returns {ValuesView} */
function side(parent, source) {
  const { info, features } = source;
  const isRoot = isCount(source);
  const bars = s("svg", { class: "bars", role: "img", preserveAspectRatio: "none" });
  set(bars, {
    viewBox: `0 0 ${SIZE.width} ${SIZE.height}`,
    "aria-label": `${features} values and their reconstruction`,
  });
  const words = h("span", {}, "reconstruction");
  const caption = h(
    "figcaption",
    {},
    h("span", { class: "key x-key" }, "original x"),
    h("span", { class: "key rebuilt-key" }, words),
    h("span", { class: "caption" }, isRoot ? "square root scale of this example" : ""),
  );
  parent.append(h("figure", { class: "example" }, bars, caption));
  let x = null;
  let rebuilt = null;
  function draw() {
    const all = [...(x ?? []), ...(rebuilt ?? [])];
    const [low, high] = isRoot
      ? [0, all.reduce((a, b) => Math.max(a, b), 1)]
      : [Math.min(0, info.range[0]), Math.max(0, info.range[1])];
    const part = (v) => Math.min(1, Math.max(0, (v - low) / (high - low || 1)));
    const y = (v) => 4 + (1 - (isRoot ? Math.sqrt(part(v)) : part(v))) * (SIZE.height - 8);
    const wide = SIZE.width / features;
    const path = (values, from, to) =>
      Array.from(
        values,
        (v, i) => `M${(i + from) * wide} ${y(0)}H${(i + to) * wide}V${y(v)}H${(i + from) * wide}Z`,
      ).join("");
    const ticks = (values) => Array.from(values, (v, i) => `M${(i + 0.02) * wide} ${y(v)}h${0.96 * wide}`).join("");
    bars.replaceChildren(
      s("line", { x1: 0, x2: SIZE.width, y1: y(0), y2: y(0), class: "axis" }),
      ...(rebuilt ? [s("path", { d: path(rebuilt, 0.12, 0.88), class: "bar" })] : []),
      ...(x ? [s("path", { d: ticks(x), class: "input" })] : []),
    );
  }
  return {
    draw,
    original(values) {
      x = values;
      draw();
    },
    rebuilt(values) {
      rebuilt = values;
      draw();
    },
    say: (text) => tell(words, text),
    light: (errors) => bars.classList.toggle("costs", Boolean(errors)),
    edit: () => {},
  };
}
