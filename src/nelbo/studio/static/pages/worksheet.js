// The worksheet as twelve steps: predict, then drag on the page where the answer shows, then reveal. Goals are checked on
// the state that the page had, so an answer is found and not clicked.

import { download, h } from "../core/dom.js";
import { number } from "../core/format.js";
import { elboChain, klAsymmetry, normalKL } from "../core/math.js";
import { PAGES } from "../core/pages.js";
import { remembered } from "../core/progress.js";

/** @returns {[number, number, number, number]} */
const pair = (s) => [s.mu_p, s.sigma_p, s.mu_q, s.sigma_q];
const plain = (s) => s.family_p === "normal" && s.family_q === "normal";
const forward = (s) => normalKL(...pair(s));
const back = (s) => normalKL(s.mu_q, s.sigma_q, s.mu_p, s.sigma_p);
const excess = (s) =>
  normalKL(s.mu_p, s.sigma_p, s.mu_r, s.sigma_r) -
  normalKL(s.mu_p, s.sigma_p, s.mu_q, s.sigma_q) -
  normalKL(s.mu_q, s.sigma_q, s.mu_r, s.sigma_r);

/** @type {import("../core/types.js").Step[]} */
export const STEPS = [
  {
    page: "kl",
    ask: "When do KL(p‖q) and KL(q‖p) agree for two normals with different means?",
    goal: "Make both KLs equal and at least 1 nat.",
    met: (s) => plain(s) && Math.abs(klAsymmetry(...pair(s))) < 1e-9 && forward(s) >= 1,
    shown: (s) => `${number(forward(s))} and ${number(back(s))}`,
    reveal:
      "Exactly when σp = σq: the difference is (sinh 2t − 2t) + δ² sinh t, and both terms have the sign of t = ln σp/σq.",
  },
  {
    page: "kl",
    ask: "Can one direction be large while the other is small?",
    goal: "Make KL(p‖q) > 10 and KL(q‖p) < 2.",
    met: (s) => plain(s) && forward(s) > 10 && back(s) < 2,
    shown: (s) => `${number(forward(s))} and ${number(back(s))}`,
    reveal: "Yes: a narrow q inside a wide p. KL(p‖q) averages the squared distance in units of σq over the wide p.",
  },
  {
    page: "kl",
    ask: "When is KL exactly zero? Is there another way than p = q?",
    goal: "Make both KLs 0, away from the start.",
    met: (s) => plain(s) && forward(s) === 0 && (s.mu_p !== 0 || s.sigma_p !== 1),
    shown: (s) => number(forward(s)),
    reveal: "Only p = q: −log is strictly convex, so Jensen’s inequality is an equality only where q/p is constant.",
  },
  {
    page: "kl",
    ask: "Can KL be negative? Can its integrand?",
    goal: "Turn on the running integral and look for a place where it falls.",
    met: (s) => s.running,
    shown: () => "running integral on",
    reveal: "The integrand is negative wherever p < q; the integral never is (Gibbs’ inequality).",
  },
  {
    page: "kl",
    ask: "What if q is 0 somewhere that p is not?",
    goal: "Make KL(p‖q) infinite and KL(q‖p) finite.",
    met: (s) => s.family_q === "truncated" && s.family_p !== "truncated",
    shown: (s) => `q on [${s.low_q}, ${s.high_q}]`,
    reveal: "KL(p‖q) = ∞: a draw of p that q calls impossible costs without bound. The other direction stays finite.",
  },
  {
    page: "metric",
    ask: "Which of the four axioms of a metric does KL satisfy?",
    goal: "Find a triple with d(p,r) more than 1 above d(p,q) + d(q,r).",
    met: (s) => s.divergence === "kl" && excess(s) > 1,
    shown: (s) => `excess ${number(excess(s))}`,
    reveal: "Two: never negative, and zero only between equals. Symmetry and the triangle inequality fail.",
  },
  {
    page: "metric",
    ask: "With means all 0, which variances break the triangle inequality?",
    goal: "Break it with three equal means.",
    met: (s) => s.divergence === "kl" && s.mu_p === s.mu_q && s.mu_q === s.mu_r && excess(s) > 1e-6,
    shown: (s) =>
      `σ = ${[s.sigma_p, s.sigma_q, s.sigma_r].map((v) => number(v, 3)).join(", ")}: excess ${number(excess(s))}`,
    reveal:
      "The middle variance must lie strictly between the others: the excess is ½ (vp/vq − 1)(vq/vr − 1). Variances 1, 2, 3 give 1/12.",
  },
  {
    page: "elbo",
    ask: "When does Jensen’s inequality become an equality?",
    goal: "Drag the three points together until the gap is below 0.001.",
    met: (s) => jensenGap(s.points) < 1e-3,
    shown: (s) => `gap ${number(jensenGap(s.points))}`,
    reveal: "When what is averaged does not vary (or the function is linear there).",
  },
  {
    page: "elbo",
    ask: "For which q(z) does the ELBO equal log p(x)?",
    goal: "Close the gap to below 0.001 nats on the linear model.",
    met: (s) => s.model === "linear" && elboChain(s.x, s.m, s.v, s.w, s.s).gap < 1e-3,
    shown: (s) => `gap ${number(elboChain(s.x, s.m, s.v, s.w, s.s).gap)}`,
    reveal: "For the true posterior p(z|x) and no other: the gap is KL(q ‖ p(z|x)).",
  },
  {
    page: "elbo",
    ask: "Can a normal q always close the gap?",
    goal: "Try it on x = w z² + noise, with q on one of the two bumps.",
    met: (s) => s.model === "square" && Math.abs(s.m) > 0.7 && s.v < 0.5,
    shown: (s) => `q = N(${number(s.m, 3)}, ${number(s.v, 3)}²)`,
    reveal:
      "No: the posterior has two bumps. The best normal covers one of them and keeps a gap of about log 2 = 0.693 nats.",
  },
  {
    page: "reparam",
    ask: "Why write z = µ + σε instead of drawing z from q?",
    goal: "Make the score function’s variance more than 1,000 times the pathwise one (f = z² or (z − c)²).",
    met: (s) => ["square", "shifted"].includes(s.fn) && ratio(s) > 1000,
    shown: (s) => `${number(ratio(s), 3)} times`,
    reveal:
      "So that the gradient passes through the sample. The score function divides by σ: for a narrow q its variance explodes.",
  },
  {
    page: "reparam",
    ask: "When does the pathwise gradient lie?",
    goal: "Find an f for which it is wrong for any number of draws.",
    met: (s) => s.fn === "step",
    shown: () => "f = step",
    reveal: "Where f has jumps or z is discrete: the slope is 0 almost everywhere, and so is the estimate.",
  },
];

function jensenGap(points) {
  const total = points.reduce((sum, [, w]) => sum + w, 0);
  const mean = points.reduce((sum, [x, w]) => sum + w * x, 0) / total;
  return Math.log(mean) - points.reduce((sum, [x, w]) => sum + w * Math.log(x), 0) / total;
}

function ratio({ fn, mu, sigma, c }) {
  const m = fn === "square" ? mu : mu - c;
  const v = sigma * sigma;
  return ((m ** 4 + 18 * m * m * v + 15 * v * v) / v - 4 * m * m) / (4 * v);
}

/** @param {import("../core/types.js").Slots} slots */
function mount(slots) {
  const record = remembered();
  const { figure, host } = slots;
  slots.root.classList.add("one-column");
  const list = h("ol", { class: "steps" });
  const count = h("p", { class: "caption", role: "status" });
  figure.append(
    h(
      "p",
      {},
      "Predict first, in your own words. Then open the page, reach the goal by dragging, and come back: the answer unfolds.",
    ),
    count,
    list,
  );
  const draw = () => {
    const done = STEPS.filter((_, i) => record.get(i).met).length;
    count.textContent = `${done} of ${STEPS.length} goals reached.`;
    list.replaceChildren(
      ...STEPS.map((step, i) => {
        const kept = record.get(i);
        const box = h("textarea", { rows: 2, "aria-label": `Prediction ${i + 1}`, placeholder: "I think …" });
        box.value = kept.prediction ?? "";
        box.addEventListener("change", () => record.set(i, { prediction: box.value }));
        return h(
          "li",
          { class: "step", "data-step": i + 1 },
          h("h2", { class: "ask-line" }, step.ask),
          box,
          h(
            "p",
            {},
            step.goal,
            " ",
            h(
              "button",
              {
                type: "button",
                class: "chip",
                onclick: () => {
                  record.set(i, { prediction: box.value });
                  host.go(step.page, { step: String(i + 1) });
                },
              },
              "Open the page",
            ),
          ),
          kept.met ? h("p", { class: "good" }, `✓ reached: ${kept.met}`) : null,
          h("details", { open: Boolean(kept.met) }, h("summary", {}, "Answer"), h("p", {}, step.reveal)),
        );
      }),
    );
  };
  // two clicks: one alone would lose twelve predictions
  const clear = h(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        if (clear.dataset.sure) {
          record.clear();
          draw();
        } else setTimeout(settle, 4000);
        clear.dataset.sure = clear.dataset.sure ? "" : "yes";
        clear.textContent = clear.dataset.sure ? "Really clear?" : "Clear";
      },
    },
    "Clear",
  );
  const settle = () => {
    clear.dataset.sure = "";
    clear.textContent = "Clear";
  };
  slots.bar.append(
    h("button", { type: "button", class: "quiet", onclick: () => print() }, "Print"),
    h(
      "button",
      { type: "button", class: "quiet", onclick: () => download("worksheet.md", text(record), "text/markdown") },
      "Save record",
    ),
    clear,
  );
  slots.why.innerHTML =
    "<p>Every answer, with its proof and the code that computes it, is in docs/worksheet.md and notebooks/worksheet.ipynb.</p>";
  slots.code.textContent = 'nelbo kl "Normal(0, 1)" "Normal(1, 2)"\nnelbo axioms kl --family Normal';
  draw();
  return () => {};
}

function text(record) {
  return [
    "# Worksheet",
    "",
    ...STEPS.flatMap((step, i) => {
      const kept = record.get(i);
      return [
        `## ${i + 1}. ${step.ask}`,
        "",
        `Prediction: ${kept.prediction || "–"}`,
        "",
        `Goal: ${step.goal} ${kept.met ? `Reached: ${kept.met}` : "Not reached."}`,
        "",
        `Answer: ${step.reveal}`,
        "",
      ];
    }),
  ].join("\n");
}

/** @type {import("../core/types.js").Page} */
export default { name: "worksheet", ...PAGES.worksheet, mount, unit: false };
