// A series of models along beta, from the autoencoder to collapse: the codes glide, a point walks along rate and distortion.

import { group } from "../core/controls.js";
import { coalesced, h, set, tell } from "../core/dom.js";
import { nats, number } from "../core/format.js";
import { PAGES } from "../core/pages.js";
import { ask, write } from "../core/store.js";
import { between, betaAt, mixed, placeOf } from "./beta/along.js";
import { curveView } from "./beta/curve.js";
import { exampleView } from "./beta/example.js";
import { planeView } from "./beta/plane.js";
import { nameOf, openSeries } from "./beta/series.js";
import { dropDown } from "./inspector/choose.js";

/** @import { Slots } from "../core/types.js" */
/** @import { Opened, Seen, Series } from "./beta/series.js" */

const NEAR = 0.14; // of the way to the next model: from here the point goes to a model when the hand lets go
const PACE = 1100; // ms from one model to the next, when played
const GLIDE = 260; // ms from where the hand let go to a model

/** @type {import("../core/types.js").Page} */
export default {
  name: "beta",
  ...PAGES.beta,
  live: true,
  help: [
    ["drag ◆", "along the curve of rate and distortion"],
    ["slider", "the same: the weight of the KL, β"],
    ["click", "a point of the plane looks at that example"],
    ["arrows", "on ◆: a tenth of the way to the next model"],
  ],
  mount,
};

/** @param {Slots} slots */
function mount(slots) {
  const { model } = slots;
  /** @type {Series[]} */
  let all = [];
  /** @type {?Opened} */
  let series = null;
  /** @type {?Awaited<ReturnType<typeof build>>} */
  let parts = null;
  /** @type {?Seen[]} */
  let seen = null;
  let place = 0;
  let newest = 0;
  let gone = false;
  let moving = 0; // the frame in which it goes on
  const status = h("p", { class: "status", role: "status" });
  const board = h("div", { class: "board" });
  slots.figure.append(status, board);
  const seriesBox = dropDown("Series", (run) => write(model, { run, row: -1 }));
  const range = h("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": "β, the weight of the KL" });
  const value = h("output", { class: "beta-now" });
  const marks = h("div", { class: "beta-marks" });
  const play = h(
    "button",
    { type: "button", class: "quiet", "data-do": "play", onclick: () => (moving ? stop() : glideOn()) },
    "Play",
  );
  const slider = h("div", { class: "beta-slider" }, h("span", {}, "β"), h("div", {}, range, marks), value, play);
  const rowField = h("input", {
    type: "text",
    inputmode: "numeric",
    "aria-label": "Example number",
    placeholder: "number",
  });
  const takeRow = () => {
    const wanted = Math.round(Number(rowField.value));
    if (!series || rowField.value.trim() === "") return;
    const row = Math.min(series.n - 1, Math.max(0, wanted || 0));
    if (String(row) !== rowField.value.trim()) slots.say(`Examples are 0 to ${series.n - 1}. Shown: ${row}`);
    write(model, { row });
  };
  rowField.addEventListener("keydown", (event) => event.key === "Enter" && takeRow());
  const showButton = h("button", { type: "button", class: "quiet", onclick: takeRow }, "Show");
  slots.controls.append(
    group("Models", seriesBox.element),
    group("Example", h("div", { class: "pick-row" }, rowField, showButton)),
  );
  slots.why.append(...why());

  range.addEventListener("input", () => {
    stop();
    moveTo(Number(range.value));
  });
  range.addEventListener("change", settle);

  async function load() {
    const mine = ++newest;
    stop();
    say(series ? "" : "Looking for runs that differ in beta …");
    try {
      all = (await ask(model, "beta.series")).content.series;
      if (gone || mine !== newest) return;
      const isMeant = (entry) => [entry.run, entry.name].includes(model.get("run"));
      const chosen = all.find(({ runs }) => runs.some(isMeant)) ?? (model.get("run") ? null : all[0]);
      showList(chosen);
      if (!chosen) return offer();
      const opened = await openSeries(model, chosen);
      if (gone || mine !== newest) return;
      series = opened;
    } catch (error) {
      if (mine === newest && !gone) say(error.message);
      return;
    }
    say("");
    seen = null;
    parts?.remove();
    board.replaceChildren();
    parts = build();
    place = placeOf(series.betas, model.get("beta"));
    set(range, { max: series.betas.length - 1 });
    marks.replaceChildren(
      ...series.entries.map((entry, i) =>
        h(
          "button",
          {
            type: "button",
            class: "chip",
            style: `left:${(100 * i) / (series.betas.length - 1)}%`,
            "aria-label": nameOf(entry),
            title: nameOf(entry),
            onclick: () => glideTo(i),
          },
          entry.beta === 0 ? "AE" : String(entry.beta),
        ),
      ),
    );
    draw();
    look();
    slots.code.textContent = code(series);
  }

  function build() {
    const [left, right, below] = ["beta-plane", "beta-curve", "beta-below"].map((name) => h("div", { class: name }));
    const words = h("p", { class: "caption", "data-mean": "" });
    board.append(slider, h("div", { class: "beta-board" }, left, right, below));
    const plane = planeView(left, series, (row) => write(model, { row }));
    const curve = curveView(right, series, {
      onPlace: (at) => (stop(), moveTo(at)),
      onRest: settle,
      unit: () => model.get("unit"),
    });
    right.append(words);
    const example = exampleView(below, series, () => model.get("unit"));
    plane.figure.resized = draw;
    return {
      plane,
      curve,
      example,
      words,
      remove() {
        plane.remove();
        curve.remove();
      },
    };
  }

  /** The run that stands for a series in the list and in the address: the one of beta 1, or the first. @param {Series} one */
  const standsFor = ({ runs }) => runs.find(({ beta }) => beta === 1) ?? runs[0];

  function showList(chosen) {
    const label = ({ data, runs }) =>
      `${(data ?? "data").split("/").pop()}, latent ${runs[0].latent}: ${runs.length} models, β ${runs.map(({ beta }) => beta).join(", ")}`;
    const options = all.map((one) => [standsFor(one).run, label(one)]);
    seriesBox.show(options, chosen ? standsFor(chosen).run : "");
    seriesBox.element.hidden = !all.length;
  }

  function offer() {
    parts?.remove();
    parts = series = null;
    board.replaceChildren(
      h(
        "div",
        { class: "offer" },
        h(
          "p",
          {},
          slots.host.file
            ? "No series of models travelled with this page."
            : all.length
              ? "This run belongs to no series; choose one of the models beside, or train some."
              : "No two runs here differ in beta alone. Train some: each is a run that stays, and more join it later.",
        ),
        h(
          "pre",
          { class: "code", tabindex: 0 },
          "nelbo sweep digits --betas 0.1 0.3 1 3 10\nnelbo studio runs/digits-sweep",
        ),
      ),
    );
    say("");
    slots.code.textContent = "";
  }

  const say = (text) => {
    status.textContent = text;
    status.hidden = !text;
  };

  /** Fetch the example under each model. */
  async function look() {
    if (!series) return;
    const opened = series;
    const row = rowOf(opened);
    rowField.value = String(row);
    try {
      const found = await opened.example(row);
      if (gone || opened !== series || row !== rowOf(opened)) return;
      seen = found;
      draw();
    } catch (error) {
      slots.say(slots.host.file ? `Example ${row} did not travel with this page` : error.message);
    }
  }

  /** The example that the state names, or a 6, the worksheet's digit. @param {Opened} of */
  function rowOf({ n, sources: [{ info, labels }] }) {
    const row = model.get("row");
    if (row >= 0) return Math.min(row, n - 1);
    const six = info.label_names?.indexOf("6") ?? -1;
    return six < 0 ? 0 : Math.max(0, labels.indexOf(six));
  }

  const draw = coalesced(() => {
    if (!series || !parts) return;
    const beta = betaAt(series.betas, place);
    const { t } = between(series.betas.length, place);
    const said = beta === 0 ? "autoencoder" : `${t ? "≈ " : ""}${number(beta, t ? 2 : 4).replace(/\.?0+$/, "")}`;
    if (Number(range.value) !== place) range.value = String(place);
    range.setAttribute("aria-valuetext", beta === 0 ? said : `β ${said}`);
    tell(value, beta === 0 ? "none: autoencoder" : said);
    parts.plane.draw(place, seen);
    parts.curve.draw(place);
    if (seen) parts.example.draw(place, seen, rowOf(series));
    tell(parts.words, means());
  });

  function means() {
    const totals = series.sources.map(({ info }) => info.totals);
    const { t } = between(totals.length, place);
    const mean = (term) =>
      mixed(
        totals.map((of) => of[term].mean ?? Infinity),
        place,
      );
    const unit = model.get("unit");
    const [error, kl, total] = ["reconstruction_error", "kl", "nelbo"].map((term) => nats(mean(term), unit));
    const beta = betaAt(series.betas, place);
    const line =
      beta > 0
        ? ` A model minimizes distortion + β · rate: where it stands, the curve falls by β nats for each nat of rate (purple line). On the dashed line the total loss is the same.`
        : " An autoencoder pays nothing for its codes: its rate is infinite.";
    const { n, split } = series.sources[0].info;
    return `Mean over ${n.toLocaleString("en")} ${split} examples: ${t ? "≈ " : ""}${error} + ${kl} = ${total} ${unit}.${line}`;
  }

  /** @param {number} next */
  function moveTo(next) {
    place = Math.min(series.betas.length - 1, Math.max(0, next));
    const digits = (v) => Number(v.toPrecision(4));
    const { t, i } = between(series.betas.length, place);
    write(model, { beta: t === 0 ? series.betas[i] : digits(betaAt(series.betas, place)) });
    draw();
  }

  /** A hand that let go near a model meant it. */
  function settle() {
    const nearest = Math.round(place);
    if (series && place !== nearest && Math.abs(place - nearest) < NEAR) glideTo(nearest);
  }

  function stop() {
    cancelAnimationFrame(moving);
    moving = 0;
    tell(play, "Play");
    set(play, { "aria-pressed": false });
  }

  /** @param {number} goal @param {number} [time] ms */
  function glideTo(goal, time = GLIDE) {
    stop();
    const from = place;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return moveTo(goal);
    const start = performance.now();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, (now - start) / time));
      moveTo(part === 1 ? goal : from + (goal - from) * part * part * (3 - 2 * part));
      moving = part < 1 ? requestAnimationFrame(step) : 0;
      if (part === 1) stop();
    };
    moving = requestAnimationFrame(step);
  }

  /** From the autoencoder to collapse. */
  function glideOn() {
    if (!series) return;
    const last = series.betas.length - 1;
    if (place === last) moveTo(0);
    glideTo(last, PACE * (last - place));
    tell(play, "Pause");
    set(play, { "aria-pressed": true });
  }

  const follow = () => {
    if (!series || moving) return;
    const wanted = placeOf(series.betas, model.get("beta"));
    // the state keeps four digits of it
    if (Math.abs(wanted - place) > 0.002) {
      place = wanted;
      draw();
    }
  };
  const watched = { run: load, row: look, beta: follow, unit: draw };
  for (const [name, f] of Object.entries(watched)) model.on(`change:${name}`, f);
  const recolour = () => draw();
  addEventListener("nelbo-theme", recolour);
  load();
  return () => {
    gone = true;
    stop();
    draw.cancel();
    parts?.remove();
    removeEventListener("nelbo-theme", recolour);
    for (const [name, f] of Object.entries(watched)) model.off(`change:${name}`, f);
  };
}

function why() {
  return [
    h("p", {}, "A β-VAE weighs the two terms of the loss against each other:"),
    h("div", {
      html: `<math display="block"><mrow><mi class="recon">distortion</mi><mo>+</mo><mi>β</mi><mo>·</mo><mi class="kl">rate</mi><mo>=</mo><mrow class="recon"><mo>−</mo><msub><mi>E</mi><mi>q</mi></msub><mo>[</mo><mi>log</mi><mspace width=".2em"/><mi>p</mi><mo>(</mo><mi>x</mi><mo>|</mo><mi>z</mi><mo>)</mo><mo>]</mo></mrow><mo>+</mo><mi>β</mi><mo>·</mo><mrow class="kl"><mi>KL</mi><mo>(</mo><mi>q</mi><mo>(</mo><mi>z</mi><mo>|</mo><mi>x</mi><mo>)</mo><mo>‖</mo><mi>p</mi><mo>(</mo><mi>z</mi><mo>)</mo><mo>)</mo></mrow></mrow></math>`,
    }),
    h(
      "p",
      {},
      "With β near 0 the codes spread out and each q(z|x) shrinks towards a point: an autoencoder. With a large β every q(z|x) comes to be the prior, the codes say nothing about x, and the decoder returns the mean of all data: collapse. β = 1 is the VAE, whose total is a bound on −log p(x).",
    ),
    h(
      "p",
      {},
      "Each mark is a model that was trained by itself. Its latent space may be any rotation of its neighbour's, so that each is turned to its neighbour by Procrustes' rotation, without scaling; between two marks the picture glides and no model was trained.",
    ),
  ];
}

/** @param {Opened} series */
function code({ entries, sources }) {
  const paths = entries.map((entry, i) => JSON.stringify(sources[i].info.path ?? entry.run));
  return [
    "import nelbo",
    "from nelbo.studio.inspection import inspect",
    "",
    `for path in [${paths.join(", ")}]:`,
    "    terms = inspect(nelbo.load(path)).first_terms",
    "    print(path, {name: float(each.value.mean()) for name, each in terms.items()})",
  ].join("\n");
}
