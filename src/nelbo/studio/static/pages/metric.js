// Which axioms of a metric does a divergence satisfy? Three normals to drag, and a search for counterexamples.

import { card, group, presetButtons, select, slider } from "../core/controls.js";
import { h, set, tell } from "../core/dom.js";
import { display, frac, indexed, KL, n, o, row, sup, v } from "../core/formula.js";
import { literal, number } from "../core/format.js";
import { PAGES } from "../core/pages.js";
import { read, watch, write } from "../core/store.js";
import { AXIOMS, DIVERGENCES, sides } from "./metric/divergences.js";
import { plane } from "./metric/plane.js";
import { search } from "./metric/search.js";

/** @import { Normal, Verdict } from "./metric/divergences.js" */

const WHO = ["p", "q", "r"];
const { defaults } = PAGES.metric;
const NAMES = Object.keys(defaults);
const stateOf = (triple) =>
  Object.fromEntries(
    triple.flatMap(([m, sd], i) => [
      [`mu_${WHO[i]}`, m],
      [`sigma_${WHO[i]}`, sd],
    ]),
  );
const PRESETS = [
  {
    name: "in a row",
    title: "equal widths: KL is a squared distance",
    state: {
      divergence: "kl",
      ...stateOf([
        [0, 1],
        [1, 1],
        [2, 1],
      ]),
    },
  },
  {
    name: "variances 1, 2, 3",
    title: "the middle variance lies between: broken by 1/12",
    state: {
      divergence: "kl",
      ...stateOf([
        [0, 1],
        [0, Math.SQRT2],
        [0, Math.sqrt(3)],
      ]),
    },
  },
  {
    name: "middle one outside",
    title: "the middle variance is the largest: it holds",
    state: {
      divergence: "kl",
      ...stateOf([
        [0, 1],
        [0, 2],
        [0, 1.4],
      ]),
    },
  },
  {
    name: "far too short",
    title: "a narrow r far away",
    state: {
      divergence: "kl",
      ...stateOf([
        [-3, 1.5],
        [0.5, 1],
        [2, 0.3],
      ]),
    },
  },
];
const PYTHON = {
  kl: "nelbo.kl",
  jeffreys: "D.jeffreys",
  js: "D.jensen_shannon",
  sqrtjs: "D.jensen_shannon",
  hellinger: "D.hellinger",
  tv: "D.total_variation",
  w2: "D.wasserstein",
  sqrtkl: "nelbo.kl",
};

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model } = slots;
  /** @returns {Normal[]} */
  const triple = () => WHO.map((who) => [model.get(`mu_${who}`), model.get(`sigma_${who}`)]);
  const load = (members) => write(model, stateOf(members));
  const figure = plane(slots, triple);
  const below = h("div", { class: "panel", "data-answer": "" });
  const table = h("div", { class: "panel scroll", "data-answer": "" });
  slots.figure.append(below, h("h2", { "data-answer": "" }, "All divergences: click a violation to see it"), table);
  const finder = search(slots, below, load);

  const cards = {
    pr: card("d(p, r)", { colour: "big", name: "pr" }),
    detour: card("d(p, q) + d(q, r)", { colour: "big", name: "detour" }),
    back: card("d(r, p)", { name: "back" }),
    excess: card("excess", { name: "excess" }),
  };
  const lamps = AXIOMS.map((axiom) => h("div", { class: "lamp", role: "listitem" }, h("span", {}, axiom), h("small")));
  slots.numbers.append(
    ...Object.values(cards).map((c) => c.element),
    h("div", { class: "lamps card whole", role: "list", "aria-label": "Axioms", "data-answer": "" }, ...lamps),
  );
  slots.controls.append(
    group(
      "Divergence",
      select(slots, {
        name: "divergence",
        label: "d",
        options: Object.entries(DIVERGENCES).map(([name, { title }]) => [name, title]),
      }),
    ),
    group("Presets", presetButtons(slots, PRESETS)),
    ...WHO.map((who) =>
      group(
        h("span", { class: `${who}-ink` }, who),
        slider(slots, { name: `mu_${who}`, label: "µ", says: `mean of ${who}`, low: -4, high: 4, colour: who }),
        slider(slots, {
          name: `sigma_${who}`,
          label: "σ",
          says: `standard deviation of ${who}`,
          log: true,
          low: 0.1,
          high: 4,
          colour: who,
        }),
      ),
    ),
  );
  table.append(overview((name, witness) => write(model, { divergence: name, ...(witness ? stateOf(witness) : {}) })));
  slots.why.innerHTML = WHY;

  const paint = () => {
    const state = read(model, NAMES);
    const { f, nats, axioms } = DIVERGENCES[state.divergence];
    const members = triple();
    const found = sides(f, members);
    const unit = nats ? model.get("unit") : "";
    const show = (value) => `${number(unit === "bits" ? value / Math.LN2 : value)}`;
    figure.paint(found);
    finder.paint();
    const back = f(...members[2], ...members[0]);
    cards.pr.show(show(found.pr), unit);
    cards.detour.show(show(found.pq + found.qr), `${show(found.pq)} + ${show(found.qr)}`);
    cards.back.show(show(back), back === found.pr ? "the same" : `differs by ${show(Math.abs(back - found.pr))}`);
    cards.excess.show(show(found.excess), found.excess > 1e-12 ? "the triangle cannot close" : "the triangle closes");
    lamps.forEach((lamp, i) => {
      set(lamp, { class: `lamp ${axioms[i].holds ? "yes" : "no"}` });
      const tested = finder.found();
      const searched =
        i === 3 && tested?.tested
          ? ` · search: ${tested.broken.toLocaleString("en")} of ${tested.tested.toLocaleString("en")}`
          : "";
      tell(lamp.lastChild, `${axioms[i].holds ? "holds" : "fails"}: ${axioms[i].reason}${searched}`);
    });
    tell(slots.code, code(state));
  };
  const watching = watch(model, [...NAMES, "unit"], paint);
  slots.repaint = watching;
  return () => {
    watching.stop();
    figure.stop();
    finder.stop();
  };
}

/** @param {(name: string, witness?: Normal[]) => void} open */
function overview(open) {
  /** @param {string} name @param {Verdict} verdict @param {string} axiom */
  const cell = (name, { holds, reason, witness }, axiom) =>
    h(
      "td",
      {},
      holds
        ? h("span", { class: "good", title: reason }, "holds")
        : h(
            "button",
            {
              type: "button",
              class: "chip",
              title: reason,
              "aria-label": `${DIVERGENCES[name].title}, ${axiom}: violated; show the witness`,
              onclick: () => open(name, witness),
            },
            h("span", { class: "bad" }, "violated"),
          ),
    );
  return h(
    "table",
    { class: "overview" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "divergence"),
        ...AXIOMS.map((axiom) => h("th", { scope: "col" }, axiom)),
        h("th", { scope: "col" }, "metric"),
      ),
    ),
    h(
      "tbody",
      {},
      ...Object.entries(DIVERGENCES).map(([name, { title, axioms }]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("button", { type: "button", class: "chip", onclick: () => open(name) }, title)),
          ...axioms.map((verdict, i) => cell(name, verdict, AXIOMS[i])),
          h("td", {}, axioms.every((a) => a.holds) ? "yes" : "no"),
        ),
      ),
    ),
  );
}

function code(state) {
  const member = (who) => `normal(${literal(state[`mu_${who}`])}, ${literal(state[`sigma_${who}`])})`;
  const name = PYTHON[state.divergence];
  const head = [
    "import torch",
    "from torch.distributions import Normal",
    "",
    "import nelbo",
    ...(name?.startsWith("D.") ? ["from nelbo import divergences as D"] : []),
    "",
    "",
    "def normal(mean, deviation):",
    "    return Normal(torch.tensor(mean, dtype=torch.float64), deviation)",
    "",
    "",
    `p, q, r = ${WHO.map(member).join(", ")}`,
  ];
  if (!name)
    return [
      ...head,
      "# Fisher-Rao: the hyperbolic distance of (mu / sqrt 2, sigma), times sqrt 2",
      "def d(a, b):",
      "    squared = (a.loc - b.loc) ** 2 / 2 + (a.scale - b.scale) ** 2",
      "    return 2**1.5 * torch.asinh(torch.sqrt(squared / (4 * a.scale * b.scale)))",
      "",
      "print(d(p, r), d(p, q) + d(q, r))",
    ].join("\n");
  const value = (a, b) => `${name}(${a}, ${b}).value${state.divergence.startsWith("sqrt") ? ".sqrt()" : ""}`;
  const key =
    { js: "jensen_shannon", sqrtjs: "sqrt_jensen_shannon", tv: "total_variation", w2: "wasserstein:2" }[
      state.divergence
    ] ?? state.divergence;
  return [
    ...head,
    `print(${value("p", "r")}, ${value("p", "q")} + ${value("q", "r")})`,
    ...(state.divergence === "sqrtkl" ? [] : [`print(nelbo.axioms.examine("${key}", family=Normal))`]),
  ].join("\n");
}

const [p, q, r] = WHO.map((who) => v(who, who));
const [vp, vq, vr] = WHO.map((who) => indexed("v", who, who));
const WHY = `
<p>A metric is never negative, zero only between equal points, symmetric, and no detour is shorter than the direct way. KL has the first two
properties (Gibbs' inequality) and not the others.</p>
<p><b>Equal widths.</b> Then ${`<math>${KL(p, q)}</math>`} is half a <i>squared</i> distance, and squares break the triangle inequality: with means 0, 1, 2 the
direct way costs 2 and the two halves ½ + ½.</p>
${display(frac(sup(v("d"), n(2)), n(2)), o("&gt;"), frac(sup(v("d"), n(2)), n(4)), o("="), frac(sup(row(o("("), v("d"), o("/"), n(2), o(")")), n(2)), n(2)), o("+"), frac(sup(row(o("("), v("d"), o("/"), n(2), o(")")), n(2)), n(2)))}
<p><b>Equal means.</b> With variances v the logarithms cancel and</p>
${display(KL(p, r), o("−"), KL(p, q), o("−"), KL(q, r), o("="), frac(n(1), n(2)), row(o("("), frac(vp, vq), o("−"), n(1), o(")")), row(o("("), frac(vq, vr), o("−"), n(1), o(")")))}
<p>which is positive, and the inequality broken, exactly if the middle variance lies between the other two: 1, 2, 3 give 1/12.</p>
<p>The square root of Jensen–Shannon, Hellinger, total variation, Wasserstein and Fisher–Rao are metrics. The square root of KL is not.</p>`;

/** @type {import("../core/types.js").Page} */
export default { name: "metric", ...PAGES.metric, mount };
