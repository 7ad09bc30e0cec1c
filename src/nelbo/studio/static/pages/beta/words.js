// What the page along beta says: means, why, the lines of Python, and how to make a series where there is none.

import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { between, betaAt, mixed } from "./along.js";

/** @import { Slots } from "../../core/types.js" */
/** @import { Opened } from "./series.js" */

/** The means of the terms at a place, and how the curve lies there. @param {Opened} series @param {number} place @param {string} unit */
export function meansAt({ betas, sources }, place, unit) {
  const totals = sources.map(({ info }) => info.totals);
  const { t } = between(totals.length, place);
  const mean = (term) =>
    mixed(
      totals.map((of) => of[term].mean ?? Infinity),
      place,
    );
  const [error, kl, total] = ["reconstruction_error", "kl", "nelbo"].map((term) => nats(mean(term), unit));
  const words =
    betaAt(betas, place) > 0
      ? "A model minimizes distortion + β · rate: there the curve falls by β nats for each nat of rate (purple line). On the dashed line the total loss is the same."
      : "An autoencoder pays nothing for its codes: its rate is infinite.";
  const { n, split } = sources[0].info;
  return `Mean over ${n.toLocaleString("en")} ${split} examples: ${t ? "≈ " : ""}${error} + ${kl} = ${total} ${unit}. ${words}`;
}

/** How to make a series. @param {Slots} slots @param {boolean} hasOthers whether there is one, but not of the run that is meant */
export function offer({ host }, hasOthers) {
  const why_ = hasOthers
    ? "This run belongs to no series; choose one of the models beside, or train some."
    : "No two runs here differ in β alone. Train some: each is a run that stays, and more join it later.";
  const lines = "nelbo sweep digits --betas 0.1 0.3 1 3 10\nnelbo studio runs/digits-sweep";
  return h(
    "div",
    { class: "offer" },
    h("p", {}, host.file ? "No series of models travelled with this page. The shell makes one:" : why_),
    h("pre", { class: "code", tabindex: 0 }, lines),
  );
}

export function why() {
  return [
    h("p", {}, "A β-VAE weighs the two terms of the loss against each other:"),
    h("div", {
      html: `<math display="block"><mrow><mi class="recon">distortion</mi><mo>+</mo><mi>β</mi><mo>·</mo><mi class="kl">rate</mi><mo>=</mo><mrow class="recon"><mo>−</mo><msub><mi>E</mi><mi>q</mi></msub><mo>[</mo><mi>log</mi><mspace width=".2em"/><mi>p</mi><mo>(</mo><mi>x</mi><mo>|</mo><mi>z</mi><mo>)</mo><mo>]</mo></mrow><mo>+</mo><mi>β</mi><mo>·</mo><mrow class="kl"><mi>KL</mi><mo>(</mo><mi>q</mi><mo>(</mo><mi>z</mi><mo>|</mo><mi>x</mi><mo>)</mo><mo>‖</mo><mi>p</mi><mo>(</mo><mi>z</mi><mo>)</mo><mo>)</mo></mrow></mrow></math>`,
    }),
    h(
      "p",
      {},
      "With β near 0 the codes spread out and each q(z|x) shrinks towards a point: an autoencoder. With a large β every q(z|x) comes to be the prior, the codes say nothing about x, and the decoder returns one picture for all: collapse. β = 1 is the VAE, whose total is a bound on −log p(x).",
    ),
    h(
      "p",
      {},
      "Each mark is a model that was trained by itself. Its latent space may be any rotation of its neighbour's, so that each is turned to its neighbour by Procrustes' rotation, without scaling. Between two marks the picture glides; no model was trained there.",
    ),
  ];
}

/** @param {Opened} series */
export function code({ entries, sources }) {
  const paths = entries.map((entry, i) => JSON.stringify(sources[i].info.path ?? entry.run));
  return [
    "import nelbo",
    "from nelbo.studio.inspection import inspect",
    "",
    `for path in [${paths.join(", ")}]:`,
    "    terms = inspect(nelbo.load(path)).first_terms  # of each example, in nats",
    "    print(path, {name: float(each.value.mean()) for name, each in terms.items()})",
  ].join("\n");
}

/** What makes a series, where there is none. */
export const SERIES = `import nelbo

data = nelbo.data.load("digits", binarize="threshold")
nelbo.measure.sweep(data, out="runs/digits-sweep", betas=(0.1, 0.3, 1, 3, 10), epochs=20)
`;
