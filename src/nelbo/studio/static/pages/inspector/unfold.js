// How a term of the loss is computed for the example at hand, step by step with every number: from x over mu, sigma, epsilon
// and z to what each feature costs, and the KL of each unit from its mu and sigma.

import { h, tell, trailing } from "../../core/dom.js";
import { frac, inline, n, o, row, sub, v, word } from "../../core/formula.js";
import { nats, number } from "../../core/format.js";
import { write } from "../../core/store.js";
import { axisName } from "./axes.js";
import { namesOf, tidy, unitsOf } from "./columns.js";
import { told } from "./numbers.js";
import { codeOf, isDiagonal, largest, noiseOf, ofPixels, unitParts } from "./parts.js";
import { drawErrors, drawImage, isImage } from "./pixels.js";

/** @import { Shown, Slots, Source } from "../../core/types.js" */

const MOST = 8; // units, or features, in a table
const FARTHEST = 3.5; // of an epsilon that a slider gives
const DIGITS = 6; // of a code in the address

const square = (colour, symbol, index) =>
  `<msubsup><mi class="${colour}">${symbol}</mi><mi>${index}</mi><mn>2</mn></msubsup>`;
const KL_OF_UNIT = inline(
  row(sub(word("KL"), v("j")), o("="), frac(square("mu", "µ", "j"), n(2)), o("+")),
  row(frac(row(square("sigma", "σ", "j"), o("−"), n(1)), n(2)), o("−"), word("ln"), sub(v("σ", "sigma"), v("j"))),
);

/**
 * @param {Slots} slots
 * @param {Source} source
 * @param {string} of a term
 * @param {boolean} isFirst whether the state's z is a code of this model; that of another follows it
 * @returns {{of: string, element: HTMLElement, show: (shown: Shown) => void, remove: () => void}}
 */
export function computation(slots, source, of, isFirst) {
  const panes = [];
  if (of !== "kl") panes.push(chain(slots, source, isFirst));
  if (of !== "reconstruction_error" && !source.info.is_point) panes.push(unitTable(slots, source));
  const element = h("div", { class: "panes" }, ...panes.map((pane) => pane.element));
  return {
    of,
    element,
    show: (shown) => panes.forEach((pane) => pane.show(shown)),
    remove() {
      panes.forEach((pane) => pane.remove());
      element.remove();
    },
  };
}

/** The units that a table has room for: those with most KL, in their order. @param {Shown} shown @returns {number[]} */
function unitsIn(shown) {
  const { length } = shown.q.mean;
  if (length <= MOST) return Array.from({ length }, (_, j) => j);
  const by = shown.units ?? Array.from(shown.q.mean, Math.abs);
  return largest(by, MOST).sort((a, b) => a - b);
}

/** A table that scrolls where it is wider than its place, also by the keyboard. @param {string} label @param {HTMLElement} table */
const scroll = (label, table) => h("div", { class: "scroll", role: "group", tabindex: 0, "aria-label": label }, table);
const cell = (text, name = "") => h("td", { class: name }, text);
const head = (...texts) => h("thead", {}, h("tr", {}, ...texts.map((text) => h("th", { scope: "col" }, text))));

const button = (name, text, onclick) => h("button", { type: "button", class: "quiet", "data-do": name, onclick }, text);
const step = (name, ...inside) => h("div", { class: "link" }, ...inside, h("span", { class: "caption" }, name));
const network = (name) => h("div", { class: `network ${name}`, "aria-hidden": "true" }, name);
const picture = (label) => h("canvas", { class: "pixels", role: "img", "aria-label": label });

/** x, encoder, mu and sigma, epsilon, z, decoder, what each feature costs, and their sum. @param {Slots} slots @param {Source} source @param {boolean} isFirst */
function chain(slots, source, isFirst) {
  const { model } = slots;
  const { event, is_point: isPoint } = source.info;
  const isPicture = isImage(event);
  const [input, output, costs] = ["x", "mean of p(x|z)", "−log p of each pixel"].map(picture);
  const units = unitNoise(slots, source, isFirst);
  const largestOf = h("tbody");
  const sum = h("p", { class: "sum-at-z" });
  const mean = h("p", { class: "caption" });
  const reading = h("p", { class: "caption reading" }, isPicture ? "Point at a pixel to read it." : "");
  const draw = () => write(model, { z: places(codeOf(shown.q, Array.from(shown.q.mean, gaussian))) });
  const most = h(
    "table",
    { class: "most" },
    h("caption", {}, isPicture ? "The pixels that cost most here" : "The columns that cost most here"),
    head(isPicture ? "row, column" : "column", "x", "mean of p(x|z)", "−log p(xᵢ|z)"),
    largestOf,
  );
  const element = h(
    "div",
    { class: "chain", role: "group", "aria-label": "From x to its reconstruction error" },
    isPicture ? step("x", input) : null,
    network("encoder"),
    h(
      "div",
      { class: "link" },
      units.element,
      isPoint || !isFirst
        ? null
        : h(
            "div",
            { class: "row" },
            button("draw-noise", "Draw ε", draw),
            button("no-noise", "ε = 0", () => write(model, { z: [] })),
          ),
    ),
    network("decoder"),
    isPicture ? step("mean of p(x|z)", output) : null,
    isPicture ? step("−log p(xᵢ|z)", costs) : null,
    h(
      "div",
      { class: "link sums" },
      h("div", { class: "sums-line" }, h("div", {}, sum, mean, reading), scroll("What costs most", most)),
    ),
  );
  /** @type {Shown} */
  let shown = null;
  let newest = 0;
  /** @type {?{picture: ArrayLike<number>, errors: ?ArrayLike<number>}} */
  let known = null;

  for (const canvas of [input, output, costs]) {
    canvas.addEventListener("pointermove", (event_) => {
      const box = canvas.getBoundingClientRect();
      const [, height, width] = event;
      const at = (part, size) => Math.min(size - 1, Math.max(0, Math.floor(part * size)));
      const r = at((event_.clientY - box.top) / box.height, height);
      const c = at((event_.clientX - box.left) / box.width, width);
      tell(reading, `Pixel ${line(r * width + c).join(" · ")}`);
    });
  }

  /** A feature, or a pixel with all its channels: where it is, x, the mean of p(x|z), and what it costs. @param {number} i */
  function line(i) {
    const unit = model.get("unit");
    const cost = (value) => `${nats(value, unit, 3)} ${unit}`;
    if (!isPicture) {
      const { shown: inUnits } = unitsOf(source, model.get("values"));
      const [x, p] = [shown.x[i], known.picture[i]].map((value) => tidy(inUnits(value, i)));
      return [namesOf(source)[i], x, p, cost(known.errors[i])];
    }
    const [channels, height, width] = event;
    const values = (of) => Array.from({ length: channels }, (_, c) => brief(of[c * height * width + i])).join(", ");
    const costs_ = known?.errors ? cost(ofPixels(known.errors, event)[i]) : "–";
    const where = `${Math.floor(i / width) + 1}, ${(i % width) + 1}`;
    return [where, values(shown.x), known ? values(known.picture) : "–", costs_];
  }

  function showAt(found) {
    known = found;
    const unit = model.get("unit");
    const where = shown.z ? "at this z" : isPoint ? "at z = µ" : "at z = µ, where ε = 0";
    tell(sum, `−log p(x|z) = ${nats(found.sum, unit)} ${unit} ${where}`);
    if (isPicture) drawImage(output, found.picture, event, source.range);
    costs.parentElement?.toggleAttribute("hidden", !found.errors);
    most.hidden = !found.errors;
    if (!found.errors) return;
    if (isPicture) drawErrors(costs, found.errors, event);
    const of = isPicture ? ofPixels(found.errors, event) : found.errors;
    largestOf.replaceChildren(
      ...largest(of, Math.min(5, of.length)).map((i) => {
        const [name, ...rest] = line(i);
        return h("tr", {}, h("th", { scope: "row" }, name), ...rest.map((text) => cell(text)));
      }),
    );
  }

  const ask = trailing((z, x) => {
    const mine = ++newest;
    Promise.all([source.decode([z]), source.errorsAt(z, x)]).then(
      ([picture_, at]) => mine === newest && showAt({ picture: picture_, ...at }),
      (error) => mine === newest && tell(sum, error.message),
    );
  }, 30);

  return {
    element,
    show(next) {
      shown = next;
      const unit = model.get("unit");
      const z = shown.z ?? shown.q.mean;
      units.show(shown);
      if (isPicture) drawImage(input, shown.x, event, source.range);
      const { reconstruction_error: value, standard_errors: errors } = shown.terms;
      const isKnown = value !== null && value !== undefined;
      const all = isKnown ? `${told(value, errors?.reconstruction_error, unit)} ${unit}` : shown.missing;
      const how = shown.how ? ` (${shown.how.replace(/\.$/, "")})` : "";
      tell(mean, isPoint ? "" : `The reconstruction error is the mean of this over z ~ q(z|x): ${all}${how}.`);
      const at = source.errorsNow(z, shown.x);
      if (!at) return ask(z, shown.x);
      showAt({ picture: source.decodeNow(z), ...at });
    },
    remove() {
      newest = -1;
      ask.stop();
    },
  };
}

/** mu, sigma, epsilon and z of each unit; epsilon is a slider. @param {Slots} slots @param {Source} source @param {boolean} isFirst */
function unitNoise({ model }, source, isFirst) {
  const isPoint = source.info.is_point;
  const body = h("tbody");
  const isJoint = h("p", { class: "caption" });
  const others = h("p", { class: "caption" });
  const columns = isPoint ? ["unit", "z = µ"] : ["unit", "µ", "σ", "ε", "z = µ + σε"];
  const element = h(
    "div",
    { class: "noise-of" },
    h("div", { class: "scroll" }, h("table", { class: "noise" }, head(...columns), body)),
    isJoint,
    others,
  );
  /** @type {Shown} */
  let shown = null;
  let listed = "";
  const rows = new Map();
  /** What was written last: what is shown follows a frame or two later, and must not take a slider back. */
  const newest = () => {
    const z = isFirst ? model.get("z") : [];
    return z.length ? z : isFirst ? shown.q.mean : (shown.z ?? shown.q.mean);
  };

  function makeRow(j) {
    const cells = ["mu", "sigma", "eps", "z"].map((name) => h("td", { class: name, "data-of": `${name} ${j}` }));
    const [mu, sigma, eps, z] = cells;
    const slider = h("input", {
      type: "range",
      min: -FARTHEST,
      max: FARTHEST,
      step: 0.01,
      disabled: !isFirst,
      "aria-label": `ε of ${axisName(j)}`,
      oninput() {
        const noise = noiseOf(shown.q, newest());
        noise[j] = Number(slider.value);
        write(model, { z: places(codeOf(shown.q, noise)) });
      },
    });
    const text = h("output", {});
    eps.append(slider, text);
    const kept = isPoint ? [mu] : [mu, sigma, eps, z];
    const line = h("tr", {}, h("th", { scope: "row" }, axisName(j)), ...kept);
    return { line, mu, sigma, z, slider, text };
  }

  return {
    element,
    /** @param {Shown} next */
    show(next) {
      shown = next;
      const units = unitsIn(shown);
      if (String(units) !== listed) {
        listed = String(units);
        rows.clear();
        for (const j of units) rows.set(j, makeRow(j));
        body.replaceChildren(...[...rows.values()].map(({ line }) => line));
      }
      const { q } = shown;
      const z = newest();
      const eps = noiseOf(q, z);
      for (const [j, one] of rows) {
        tell(one.mu, number(q.mean[j], 3));
        tell(one.sigma, number(Math.sqrt(q.covariance[j][j]), 3));
        tell(one.z, number(z[j], 3));
        one.slider.value = String(eps[j]);
        tell(one.text, eps[j].toFixed(2).replace("-", "−"));
      }
      tell(
        isJoint,
        isPoint || isDiagonal(q.covariance)
          ? ""
          : "The units depend on each other: z = µ + Lε, with LLᵀ the covariance.",
      );
      const left = q.mean.length - units.length;
      tell(others, left ? `and ${left} more units, with less KL` : "");
    },
  };
}

/** The KL of each unit, from its mu and sigma. @param {Slots} slots @param {Source} source */
function unitTable({ model }, source) {
  const formula = h("p", { html: KL_OF_UNIT });
  const table = h("table", { class: "unit-kl" });
  const words = h("p", { class: "caption" });
  const element = h("div", { class: "unit-terms" }, formula, scroll("KL of each unit", table), words);
  return {
    element,
    /** @param {Shown} shown */
    show(shown) {
      const unit = model.get("unit");
      const said = (value) => nats(value, unit);
      const parts = unitParts(source.info, shown.q, shown.isOwn);
      const { units, terms, q } = shown;
      formula.hidden = !parts;
      table.hidden = !units;
      const { kl, standard_errors: errors } = terms;
      const whole = Number.isFinite(kl) ? `${told(kl, errors?.kl, unit)} ${unit}` : shown.missing;
      tell(words, units ? (parts ? "" : FACTORIZED) : `${SAMPLED} ${whole}.`);
      if (!units) return;
      const listed = unitsIn(shown);
      const most = Math.max(...units, 1e-9);
      const meter = (value) => h("td", { class: "meter-cell" }, h("i", { style: `width:${(100 * value) / most}%` }));
      const lines = listed.map((j) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, axisName(j)),
          cell(number(q.mean[j], 3), "mu"),
          cell(number(Math.sqrt(q.covariance[j][j]), 3), "sigma"),
          ...(parts ? [cell(said(parts[j].place)), cell(said(parts[j].width))] : []),
          h("td", { class: "kl", "data-kl": j }, said(units[j])),
          meter(units[j]),
        ),
      );
      const rest = Array.from(units.keys()).filter((j) => !listed.includes(j));
      const total = (values) => said(values.reduce((sum, value) => sum + value, 0));
      const sums = (name, of) => (parts ? [cell(total(of.map((j) => parts[j][name])))] : []);
      const line = (name, of) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          cell(""),
          cell(""),
          ...sums("place", of),
          ...sums("width", of),
          h("td", { class: "kl" }, total(of.map((j) => units[j]))),
          cell(""),
        );
      const names = ["unit", "µⱼ", "σⱼ", ...(parts ? ["µⱼ²⁄2", "(σⱼ² − 1)⁄2 − ln σⱼ"] : []), `KLⱼ, ${unit}`];
      const header = head(...names);
      header.firstElementChild.append(h("td", {}));
      table.replaceChildren(
        header,
        h("tbody", {}, ...lines, ...(rest.length ? [line(`${rest.length} others`, rest)] : [])),
        h("tfoot", {}, line("Σ", Array.from(units.keys()))),
      );
    },
    remove() {},
  };
}

const FACTORIZED = "q and p factorize over the units: the KL of each in closed form.";
const SAMPLED =
  "The KL has no closed form here, or none unit by unit: it is the mean of log q(z|x) − log p(z) over draws of z,";

const brief = (value) => (Number.isInteger(value) ? String(value) : number(value, 2));
const places = (z) => z.map((value) => Number(value.toFixed(DIGITS)));

function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
