// Jensen's inequality and the ELBO on a model where every term is exact.

import { card, choice, group, presetButtons, slider } from "../core/controls.js";
import { h, tell, trailing } from "../core/dom.js";
import { display, fn, frac, o, row, sub, v, word } from "../core/formula.js";
import { literal, nats, number } from "../core/format.js";
import { PAGES } from "../core/pages.js";
import { read, watch } from "../core/store.js";
import { bound } from "./elbo/bound.js";
import { importance } from "./elbo/importance.js";
import { jensen } from "./elbo/jensen.js";

const { defaults } = PAGES.elbo;
const NAMES = Object.keys(defaults);
const check = {
  points: (value) =>
    value.length === 3 &&
    value.every(
      (p) =>
        Array.isArray(p) &&
        p.length === 2 &&
        p.every(Number.isFinite) &&
        p[0] > 0 &&
        p[0] <= 6 &&
        p[1] > 0 &&
        p[1] <= 1,
    ),
};
const PRESETS = [
  { name: "q = prior", title: "KL(q‖p(z)) = 0, yet the bound is loose", state: { m: 0, v: 1 } },
  { name: "q = posterior", title: "the bound is tight: gap 0", state: { m: 1.5 / 1.49, v: 0.7 / Math.sqrt(1.49) } },
  { name: "overconfident q", title: "too narrow: the gap grows slowly", state: { m: 1, v: 0.1 } },
  {
    name: "two answers",
    title: "x = z² + noise: no normal q closes the gap",
    state: { model: "square", x: 2, s: 0.5, m: 1.4, v: 0.2 },
  },
  {
    name: "z is ignored",
    title: "w = 0: the posterior is the prior, and collapse costs nothing",
    state: { w: 0, s: 1.5, m: 0, v: 1 },
  },
];

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model } = slots;
  const chain = bound(slots, NAMES);
  const [left, right] = [h("div", { class: "panel" }), h("div", { class: "panel" })];
  const map = h("div", { class: "panel" }, h("h2", {}, "The ELBO of every q: ✕ is its maximum"), chain.map);
  slots.figure.append(h("div", { class: "columns" }, map, left), right);
  const concave = jensen(slots, left);
  const many = importance(slots, NAMES, right);
  const drawMany = trailing(many.paint);
  const cards = {
    evidence: card("log p(x)", { colour: "big evidence", name: "evidence" }),
    elbo: card("ELBO", { colour: "big nelbo-c", name: "elbo" }),
    error: card("reconstruction error", { colour: "recon", name: "error" }),
    kl: card('KL(<span class="q-ink">q</span> ‖ p(z))', { colour: "q", name: "kl" }),
    gap: card('KL(<span class="q-ink">q</span> ‖ p(z|x)), the gap', { colour: "kl", name: "gap" }),
    nelbo: card("total loss = −ELBO", { name: "nelbo" }),
  };
  slots.numbers.append(...Object.values(cards).map((c) => c.element));
  slots.controls.append(
    group(
      "Model: z ~ N(0, 1)",
      choice(slots, {
        name: "model",
        label: "Model",
        options: [
          ["linear", "x = w z + noise"],
          ["square", "x = w z² + noise"],
        ],
      }),
      slider(slots, { name: "x", label: "x", says: "data x", low: -4, high: 4 }),
      slider(slots, { name: "w", label: "w", says: "weight w", low: -3, high: 3 }),
      slider(slots, { name: "s", label: "s", says: "noise s", log: true, low: 0.1, high: 3 }),
    ),
    group(
      h("span", { class: "q-ink" }, "q(z)"),
      slider(slots, { name: "m", label: "µ", says: "mean of q", low: -4, high: 4, colour: "q" }),
      slider(slots, {
        name: "v",
        label: "σ",
        says: "standard deviation of q",
        log: true,
        low: 0.05,
        high: 3,
        colour: "q",
      }),
      h(
        "div",
        { class: "row", "data-answer": "" },
        h("button", { type: "button", class: "chip", onclick: chain.snap }, "Best normal q"),
      ),
    ),
    group("Presets", presetButtons(slots, PRESETS)),
    group("Importance weighting", slider(slots, { name: "logk", label: "log₂ K", step: 1 })),
  );
  slots.why.innerHTML = WHY;
  const paint = () => {
    const found = chain.paint();
    const unit = model.get("unit");
    const show = (value) => nats(value, unit);
    cards.evidence.show(show(found.evidence), "does not depend on q");
    cards.elbo.show(show(found.elbo), `${show(found.evidence - found.elbo)} below`);
    cards.error.show(show(found.error), "−E[log p(x|z)] under q");
    cards.kl.show(show(found.kl));
    cards.gap.show(
      show(found.gap),
      `log p(x) − ELBO differs by ${number(Math.abs(found.evidence - found.elbo - found.gap), 2)}`,
    );
    cards.nelbo.show(show(-found.elbo), "= reconstruction error + KL");
    concave.paint();
    drawMany();
    tell(slots.code, code(read(model, NAMES)));
  };
  const watching = watch(model, [...NAMES, "unit"], paint);
  slots.repaint = watching;
  return () => {
    watching.stop();
    drawMany.stop();
    for (const part of [chain, concave, many]) part.stop();
  };
}

/** @param {import("../core/types.js").State} state */
function code(state) {
  const { model, x: seen, w, s, m, v: width } = state;
  const q = `qz = Normal(torch.tensor(${literal(m)}, dtype=torch.float64), ${literal(width)})`;
  if (model === "linear") {
    return [
      "import torch",
      "from torch.distributions import Normal",
      "",
      "from nelbo.divergences import elbo_chain",
      "",
      q,
      `chain = elbo_chain(${literal(seen)}, qz, weight=${literal(w)}, noise=${literal(s)})`,
      "print(chain.log_evidence, chain.elbo, chain.reconstruction_error, chain.kl, chain.gap_to_posterior)",
    ].join("\n");
  }
  return [
    "import torch",
    "from torch.distributions import Normal",
    "",
    "import nelbo",
    "",
    q,
    "pz = Normal(torch.zeros((), dtype=torch.float64), 1.0)",
    "grid = torch.linspace(-8, 8, 3201, dtype=torch.float64)",
    "",
    "",
    "def log_likelihood(z):",
    `    return Normal(${literal(w)} * z**2, ${literal(s)}).log_prob(torch.tensor(${literal(seen)}, dtype=torch.float64))`,
    "",
    "",
    "log_evidence = torch.logsumexp(log_likelihood(grid) + pz.log_prob(grid), 0) + torch.log(grid[1] - grid[0])",
    "points = qz.loc + qz.scale * grid",
    "mass = qz.log_prob(points).exp() * qz.scale * (grid[1] - grid[0])",
    "elbo = (mass * log_likelihood(points)).sum() - nelbo.kl(qz, pz).value",
    "print(log_evidence, elbo, log_evidence - elbo)",
  ].join("\n");
}

const [x, z, q, p] = [v("x"), v("z"), v("q", "q", "q"), v("p")];
const of = (f, ...a) => row(f, o("("), ...a, o(")"));
const E = sub(word("E"), q);
const log = (a) => fn("log", a);
const ratio = frac(of(p, x, o(","), z), of(q, z));
const WHY = `
<p><b>By Jensen.</b> The logarithm is concave, so the log of a mean is at least the mean of the logs:</p>
${display(log(of(p, x)), o("="), log(row(E, o("["), ratio, o("]"))), o("≥"), E, o("["), log(ratio), o("]"), o("="), word("ELBO"))}
${display(word("ELBO"), o("="), E, o("["), log(of(p, row(x, o("|"), z))), o("]"), o("−"), word("KL"), o("("), of(q, z), o("∥"), of(p, z), o(")"))}
<p><b>By the posterior.</b> With p(x, z) = p(z|x) p(x) the same ELBO is</p>
${display(word("ELBO"), o("="), log(of(p, x)), o("−"), word("KL"), o("("), of(q, z), o("∥"), of(p, row(z, o("|"), x)), o(")"))}
<p>and a KL is never negative. This says more: the gap <i>is</i> that KL, so the bound is tight exactly if q is the posterior. For the model with z²
the posterior has two bumps; a normal q settles on one of them and keeps a gap of about log 2.</p>
<p><b>More draws.</b> log of the mean of K weights lies between: L₁ = ELBO ≤ L₂ ≤ … → log p(x) (Burda, Grosse &amp; Salakhutdinov 2016).</p>`;

/** @type {import("../core/types.js").Page} */
export default {
  name: "elbo",
  ...PAGES.elbo,
  check,
  mount,
  help: [
    ["drag q's peak, shoulder ◆", "mean and width of q"],
    ["drag on the map", "both at once"],
    ["drag the points on the log curve", "Jensen's gap; Ctrl+wheel changes a point's weight"],
  ],
};
