// A million random triples: which share of them breaks the triangle inequality, and by how much.

import { h, s, set, tell } from "../../core/dom.js";
import { number } from "../../core/format.js";
import { randomness } from "../../core/math.js";
import { plot } from "../../core/plot.js";
import { DIVERGENCES, sides } from "./divergences.js";

const BINS = 60;
const FIRST = 20000; // triples without being asked
const PIECE = 12; // ms at a time: the page stays awake
const REGION = "µ in ±4, σ in 0.2 … 2.2, uniformly";

/** @import { Divergence, Normal } from "./divergences.js" */

/**
 * @param {import("../../core/types.js").Slots} slots
 * @param {HTMLElement} place
 * @param {(triple: Normal[]) => void} load
 */
export function search(slots, place, load) {
  const { model } = slots;
  const text = h("p", { class: "caption", "aria-live": "polite" });
  const [box, row] = [h("div"), h("div", { class: "row" })];
  const button = (words, onclick, kind = "chip") => h("button", { type: "button", class: kind, onclick }, words);
  const go = button("Search a million triples", () => (timer && found.asked ? stop() : begin(1e6, true)), "primary");
  row.append(
    go,
    button("Worst found", () => found?.worst && load(found.worst)),
    button("Improve this one", improve),
    button("Smallest nice example", nice),
  );
  place.append(h("h2", {}, "Search for triples that break the triangle inequality"), row, box, text);
  const figure = plot(box, {
    label: "Histogram of the excess of d(p,r) over d(p,q) + d(q,r), relative to their sum",
    height: 190,
    x: [-1, 1],
    y: [0, 1],
    xLabel: "excess of d(p,r) over the detour, relative; click a bar",
    yLabel: "% of triples",
  });
  const bars = Array.from({ length: BINS }, (_, i) =>
    figure.marks.appendChild(
      s("rect", {
        class: `fill solid ${i < BINS / 2 ? "faint" : "bad"}`,
        style: "cursor:pointer",
        onclick: () => found?.examples[i] && load(found.examples[i]),
      }),
    ),
  );
  let found = null;
  let timer = 0;

  function begin(total, asked = false) {
    stop();
    const name = model.get("divergence");
    const { f, slow } = DIVERGENCES[name];
    const random = randomness(Number(model.get("seed")));
    /** @returns {Normal} */
    const draw = () => [8 * random.uniform() - 4, 0.2 + 2 * random.uniform()];
    found = {
      name,
      asked,
      tested: 0,
      broken: 0,
      bins: new Array(BINS).fill(0),
      examples: new Array(BINS),
      worst: null,
      excess: -Infinity,
      asymmetry: 0,
      total: slow ? Math.min(total / 10, 20000) : total,
    };
    if (asked) go.textContent = "■ Stop";
    const piece = () => {
      const end = performance.now() + PIECE;
      while (performance.now() < end && found.tested < found.total) {
        for (let k = 0; k < 100; k++) {
          const triple = [draw(), draw(), draw()];
          const { pq, qr, pr, excess } = sides(f, triple);
          const bin = Math.min(BINS - 1, Math.floor(((excess / (pq + qr + pr) + 1) / 2) * BINS));
          found.bins[bin]++;
          found.examples[bin] ??= triple;
          found.tested++;
          if (excess > 1e-9 * pr) found.broken++;
          if (excess > found.excess) [found.excess, found.worst] = [excess, triple];
        }
      }
      timer = found.tested < found.total ? setTimeout(piece) : 0;
      if (!timer) go.textContent = "Search a million triples";
      paint();
    };
    timer = setTimeout(piece, asked ? 0 : 150); // the page first
  }
  function stop() {
    clearTimeout(timer);
    timer = 0;
    go.textContent = "Search a million triples";
  }
  /** @returns {Normal[]} */
  const now = () => ["p", "q", "r"].map((who) => [model.get(`mu_${who}`), model.get(`sigma_${who}`)]);
  function improve() {
    const { f } = DIVERGENCES[model.get("divergence")];
    load(climbed(f, now()));
    text.textContent = `Climbed to an excess of ${number(sides(f, now()).excess)} within ${REGION}.`;
  }
  function nice() {
    const hit = simplest(DIVERGENCES[model.get("divergence")].f);
    if (hit) load(hit);
    else text.textContent = "None of the triples with µ in −1, 0, 1, 2 and σ in ½, 1, 2 breaks it.";
  }
  function paint() {
    if (!found || found.name !== model.get("divergence")) {
      begin(FIRST);
    }
    if (figure.asleep()) return;
    const shares = found.tested ? found.bins.map((n) => (100 * n) / found.tested) : new Array(BINS).fill(0);
    figure.span(undefined, [0, Math.max(1, ...shares) * 1.08]);
    figure.frame();
    const wide = figure.width / BINS;
    bars.forEach((bar, i) =>
      set(bar, {
        x: figure.margin.left + i * wide + 0.5,
        width: Math.max(0.5, wide - 1),
        y: figure.sy(shares[i]),
        height: Math.max(0, figure.sy(0) - figure.sy(shares[i])),
      }),
    );
    if (found.tested) {
      const share = found.broken
        ? `${number((100 * found.broken) / found.tested, 3)} % break it`
        : `0 of them break it`;
      tell(
        text,
        `${found.tested.toLocaleString("en")} triples (${REGION}): ${share}${found.broken ? `; the worst by ${number(found.excess)}` : ""}.`,
      );
    }
  }
  figure.resized = paint;
  return {
    paint,
    found: () => found,
    stop: () => {
      stop();
      figure.remove();
    },
  };
}

/**
 * A triple near by whose direct way exceeds the detour by more, to two decimals.
 * @param {Divergence["f"]} f
 * @param {Normal[]} start
 */
export function climbed(f, start) {
  const random = randomness(7);
  let best = start;
  let top = sides(f, best).excess;
  let size = 0.4;
  for (let i = 0; i < 600; i++) {
    const next = best.map(
      ([m, sd]) =>
        /** @type {Normal} */ ([
          Math.min(4, Math.max(-4, m + size * random.normal())),
          Math.min(2.2, Math.max(0.2, sd * Math.exp(size * 0.5 * random.normal()))),
        ]),
    );
    const { excess } = sides(f, next);
    if (excess > top) [best, top] = [next, excess];
    else size = Math.max(0.02, size * 0.995);
  }
  const tidy = (v) => Number(v.toFixed(2));
  return best.map(([m, sd]) => /** @type {Normal} */ ([tidy(m), tidy(sd)]));
}

/**
 * The triple of the plainest numbers that breaks the triangle inequality; undefined where none does.
 * @param {Divergence["f"]} f
 */
export function simplest(f) {
  const members = [0, 1, 2, -1].flatMap((m) => [1, 2, 0.5].map((sd) => /** @type {Normal} */ ([m, sd])));
  const cost = ([m, sd]) => Math.abs(m) * (m < 0 ? 1.5 : 1) + (sd === 1 ? 0 : 1.2);
  const triples = members.flatMap((p) => members.flatMap((q) => members.map((r) => [p, q, r])));
  triples.sort((a, b) => a.reduce((sum, x) => sum + cost(x), 0) - b.reduce((sum, x) => sum + cost(x), 0));
  return triples.find((triple) => sides(f, triple).excess > 1e-3);
}
