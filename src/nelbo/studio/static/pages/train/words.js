// Why the two terms are shown apart, and the lines that train the same from Python.

import { h } from "../../core/dom.js";

export function why() {
  return [
    h(
      "p",
      {},
      "A falling total says little: it falls while the KL collapses to zero and the decoder learns to ignore z, and it falls in a healthy training. Apart, the two terms tell the two stories: the KL first rises, while the encoder finds out what is worth saying, and the reconstruction error falls with it.",
    ),
    h("div", {
      html: `<math display="block"><mrow><mi>loss</mi><mo>=</mo><munder><mrow class="recon"><mo>−</mo><msub><mi>E</mi><mi>q</mi></msub><mo>[</mo><mi>log</mi><mspace width=".2em"/><mi>p</mi><mo>(</mo><mi>x</mi><mo>|</mo><mi>z</mi><mo>)</mo><mo>]</mo></mrow><mtext class="recon">distortion</mtext></munder><mo>+</mo><mi>β</mi><mo>·</mo><munder><mrow class="kl"><mi>KL</mi><mo>(</mo><mi>q</mi><mo>‖</mo><mi>p</mi><mo>)</mo></mrow><mtext class="kl">rate</mtext></munder></mrow></math>`,
    }),
    h(
      "p",
      {},
      "With β above 1 the run trades distortion for rate, down to a rate of zero: posterior collapse. With β = 0 nothing holds the codes near the prior: the reconstruction is best and samples from the prior are worthless. The numbers reported are always those of β = 1, whatever is optimized, so that runs can be compared.",
    ),
  ];
}

/** @param {Object} run */
export function code(run) {
  const made = run.settings?.recipe;
  const data = run.settings?.data;
  const training = run.settings?.training;
  const value = (v) =>
    v === null
      ? "None"
      : v === true
        ? "True"
        : v === false
          ? "False"
          : Array.isArray(v)
            ? `(${v.join(", ")}${v.length === 1 ? "," : ""})`
            : JSON.stringify(v);
  const lines = ["import nelbo", ""];
  if (made && data?.source) {
    const options = Object.entries(data.options ?? {})
      .filter(([name, v]) => ["binarize", "limit", "standardize", "dequantize"].includes(name) && v)
      .map(([name, v]) => `, ${name}=${value(v)}`)
      .join("");
    const own = Object.entries(made.arguments)
      .filter(([name]) => ["latent", "hidden", "beta", "warm_up", "floor", "likelihood", "samples"].includes(name))
      .map(([name, v]) => `, ${name}=${value(v)}`)
      .join("");
    lines.push(
      `data = nelbo.data.load(${value(data.source)}${options}, seed=${training?.seed ?? 0})`,
      `model = nelbo.recipes.${made.name}(data.event_shape${own})`,
      `run = nelbo.fit(model, data, epochs=${training?.epochs}, batch_size=${training?.batch_size}, learning_rate=${training?.learning_rate}, seed=${training?.seed}, out="runs/mine")`,
    );
  } else {
    lines.push(`run = nelbo.load(${value(run.name)})`);
  }
  lines.push(
    "run.history[-1]                     # the last epoch's terms, nats",
    `run = nelbo.load(${value(run.name)})   # this run`,
  );
  return lines.join("\n");
}
