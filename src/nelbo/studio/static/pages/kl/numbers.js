// The number cards: both directions first, each with how it was found.

import { card } from "../../core/controls.js";
import { binned, closedForms, integrals, measured, whyInfinite } from "../../core/families.js";
import { nats, number } from "../../core/format.js";
import { asking, onChange, read } from "../../core/store.js";
import { edges } from "./figures.js";
import { NAMES, pair, SHAPE, side } from "./state.js";

const P = '<span class="p-ink">p</span>';
const Q = '<span class="q-ink">q</span>';

export function numbers(slots) {
  const { model, numbers: place } = slots;
  const cards = {
    pq: card(`KL(${P} ‖ ${Q})`, { colour: "big p", name: "pq" }),
    qp: card(`KL(${Q} ‖ ${P})`, { colour: "big q", name: "qp" }),
    jeffreys: card("Jeffreys, the sum", { name: "jeffreys" }),
    js: card("Jensen–Shannon", { name: "js", title: "at most log 2 = 0.693 nats" }),
    tv: card("total variation", { name: "tv", title: "at most 1" }),
    hellinger: card("Hellinger", { name: "hellinger", title: "at most 1" }),
    w2: card("Wasserstein, W₂", { name: "w2", title: "in units of x" }),
    python: card("nelbo.kl says", { name: "python" }),
  };
  place.append(...Object.values(cards).map((c) => c.element));
  // without Python behind the page, the card beside it takes the row
  const answered = (on) => {
    cards.python.element.hidden = !on;
    cards.w2.element.classList.toggle("whole", !on);
  };
  answered(!slots.host.file);
  cards.python.show("", "asking …");
  let timer = 0;
  const ask = asking(
    model,
    "explore.kl",
    ({ content }) => {
      answered(true);
      cards.python.show("", `KL(p‖q) ${said(content.pq)}; KL(q‖p) ${said(content.qp)}`);
      if ("w2" in closedForms(...pair(read(model, NAMES)))) return;
      if (content.w2 === null) cards.w2.show("–", "not computed for this pair");
      else cards.w2.show(number(content.w2), "units of x, from Python");
    },
    () => answered(false),
  );
  let off = null; // of integrals and sums from the closed forms; a check that need not keep up with the hand
  const compare = (p, q) => {
    const exact = closedForms(p, q);
    if (!("pq" in exact) || !Number.isFinite(exact.pq + exact.qp)) return;
    const found = integrals(p, q);
    off = { of: p.family, pq: Math.abs(exact.pq - found.pq), qp: Math.abs(exact.qp - found.qp) };
    slots.repaint?.();
  };
  let asked = ""; // the pair that W2 was last shown for
  const showW2 = (w2) => {
    const now = JSON.stringify(read(model, SHAPE));
    if (w2 !== undefined) cards.w2.show(number(w2), w2 === Infinity ? "a variance is infinite" : "units of x");
    else if (now !== asked) cards.w2.show("…", slots.host.file ? "needs Python" : "asking Python");
    asked = now;
  };
  const said = ([value, error, method]) =>
    `${value === null ? "∞" : number(value, 6)}${error ? ` ± ${number(error, 2)}` : ""} (${method.replace(/_/g, " ")})`;
  const later = () => {
    clearTimeout(timer);
    cards.python.element.classList.add("hidden");
    timer = setTimeout(() => {
      const state = read(model, NAMES);
      compare(...pair(state));
      if (slots.host.file) return;
      cards.python.element.classList.remove("hidden");
      ask({ p: side(state, "p"), q: side(state, "q") });
    }, 350);
  };
  const leave = onChange(model, SHAPE, later);
  later();

  return {
    paint() {
      const state = read(model, NAMES);
      const unit = state.unit ?? model.get("unit");
      const [p, q] = pair(state);
      const { values, closed } = measured(p, q);
      const show = (value) => (unit === "bits" ? `${nats(value, unit)} bits` : nats(value, unit));
      const how = (name) => {
        if (values[name] === Infinity) return name === "pq" ? whyInfinite(p, q, "p", "q") : whyInfinite(q, p, "q", "p");
        if (!(name in closed)) return "by quadrature";
        if (off?.of !== p.family) return "closed form";
        return `closed form; ${p.isDiscrete ? "the sum" : "quadrature"} differs by ${number(off[name], 2)}`;
      };
      let extra = { pq: how("pq"), qp: how("qp") };
      if (state.bins >= 1 && p.family !== "bernoulli") {
        const cut = binned(p, q, edges(p, q, Math.round(state.bins)));
        const words = (value) => `in ${cut.masses.length} bins: ${show(value)}`;
        extra = { pq: words(cut.pq), qp: words(cut.qp) };
      }
      cards.pq.show(show(values.pq), extra.pq);
      cards.qp.show(show(values.qp), extra.qp);
      cards.jeffreys.show(show(values.pq + values.qp));
      cards.js.show(show(values.js), `${number((100 * values.js) / Math.LN2, 3)} % of log 2`);
      cards.tv.show(number(values.tv));
      cards.hellinger.show(number(values.hellinger));
      showW2(values.w2);
      return values;
    },
    stop() {
      clearTimeout(timer);
      leave();
    },
  };
}
