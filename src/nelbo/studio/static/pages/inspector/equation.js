// The equation over the rows: total loss = reconstruction error + KL, with the numbers of the active example and what each
// term is a sum of. A term under the pointer or in focus lights up where it stands; a click unfolds how it is computed.

import { h, s, set, tell } from "../../core/dom.js";
import { fn, inline, o, row, sub, v, word } from "../../core/formula.js";
import { nats } from "../../core/format.js";
import { onChange, write } from "../../core/store.js";
import { axisName } from "./axes.js";
import { namesOf } from "./columns.js";
import { told } from "./numbers.js";
import { minimized } from "./parts.js";
import { drawErrors, isImage } from "./pixels.js";
import { computation } from "./unfold.js";

/** @import { Shown, Slots, Source, Term } from "../../core/types.js" */

const PAUSE = 90; // ms on a term before it lights up: who only passes sees nothing change
const BARS = { width: 132, height: 40 };

const over = (sign, index) => `<munder><mo>${sign}</mo><mi>${index}</mi></munder>`;
const flat = (text) => `<mo stretchy="false">${text}</mo>`;
const logP = (...of) => row(fn("log", v("p")), flat("("), ...of, flat(")"));
const FORMULAS = {
  nelbo: inline(o("≥"), o("−"), logP(v("x"))),
  reconstruction_error: inline(
    row(over("∑", "i"), o("−"), sub(v("E"), v("q")), flat("[")),
    row(logP(sub(v("x"), v("i")), flat("|"), v("z", "z")), flat("]")),
  ),
  kl: inline(row(over("∑", "j"), sub(word("KL"), v("j")))),
};
const NAMES = { nelbo: "total loss", reconstruction_error: "reconstruction error", kl: "KL" };
const CLASSES = { nelbo: "total", reconstruction_error: "recon", kl: "kl" };

/**
 * @param {Slots} slots
 * @param {Source} source
 * @param {{title: string, isFirst: boolean, light: (term: ?Term) => void}} options `title` where several models are shown
 */
export function equation(slots, source, { title, isFirst, light }) {
  const { model } = slots;
  const isPoint = source.info.is_point;
  const heading = h("h2", {}, "");
  const legend = h("span", { class: "caption", role: "status" });
  const unfoldedPlace = h("div", { class: "unfolded", id: `computation-${Math.random().toString(36).slice(2)}` });
  /** @type {?Shown} */
  let shown = null;
  /** @type {?ReturnType<typeof computation>} */
  let unfolded = null;
  let timer = 0;
  /** @type {?Term} */
  let lit = null;

  /** @type {Record<Term, ReturnType<typeof part>>} */
  const parts = {
    nelbo: part("nelbo", isPoint ? "loss of the autoencoder" : NAMES.nelbo),
    reconstruction_error: part("reconstruction_error", NAMES.reconstruction_error),
    kl: part("kl", NAMES.kl),
  };
  for (const [term, { element: place, button }] of Object.entries(parts)) {
    set(button, { "aria-controls": unfoldedPlace.id });
    button.addEventListener("click", () => write(model, { unfold: model.get("unfold") === term ? "" : term }));
    place.addEventListener("pointerenter", () => aim(term));
    place.addEventListener("pointerleave", () => aim(null));
    button.addEventListener("focus", () => button.matches(":focus-visible") && aim(term));
    button.addEventListener("blur", () => aim(null));
  }
  const showErrors = madeOfFeatures(parts.reconstruction_error.made, source);
  const showUnits = madeOfUnits(parts.kl.made, source);
  const note = h("p", { class: "caption minimized" });
  const sign = (text) => h("span", { class: "op", "aria-hidden": "true" }, text);
  const line = h(
    "div",
    { class: `equation-line ${isPoint ? "of-point" : ""}` },
    parts.nelbo.element,
    sign("="),
    parts.reconstruction_error.element,
    ...(isPoint ? [] : [sign("+"), parts.kl.element]),
  );
  const label = `What the loss is made of${title ? `, ${title}` : ""}`;
  const element = h("section", { class: "equation", "aria-label": label });
  element.append(h("header", {}, heading, legend), line, note, unfoldedPlace);
  if (!isPoint) parts.nelbo.made.append(h("span", { html: FORMULAS.nelbo }));

  function aim(term) {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (term === lit) return;
      lit = term;
      for (const [name, one] of Object.entries(parts)) one.element.classList.toggle("lit", name === term);
      tell(
        legend,
        term ? `points by ${NAMES[isPoint ? "reconstruction_error" : term]}: dark is low, light is high` : "",
      );
      light(term);
    }, PAUSE);
  }

  /** Keep the height while a hand holds something below, which more words would push away from it. */
  function hold() {
    if (element.style.height || !document.querySelector(".dragging")) return;
    set(element, { style: `height: ${element.offsetHeight}px; overflow: hidden` });
    addEventListener("pointerup", release, { once: true });
  }

  function release() {
    removeEventListener("pointerup", release);
    element.removeAttribute("style");
  }

  /** @param {Shown} next */
  function show(next) {
    shown = next;
    hold();
    const unit = model.get("unit");
    const { terms, missing } = shown;
    tell(
      heading,
      `Loss of ${shown.what}${title ? `, ${title}` : ""}${shown.isOwn ? ", under your q(z)" : ""}, in ${unit}`,
    );
    for (const [term, { value, button }] of Object.entries(parts)) {
      const of = isPoint && term === "nelbo" ? "reconstruction_error" : term;
      const known = terms[of] !== null && terms[of] !== undefined;
      tell(value, known ? told(terms[of], terms.standard_errors?.[of], unit) : missing);
      set(button, { "aria-expanded": model.get("unfold") === term });
    }
    showErrors(shown.errors);
    showUnits(shown.units, unit);
    const trained = isPoint ? POINT : minimized(source.info.record.objective, terms, (value) => nats(value, unit));
    tell(note, [trained, terms.reconstruction_error < 0 ? NEGATIVE : ""].filter(Boolean).join(" "));
    note.hidden = !note.textContent;
    unfold();
  }

  /** Open, close or bring up to date what is unfolded. */
  function unfold() {
    const wanted = model.get("unfold");
    const isShown = parts[wanted] && !(isPoint && wanted === "kl");
    if (unfolded && unfolded.of !== wanted) {
      unfolded.remove();
      unfolded = null;
    }
    if (!isShown || !shown) return;
    if (!unfolded) {
      unfolded = computation(slots, source, wanted, isFirst);
      unfoldedPlace.replaceChildren(unfolded.element);
    }
    unfolded.show(shown);
  }

  const changed = () => shown && show(shown);
  const leave = onChange(model, ["unfold", "values"], changed);
  return {
    element,
    show,
    remove() {
      clearTimeout(timer);
      release();
      leave();
      unfolded?.remove();
      element.remove();
    },
  };
}

const POINT =
  "q(z|x) of an autoencoder is a point: there is no KL, training minimized the reconstruction error alone, and it bounds no likelihood.";
const NEGATIVE = "A density may exceed 1, so the error of continuous data may be negative.";
const JOINT = "the mean of log q(z|x) − log p(z): no sum over units here";

/** What each feature costs. @param {HTMLElement} place @param {Source} source */
function madeOfFeatures(place, source) {
  const isPicture = isImage(source.info.event);
  const map = h("canvas", { class: "pixels map", "aria-hidden": "true" });
  const marks = bars("recon");
  const drawn = isPicture ? map : marks.element;
  const many = source.features.toLocaleString("en");
  place.append(
    drawn,
    h(
      "div",
      {},
      h("span", { html: FORMULAS.reconstruction_error }),
      h("span", {}, `over ${many} ${isPicture ? "pixel values" : "columns"} xᵢ`),
    ),
  );
  const names = isPicture ? null : namesOf(source);
  /** @param {?ArrayLike<number>} errors */
  return (errors) => {
    drawn.toggleAttribute("hidden", !errors);
    if (!errors) return;
    if (isPicture) drawErrors(map, errors, source.info.event);
    else marks.show(errors, names);
  };
}

/** The KL of each unit. @param {HTMLElement} place @param {Source} source */
function madeOfUnits(place, source) {
  const marks = bars("kl");
  const words = h("span", {});
  place.append(marks.element, h("div", {}, h("span", { html: FORMULAS.kl }), words));
  const names = Array.from({ length: source.latent }, (_, j) => axisName(j));
  /** @param {?number[]} units @param {string} unit */
  return (units, unit) => {
    marks.element.toggleAttribute("hidden", !units);
    tell(words, units ? `over ${source.latent} latent unit${source.latent > 1 ? "s" : ""}` : JOINT);
    if (units)
      marks.show(
        units,
        names.map((name, j) => `${name}: ${nats(units[j], unit, 3)} ${unit}`),
      );
  };
}

/** A term: its name and number as a button, and a place for what it is a sum of. @param {Term} term @param {string} name */
function part(term, name) {
  const value = h("output", { class: "value", "data-part": term });
  const button = h(
    "button",
    { type: "button", class: "part-button", "data-unfold": term, "aria-expanded": false, title: "How it is computed" },
    h("span", { class: "name" }, name),
    value,
  );
  const made = h("div", { class: "made" });
  return { element: h("div", { class: `part ${CLASSES[term]}`, "data-of": term }, button, made), button, value, made };
}

/** Bars around 0, as small as a word. @param {string} colour */
function bars(colour) {
  const marks = s("g", {});
  const zero = s("line", { class: "axis" });
  const element = s(
    "svg",
    { class: `made-bars ${colour}`, viewBox: `0 0 ${BARS.width} ${BARS.height}`, preserveAspectRatio: "none" },
    marks,
    zero,
  );
  set(element, { "aria-hidden": "true" });
  return {
    element,
    /** @param {ArrayLike<number>} values @param {?string[]} names */
    show(values, names) {
      const all = Array.from(values).map((one) => (Number.isFinite(one) ? one : 0));
      const [low, high] = [Math.min(0, ...all), Math.max(1e-9, ...all)];
      const y = (value) => ((high - value) / (high - low)) * BARS.height;
      const wide = Math.min(22, BARS.width / all.length);
      const gap = wide > 4 ? 1.5 : 0;
      set(zero, { x1: 0, x2: BARS.width, y1: y(0), y2: y(0) });
      marks.replaceChildren(
        ...all.map((value, i) => {
          const top = Math.min(y(value), y(0));
          const size = { x: i * wide, y: top, width: wide - gap, height: Math.abs(y(value) - y(0)) };
          return s("rect", size, ...(names ? [s("title", {}, names[i])] : []));
        }),
      );
    },
  };
}
