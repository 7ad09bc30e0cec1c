// The worksheet's figure, one row for an example under a model: original, latent plane, reconstruction, three numbers.

import { coalesced, h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { acrossPlane, along, movedTo, rowsOf, stretchedTo } from "./axes.js";
import { valuesView } from "./columns.js";
import { exampleView } from "./example.js";
import { latentView } from "./latent.js";
import { termsPanel, told } from "./numbers.js";
import { isImage } from "./pixels.js";
import { unitParts } from "./parts.js";

const REST = 160; // ms without a move, before Python is asked for many draws
const NEEDS_PYTHON = {
  reconstruction_error: null,
  missing: "–",
  how: "This model's decoder did not travel with this page: the reconstruction error of your q needs the studio.",
};

/** @import { Shown, Term } from "../../core/types.js" */

/**
 * @param {HTMLElement} parent
 * @param {import("../../core/types.js").Source} source
 * @param {Parameters<typeof latentView>[2] & {what: string, unit: () => string, onActive?: () => void, onUnpin?: () => void,
 *   onEdit?: () => void, onDone?: () => void, onShown?: () => void, units: () => string, say: (text: string) => void}} options
 */
export function exampleRow(parent, source, options) {
  const isPicture = isImage(source.info.event);
  const cell = (name) => h("div", { class: `cell ${name}` });
  const [left, middle, right, values, last] = ["original", "plane", "rebuilt", "values-cell", "terms-cell"].map(cell);
  const words = h("span", { class: "what" }, options.what);
  const tool = (name, text, onclick, attributes = {}) =>
    h("button", { type: "button", class: "quiet", "data-do": name, onclick, ...attributes }, text);
  const editButton = options.onEdit ? tool("edit", "Edit", options.onEdit) : null;
  const doneButton = tool("done", "Done", () => options.onDone?.(), { hidden: true });
  const unpin = options.onUnpin
    ? tool("unpin", "Unpin", options.onUnpin, { "aria-label": `Unpin ${options.what}` })
    : null;
  const element = h(
    "section",
    { class: `example-row ${isPicture ? "" : "of-values"}`, "aria-label": `${options.what} under ${options.title}` },
    h("header", {}, h("h2", {}, options.title), words, h("div", { class: "row-tools" }, doneButton, editButton, unpin)),
    ...(isPicture ? [left, middle, right] : [middle, values]),
    last,
  );
  parent.append(element);
  if (options.onActive) element.addEventListener("pointerdown", options.onActive, true);
  const original = isPicture ? exampleView(left, source, "original x") : null;
  const rebuilt = isPicture ? exampleView(right, source, "reconstruction") : null;
  const columns = isPicture ? null : valuesView(values, source, options.units);
  const difference = h("input", { type: "checkbox", onchange: () => draw() });
  if (isPicture) right.append(h("label", { class: "toggle" }, difference, "|difference|"));
  const panel = termsPanel(last, source);
  const plane = latentView(middle, source, { ...options });
  const { w } = options.axes;
  let example = null;
  let code = null;
  let own = null; // {mean: plane, sd: plane}
  let answered = null;
  let timer = 0;
  let pending = ""; // the reader's q whose terms are on their way
  let newest = 0;
  let decoding = false;
  let waiting = null; // the code to decode next
  /** @type {?Shown} */
  let shown = null;
  let ofModel = null; // what the terms under the model's own q are made of
  /** @type {["errors"|"units"|null, ?Term]} */
  let lit = [null, null];

  const ownQ = () => {
    let covariance = rowsOf(example.covariance, source.latent);
    w.forEach((direction, i) => (covariance = stretchedTo(direction, covariance, own.sd[i])));
    return { mean: movedTo(w, example.mean, own.mean), covariance };
  };

  const draw = coalesced(() => {
    if (!example) return;
    const modelQ = { mean: pick(example.mean), covariance: sub(rowsOf(example.covariance, source.latent)) };
    const q = own ? ownQ() : null;
    plane.showQ(q ? { mean: pick(q.mean), covariance: sub(q.covariance) } : modelQ);
    const z = code ?? (q ? q.mean : example.mean);
    plane.showCode(pick(z), Boolean(code));
    showPicture(z);
    if (q) showOwn(q);
    else showModel(z);
  });

  const said = (value) => `${nats(value, options.unit())} ${options.unit()}`;

  function showPicture(z) {
    const atMean = !code && !own;
    const picture = atMean ? example.reconstruction : source.decodeNow(z);
    const label = atMean ? "reconstruction at µ" : code ? "decoded at z" : "decoded at your µ";
    (rebuilt ?? columns).say(label);
    const show = (given) => {
      columns?.rebuilt(given);
      rebuilt?.show(given);
      rebuilt?.difference(difference.checked ? given : null, example.x);
    };
    if (picture) return show(picture);
    const guess = source.blend(z);
    if (guess) show(guess);
    const mine = ++newest;
    if (decoding) {
      waiting = z;
      return;
    }
    decoding = true;
    source
      .decode([z])
      .then(
        (decoded) => {
          if (mine !== newest) return;
          show(decoded);
          if (source.isBlended) (rebuilt ?? columns).say(isPicture ? "blend of pictures near z" : "blend near z");
        },
        () => (rebuilt ?? columns).say("the decoder did not travel with this page"),
      )
      .finally(() => {
        decoding = false;
        const next = waiting;
        waiting = null;
        if (next) showPicture(next);
      });
  }

  function showModel(z) {
    const unit = options.unit();
    let text = `${source.info.is_point ? "q(z|x) is a point, so there is no KL. " : ""}−log p(x|µ) = ${said(example.at_mean)}`;
    if (code) {
      const error = source.errorNow(z, example.x);
      if (error === null) drawWhenHere();
      else text = `at z: −log p(x|z) = ${said(error)}, at µ ${said(example.at_mean)}`;
    }
    panel.show(example, { unit, text: [text, example.how].filter(Boolean).join(". "), missing: example.missing });
    if (!ofModel?.errors) ofModel = partsOfModel(); // a decoder on its way may tell
    tellShown({ terms: example, missing: example.missing ?? "–", ...ofModel });
  }

  /** What the terms under the model's own q are made of. */
  function partsOfModel() {
    const q = { mean: example.mean, covariance: rowsOf(example.covariance, source.latent) };
    const listed = example.kl_per_unit?.length === source.latent ? example.kl_per_unit : null;
    const byFormula = unitParts(source.info, q)?.map(({ kl }) => kl);
    const how = example.draws ? `${example.draws.toLocaleString("en")} draws of z` : (example.how ?? "");
    return {
      q,
      how: example.errors ? how : `${how}; what each feature costs: by quadrature`,
      errors: example.errors ?? source.errorUnder(example.x, q.mean, q.covariance)?.errors ?? null,
      units: byFormula ?? listed?.map((kl) => kl ?? Infinity) ?? null,
    };
  }

  /** @param {Partial<Shown>} parts */
  function tellShown(parts) {
    shown = /** @type {Shown} */ ({
      what: words.textContent,
      missing: "–",
      isOwn: false,
      z: code,
      x: example.x,
      ...parts,
    });
    if (lit[0]) light(...lit);
    options.onShown?.();
  }

  /**
   * What a term of the loss is made of, where it stands in the row: what each feature costs.
   * @param {"errors"|"units"|null} of @param {?Term} term
   */
  function light(of, term) {
    lit = [of, term];
    const errors = of === "errors" ? (shown?.errors ?? null) : null;
    for (const one of [original, rebuilt]) one?.heat(errors);
    columns?.light(errors);
    panel.light(term);
  }

  /** The terms under the reader's q: KL by its formula, the rest by quadrature, then by many draws. */
  function showOwn(q) {
    const key = `${q.mean}|${q.covariance}`;
    const found = answered?.key === key ? answered : { ...formula(q), ...quickly(q), key };
    const { reconstruction_error: error, kl } = found;
    const sum = error === null || kl === null ? null : error + kl;
    const own_ = example.nelbo === null ? "" : told(example.nelbo, example.standard_errors.nelbo, options.unit());
    const gap = sum === null || !own_ ? "" : ` The model's own q: ${own_} ${options.unit()}.`;
    panel.show(
      { ...found, nelbo: sum },
      { unit: options.unit(), text: `Your q(z).${found.parts ?? ""} ${found.how ?? ""}${gap}`, missing: found.missing },
    );
    tellShown({
      terms: { ...found, nelbo: sum },
      how: found.how ?? "",
      missing: found.missing ?? "…",
      q,
      isOwn: true,
      errors: found.errors ?? null,
      units: found.units,
    });
    if (answered?.key === key || pending === key) return;
    clearTimeout(timer);
    pending = key;
    timer = setTimeout(async () => {
      try {
        const asked = await source.termsUnder(example.x, q.mean, q.covariance, () => pending === key);
        if (!asked) return; // it was overtaken
        answered = { key, ...formula(q), ...asked, how: asked.how ?? "1,024 draws." };
      } catch {
        answered = { key, ...formula(q), ...NEEDS_PYTHON }; // a file without Python
      }
      if (pending === key) draw();
    }, REST);
  }

  function formula(q) {
    const parts = unitParts(source.info, q, true);
    if (!parts) return { kl: null, units: null };
    const sum = (name) => parts.reduce((all, part) => all + part[name], 0);
    const [place, width] = [sum("place"), sum("width")];
    return {
      kl: place + width,
      units: parts.map(({ kl }) => kl),
      parts: ` KL = Σ µ²⁄2 (${said(place)}) + Σ (σ² − 1)⁄2 − ln σ (${said(width)}).`,
    };
  }

  /** Once more, as soon as the decoder is here. */
  const drawWhenHere = () =>
    source.fetchDecoder().then(
      () => source.isLocal && draw(),
      () => {},
    );

  /** By quadrature, where the decoder is here. */
  function quickly(q) {
    return source.errorUnder(example.x, q.mean, q.covariance) ?? (drawWhenHere(), { reconstruction_error: null });
  }

  const pick = (z) => along(w, z);
  const sub = (covariance) => acrossPlane(w, covariance);

  return {
    element,
    plane,
    draw,
    get example() {
      return example;
    },
    /** its numbers, and what they are of; null before there are any */
    get shown() {
      return shown;
    },
    light,
    setExample(next) {
      example = next;
      answered = ofModel = null;
      pending = "";
      original?.show(next.x);
      columns?.original(next.x);
      draw();
    },
    /** Let the reader change the example in its place. @param {?HTMLElement} pad for a picture @param {string} text */
    startEdit(pad, text, changed = null) {
      words.textContent = text;
      element.classList.add("editing");
      doneButton.hidden = false;
      if (editButton) editButton.hidden = true;
      if (pad) {
        original.element.hidden = true;
        left.append(pad);
      }
      columns?.edit(changed);
      element.scrollIntoView({ block: "nearest" });
    },
    endEdit() {
      words.textContent = options.what;
      element.classList.remove("editing");
      doneButton.hidden = true;
      if (editButton) editButton.hidden = false;
      if (original) {
        original.element.hidden = false;
        left.replaceChildren(original.element);
      }
      columns?.edit(null);
    },
    /** Why the example cannot be shown. @param {string} text */
    explain(text) {
      panel.show({ reconstruction_error: null, kl: null, nelbo: null }, { unit: options.unit(), text, missing: "–" });
    },
    /** The values in other units. */
    inUnits: () => columns?.draw(),
    setCode(z) {
      code = z;
      draw();
    },
    /** The same, in this frame. @param {import("../../core/types.js").Example} next */
    showNow(next) {
      this.setExample(next);
      draw.now();
    },
    setQ(q) {
      own = q;
      if (!q) pending = "";
      draw();
    },
    setActive: (on) => element.classList.toggle("active", on),
    remove() {
      clearTimeout(timer);
      pending = "";
      draw.cancel();
      plane.remove();
      element.remove();
    },
  };
}
