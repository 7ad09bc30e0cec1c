// The worksheet's figure, one row for an example under a model: original, latent plane, reconstruction, three numbers.

import { coalesced, h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { acrossPlane, along, movedTo, rowsOf, stretchedTo } from "./axes.js";
import { exampleView } from "./example.js";
import { latentView } from "./latent.js";
import { expectation } from "./network.js";
import { termsPanel } from "./numbers.js";
import { isImage } from "./pixels.js";
import { klParts, root } from "./normal.js";

const REST = 160; // ms without a move, before Python is asked for many draws

/**
 * @param {HTMLElement} parent
 * @param {import("../../core/types.js").Source} source
 * @param {Parameters<typeof latentView>[2] & {what: string, unit: () => string, onActive?: () => void, onUnpin?: () => void,
 *   onEdit?: () => void, say: (text: string) => void}} options
 */
export function exampleRow(parent, source, options) {
  const left = h("div", { class: "cell original" });
  const middle = h("div", { class: "cell plane" });
  const right = h("div", { class: "cell rebuilt" });
  const last = h("div", { class: "cell terms-cell" });
  const buttons = h(
    "div",
    { class: "row-tools" },
    options.onEdit ? h("button", { type: "button", class: "quiet", onclick: options.onEdit }, "Edit") : null,
    options.onUnpin
      ? h(
          "button",
          { type: "button", class: "quiet", "aria-label": `Unpin ${options.what}`, onclick: options.onUnpin },
          "Unpin",
        )
      : null,
  );
  const element = h(
    "section",
    { class: "example-row", "aria-label": `${options.what} under ${options.title}` },
    h("header", {}, h("h2", {}, options.title), h("span", { class: "what" }, options.what), buttons),
    left,
    middle,
    right,
    last,
  );
  parent.append(element);
  if (options.onActive) element.addEventListener("pointerdown", options.onActive, true);
  const original = exampleView(left, source, "original x");
  const rebuilt = exampleView(right, source, "reconstruction");
  const difference = h("input", { type: "checkbox", checked: !isImage(source.info.event), onchange: () => draw() });
  right.append(
    h("label", { class: "toggle" }, difference, source.info.event.length === 3 ? "|difference|" : "input as dots"),
  );
  const panel = termsPanel(last, source);
  const plane = latentView(middle, source, { ...options });
  const { w } = options.axes;
  let example = null;
  let code = null;
  let own = null; // {mean: plane, sd: plane}
  let answered = null;
  let timer = 0;
  let newest = 0;
  let decoding = false;
  let waiting = null; // the code to decode next

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
    rebuilt.say(label);
    const show = (values) => {
      rebuilt.show(values);
      rebuilt.difference(difference.checked ? values : null, example.x);
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
        (values) => {
          if (mine !== newest) return;
          show(values);
          if (source.isBlended) rebuilt.say("blend of pictures near z");
        },
        (error) => options.say(error.message),
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
      if (error !== null) text = `at z: −log p(x|z) = ${said(error)}, at µ ${said(example.at_mean)}`;
    }
    panel.show(example, { unit, text });
  }

  /** The terms under the reader's q: KL by its formula, the rest by quadrature, then by many draws. */
  function showOwn(q) {
    const key = `${q.mean}|${q.covariance}`;
    const found = answered?.key === key ? answered : { ...formula(q), ...quadrature(q, 3), key };
    const sum = found.reconstruction_error === null || found.kl === null ? null : found.reconstruction_error + found.kl;
    const gap = sum === null || example.nelbo === null ? "" : ` The model's own q: ${said(example.nelbo)}.`;
    panel.show(
      { ...found, nelbo: sum },
      { unit: options.unit(), text: `Your q(z).${found.parts ?? ""} ${found.how ?? ""}${gap}` },
    );
    if (answered?.key === key) return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const asked = await source.termsUnder(example.x, q.mean, q.covariance.flat());
        answered = {
          key,
          ...formula(q),
          kl: asked.kl.value,
          reconstruction_error: asked.reconstruction_error.value,
          standard_error: asked.reconstruction_error.standard_error,
          how: "1,024 draws.",
        };
      } catch {
        answered = { key, ...formula(q), ...quadrature(q, 5) }; // a file without Python
      }
      if (own) draw();
    }, REST);
  }

  function formula(q) {
    const diagonal = q.covariance.every((line, r) => line.every((v, c) => r === c || Math.abs(v) < 1e-12));
    if (!source.info.standard_normal_prior || !diagonal) return { kl: null };
    let place = 0;
    let width = 0;
    q.mean.forEach((mean, d) => {
      const parts = klParts(mean, Math.sqrt(q.covariance[d][d]));
      place += parts.place;
      width += parts.width;
    });
    return { kl: place + width, parts: ` KL = Σ µ²⁄2 (${said(place)}) + Σ (σ² − 1)⁄2 − ln σ (${said(width)}).` };
  }

  function quadrature(q, nodes) {
    if (!source.isLocal) return { reconstruction_error: null };
    const center = pick(q.mean);
    const at = (off) =>
      movedTo(
        w,
        q.mean,
        center.map((v, i) => v + off[i]),
      );
    const value = expectation((off) => source.errorNow(at(off), example.x), root(sub(q.covariance)), nodes);
    const others = source.latent > w.length ? ", the rest at µ" : "";
    return { reconstruction_error: value, how: `Quadrature with ${nodes ** w.length} nodes${others}.` };
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
    setExample(next) {
      example = next;
      original.show(next.x);
      draw();
    },
    setCode(z) {
      code = z;
      draw();
    },
    setQ(q) {
      own = q;
      draw();
    },
    setActive: (on) => element.classList.toggle("active", on),
    remove() {
      clearTimeout(timer);
      draw.cancel();
      plane.remove();
      element.remove();
    },
  };
}
