// Why β trades one term for the other, and the lines that train the same network from Python.

import { display, o, row, sub, v, word } from "../../core/formula.js";
import { literal } from "../../core/format.js";

const x = v("x");
const [z, beta] = [v("z", "z", "z"), v("β", "beta", "beta")];
const expected = row(
  sub(word("E"), row(v("q"))),
  o("["),
  o("−"),
  word("log"),
  v("p"),
  o("("),
  x,
  o("|"),
  z,
  o(")"),
  o("]"),
);
const kl = row(word("KL"), o("("), v("q"), o("("), z, o("|"), x, o(")"), o("‖"), v("p"), o("("), z, o(")"), o(")"));

export const WHY = `
<p>A step takes a batch, draws z = µ + σε from q(z|x) of each digit, and moves all weights a little against the gradient of</p>
${display(word("loss"), o("="), `<mrow class="recon">${expected}</mrow>`, o("+"), beta, o("·"), `<mrow class="kl">${kl}</mrow>`)}
<p>The first term is the <b>distortion</b>: how badly a digit comes back. The second is the <b>rate</b>: how many nats z says about x, above the
prior. At <b>β = 1</b> their sum is −ELBO, the bound on −log p(x). With <b>β above 1</b> z says only what saves more than β nats of distortion for
each nat of rate, and where nothing does, σ grows to 1, µ shrinks to 0, and every reconstruction is the same: posterior collapse. At <b>β = 0</b>
nothing holds q(z|x) near the prior: σ shrinks and the cloud spreads, as in an autoencoder; reconstructions are at their best, and many places that
the prior draws from hold no digit.</p>
<p>Training ends where the dashed line only touches what the network can reach: its slope is −β. So moving β walks along the curve between rate and
distortion.</p>
<p>Data: 1,617 digits of 8 × 8 pixels, each black or white, and 180 held out. E. Alpaydin and C. Kaynak, <cite>Optical Recognition of Handwritten
Digits</cite>, UCI Machine Learning Repository, CC BY 4.0. Encoder 64–64–(µ, log σ²), decoder 2–64–64 with ReLU, a Bernoulli for each pixel, Adam, all
in double precision.</p>`;

/** @param {import("../../core/types.js").State} state @param {number} epochs trained so far */
export function code({ beta: weight, rate, batch, seed }, epochs) {
  return [
    "import nelbo",
    "",
    'data = nelbo.data.load("digits", binarize="threshold")   # the same 1,617 and 180 digits',
    `model = nelbo.recipes.beta_vae(data.event_shape, beta=${literal(weight)}, latent=2, hidden=(64,))`,
    "run = nelbo.fit(",
    `    model, data, epochs=${Math.max(1, Math.ceil(epochs))}, batch_size=${Math.round(batch)}, learning_rate=${literal(rate)}, seed=${Math.round(seed)}`,
    ")",
    "run.history[-1]   # the terms in nats; the draws are others than the browser’s",
  ].join("\n");
}
