// The reparameterization trick: why the gradient goes through the sample, measured against the score function.

import { choice, group, presetButtons, select, slider } from "../core/controls.js";
import { h, tell, trailing } from "../core/dom.js";
import { display, frac, o, row, sub, sup, v, word, n } from "../core/formula.js";
import { literal, rounded } from "../core/format.js";
import { randomness } from "../core/math.js";
import { PAGES } from "../core/pages.js";
import { read, watch, write } from "../core/store.js";
import { keepSample, oneDraw } from "./reparam/draw.js";
import { FUNCTIONS, gradients } from "./reparam/estimators.js";
import { graph } from "./reparam/graph.js";
import { hand } from "./reparam/hand.js";
import { numbers } from "./reparam/numbers.js";
import { convergence, discrete, histogram } from "./reparam/panels.js";
import { race } from "./reparam/race.js";

const { defaults } = PAGES.reparam;
const NAMES = Object.keys(defaults);
const MOVING = 1000; // draws while something is dragged
const PRESETS = [
  {
    name: "a VAE’s own loss",
    title: "−log p(x, z) of the page before: its constant alone makes the score function noisy",
    state: { fn: "elbo", mu: -1, sigma: 0.4, rate: 0.03 },
  },
  {
    name: "too long a step",
    title: "the descent by the score function runs away; the pathwise one arrives",
    state: { fn: "elbo", mu: -1, sigma: 0.3, rate: 0.06 },
  },
  { name: "12 times noisier", title: "z² at µ = 1, σ = 0.7", state: { fn: "square", mu: 1, sigma: 0.7 } },
  {
    name: "narrow q",
    title: "the score divides by σ: its variance explodes",
    state: { fn: "shifted", mu: 2, sigma: 0.05, c: 0 },
  },
  {
    name: "wiggly f",
    title: "pathwise can lose where f oscillates faster than q is wide",
    state: { fn: "sine", mu: 0.3, sigma: 1.5 },
  },
  {
    name: "step: pathwise fails",
    title: "slope 0 almost everywhere: biased, whatever the number of draws",
    state: { fn: "step", mu: 0, sigma: 1, c: 0.5 },
  },
];

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const { model } = slots;
  const place = (title) => {
    const element = h("div", { class: "panel" }, h("h2", {}, title));
    return element;
  };
  const [top, held, dmu, dsigma, error, descent, relax] = [
    h("div", { class: "panel" }),
    place("The same draw to hold"),
    place("d/dµ of E[f(z)], one draw each; upright: the truth"),
    place("d/dσ of E[f(z)]"),
    place("Error over the number of draws (thin: SD/√n)"),
    place("Three descents from the same start, same draws"),
    place("A discrete z: Gumbel-softmax"),
  ];
  slots.figure.append(
    top,
    h("div", { class: "columns" }, held, descent),
    h("div", { class: "columns" }, dmu, dsigma),
    h("div", { class: "columns" }, error, relax),
  );
  const leaveSample = keepSample(model);
  const picture = graph(top);
  const draw = hand(slots, held, () => paint());
  const charts = [histogram(dmu, 0, "d/dµ"), histogram(dsigma, 1, "d/dσ")];
  const log = convergence(error);
  const run = race(slots, descent);
  const bernoulli = discrete(relax);
  for (const chart of [...charts, log, run, bernoulli]) chart.figure.resized = () => slots.repaint?.();
  const showNumbers = numbers(slots.numbers);
  addControls(slots);
  slots.why.innerHTML = WHY;
  let later = 0;
  let kept = { key: "" }; // draws that stay while q moves
  const draws = (seed, count) => {
    if (kept.key !== `${seed},${count}`) {
      const random = randomness(seed);
      kept = { key: `${seed},${count}`, eps: Float64Array.from({ length: count }, () => random.normal()) };
    }
    return kept.eps;
  };
  const follow = trailing((state) => bernoulli.paint(state), 200);
  const drawError = trailing((...given) => log.paint(...given));
  const paint = () => {
    const state = read(model, NAMES);
    const one = oneDraw(state);
    picture.paint(state, one);
    draw.paint(state, one);
    run.paint(state);
    show(state, Math.min(MOVING, Math.round(state.samples)));
    clearTimeout(later);
    if (state.samples > MOVING)
      later = setTimeout(() => show(read(model, NAMES), Math.round(model.get("samples"))), 220);
    follow(state);
    tell(slots.code, code(state));
  };
  function show(state, count) {
    const eps = draws(state.seed, count);
    const made = gradients(state, eps);
    const [, byMu, bySigma] = FUNCTIONS[state.fn].exact(state.mu, state.sigma, state.c);
    charts[0].paint(made, byMu);
    charts[1].paint(made, bySigma);
    drawError(made, byMu);
    showNumbers(state, made);
  }
  const watching = watch(model, NAMES, paint);
  slots.repaint = watching;
  return () => {
    watching.stop();
    follow.stop();
    drawError.stop();
    clearTimeout(later);
    run.stop();
    draw.stop();
    leaveSample();
    for (const chart of [...charts, log, run, bernoulli]) chart.figure.remove();
  };
}

/** @param {import("../core/types.js").Slots} slots */
function addControls(slots) {
  const { model } = slots;
  slots.controls.append(
    group(
      "Sampling",
      choice(slots, {
        name: "node",
        label: "Node",
        options: [
          ["reparam", "reparameterized"],
          ["stochastic", "stochastic node"],
        ],
      }),
    ),
    group(
      "f",
      select(slots, {
        name: "fn",
        label: "f(z)",
        options: Object.entries(FUNCTIONS).map(([name, { title }]) => [name, title]),
      }),
      slider(slots, { name: "c", label: "c", low: -3, high: 3 }),
    ),
    group(
      "q(z) = N(µ, σ²)",
      slider(slots, { name: "mu", label: "µ", low: -3, high: 3, colour: "mu" }),
      slider(slots, { name: "sigma", label: "σ", log: true, low: 0.03, high: 3, colour: "sigma" }),
      slider(slots, { name: "eps", label: "ε", low: -4, high: 4, colour: "eps" }),
    ),
    group(
      "Draws",
      slider(slots, { name: "samples", label: "n", says: "number of draws", log: true }),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "chip", onclick: () => otherDraws(model) }, "Other draws"),
      ),
    ),
    group("Presets", presetButtons(slots, PRESETS)),
    group(
      "Gumbel-softmax",
      slider(slots, { name: "tau", label: "τ", says: "temperature", log: true, low: 0.01, high: 10 }),
    ),
  );
}

/** Another seed, and its first draw of epsilon to hold. @param {import("../core/types.js").Model} model */
function otherDraws(model) {
  const seed = model.get("seed") + 1;
  write(model, { seed, eps: rounded(randomness(seed).normal(), 0.01) });
}

/** @param {import("../core/types.js").State} state */
function code({ fn, mu, sigma, c, eps, samples, seed }) {
  return [
    "import torch",
    "from torch.distributions import Normal",
    "",
    `mu = torch.tensor(${literal(mu)}, requires_grad=True)`,
    `sigma = torch.tensor(${literal(sigma)}, requires_grad=True)`,
    "q = Normal(mu, sigma)",
    "",
    "",
    "def f(z):",
    `    return ${FUNCTIONS[fn].python(literal(c))}`,
    "",
    "",
    `z = mu + sigma * ${literal(eps)}  # the draw that is held`,
    "print(z, f(z), *torch.autograd.grad(f(z), (mu, sigma)))",
    "",
    `torch.manual_seed(${seed})  # torch's draws: other ones than the page's, alike within the standard errors`,
    `z = q.rsample((${Math.round(samples)},))  # z = mu + sigma * eps`,
    "print(torch.autograd.grad(f(z).mean(), (mu, sigma)))",
    "",
    `z = q.sample((${Math.round(samples)},))  # the score function needs no gradient of f`,
    "surrogate = (f(z).detach() * q.log_prob(z)).mean()",
    "print(torch.autograd.grad(surrogate, (mu, sigma)))",
  ].join("\n");
}

const [mu, sigma, eps, z] = [v("µ", "mu", "µ"), v("σ", "sigma", "σ"), v("ε", "eps", "ε"), v("z", "z", "z")];
const f = (x) => row(v("f"), o("("), x, o(")"));
const E = (x) => sub(word("E"), x);
const WHY = `
<p>The gradient of a mean over q cannot pass through a draw from q. Written as z = µ + σε with ε ~ N(0, 1), the randomness no longer depends on µ
and σ, and the gradient goes through the sample (<b>pathwise</b>):</p>
${display(frac(o("∂"), row(o("∂"), mu)), E(z), f(z), o("="), E(eps), row(v("f"), o("′"), o("("), mu, o("+"), sigma, eps, o(")")), o(","), frac(o("∂"), row(o("∂"), sigma)), E(z), f(z), o("="), E(eps), row(v("f"), o("′"), o("("), z, o(")"), eps))}
<p>The <b>score function</b> needs only values of f, and pays in variance:</p>
${display(frac(o("∂"), row(o("∂"), mu)), E(z), f(z), o("="), E(z), f(z), frac(row(z, o("−"), mu), sup(sigma, n(2))))}
<p>Both are unbiased where f is smooth. For f = z² the variances are 4σ² and (µ⁴ + 18µ²σ² + 15σ⁴)/σ² − 4µ². Taking the mean of f over the other draws
off as a baseline removes much of the score's variance and no truth.</p>
<p><b>Where it breaks.</b> A step has slope 0 almost everywhere: pathwise says 0, with no error bar to warn you; the score is right. A discrete z has no
path; Gumbel–softmax bends one, biased when warm and noisy when cold.</p>`;

/** @type {import("../core/types.js").Page} */
export default {
  name: "reparam",
  ...PAGES.reparam,
  mount,
  unit: false,
  help: [
    ["drag ε or z", "the draw; f(z) and its slope follow"],
    ["drag µ or ◆", "mean and standard deviation of q: z goes along, unless it is a stochastic node’s"],
  ],
};
