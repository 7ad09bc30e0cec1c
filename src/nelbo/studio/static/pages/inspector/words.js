// Why, and the lines of Python that give the same numbers.

import { h } from "../../core/dom.js";

export function why() {
  return [
    h("p", {
      html: `The loss of one example has two terms, in nats, summed over pixels and latent units and never averaged:`,
    }),
    h("div", {
      html: `<math display="block"><mrow>
      <mi class="nelbo-ink">nelbo</mi><mo>(</mo><mi>x</mi><mo>)</mo><mo>=</mo>
      <munder><mrow class="recon"><mo>−</mo><msub><mi>E</mi><mi>q</mi></msub><mo>[</mo><mi>log</mi><mspace width=".2em"/><mi>p</mi><mo>(</mo><mi>x</mi><mo>|</mo><mi>z</mi><mo>)</mo><mo>]</mo></mrow><mtext class="recon">reconstruction error</mtext></munder>
      <mo>+</mo>
      <munder><mrow class="kl"><mi>KL</mi><mo>(</mo><mi>q</mi><mo>(</mo><mi>z</mi><mo>|</mo><mi>x</mi><mo>)</mo><mo>‖</mo><mi>p</mi><mo>(</mo><mi>z</mi><mo>)</mo><mo>)</mo></mrow><mtext class="kl">what x costs in the latent space</mtext></munder>
      <mo>≥</mo><mo>−</mo><mi>log</mi><mspace width=".2em"/><mi>p</mi><mo>(</mo><mi>x</mi><mo>)</mo></mrow></math>`,
    }),
    h(
      "p",
      {},
      "For a normal q(z|x) and the standard normal prior the KL is a sum over the latent units, half of it for the place of q, half for its width:",
    ),
    h("div", {
      html: `<math display="block"><mrow><mi class="kl">KL</mi><mo>=</mo><munder><mo>∑</mo><mi>j</mi></munder><mfrac><msubsup><mi class="mu">µ</mi><mi>j</mi><mn>2</mn></msubsup><mn>2</mn></mfrac><mo>+</mo><mfrac><mrow><msubsup><mi class="sigma">σ</mi><mi>j</mi><mn>2</mn></msubsup><mo>−</mo><mn>1</mn></mrow><mn>2</mn></mfrac><mo>−</mo><mi>ln</mi><mspace width=".2em"/><msub><mi class="sigma">σ</mi><mi>j</mi></msub></mrow></math>`,
    }),
    h(
      "p",
      {},
      "Drag the ellipse: a narrow q far from the origin tells the decoder much about x and pays for it in KL; a q as wide as the prior is free and tells nothing. The encoder's q is where the sum is meant to be smallest. If you find a q with a smaller total, you have found the amortization gap of this example.",
    ),
  ];
}

/** @param {Object[]} sources */
export function code(slots, sources) {
  const { model } = slots;
  const [source] = sources;
  const row = model.get("pins")[model.get("active")] ?? 0;
  const path = ({ info, run }) => JSON.stringify(info.path ?? run);
  const load = (one) => `nelbo.load(${path(one)})`;
  const from = source.info.checkpoint === null ? "" : `  # its checkpoint after epoch ${source.info.checkpoint}`;
  const lines = [
    "import nelbo, torch",
    "from nelbo.evaluation import evaluate",
    "",
    `run = ${load(source)}${from}`,
    `x = run.data.${source.split}.take([${row}])  # example ${row}, ${JSON.stringify(source.info.event)}`,
    "terms = evaluate(run, x).terms(1024)  # nats, means over 1024 draws of z, with standard errors",
    "error, kl = terms.reconstruction_error, terms.kl",
    "nelbo_ = terms.elbo.scaled(-1)  # the total loss; nelbo.loss(run.model, x) is one draw of it",
    "qz = run.model.posterior(x)  # q(z|x)",
    "picture = run.reconstruct(x)",
  ];
  if (model.get("z").length)
    lines.push(
      `at_z = run.model.decode(torch.tensor([[${model
        .get("z")
        .map((v) => Number(v.toFixed(4)))
        .join(", ")}]]))`,
    );
  if (sources.length > 1)
    lines.push(
      "",
      `other = ${load(sources[1])}`,
      "difference = nelbo_.value + evaluate(other, x).terms(1024).elbo.value",
    );
  return lines.join("\n");
}
