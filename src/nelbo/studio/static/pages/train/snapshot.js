// What the model looked like at one moment: its latent cloud, reconstructions, samples, and the use of its units.

import { h, s, set } from "../../core/dom.js";
import { number, tick, ticks } from "../../core/format.js";
import { plot } from "../../core/plot.js";
import { axisName } from "../inspector/axes.js";
import { COLLAPSED } from "./record.js";
import { CLASSES, drawCloud, drawImage, isImage } from "../inspector/pixels.js";

const ACROSS = 8;

export function snapshotPanel(parent) {
  let isFlat = false; // one latent unit: a strip, whose height means nothing
  const cloudPlace = h("div", { class: "panel" }, h("h2", {}, "Means of q(z|x)"));
  const figure = plot(cloudPlace, {
    label: "Latent means of held-out examples",
    x: [-4, 4],
    y: [-4, 4],
    margin: { left: 36, right: 8, top: 6, bottom: 34 },
    height: (width) => (isFlat ? 170 : Math.max(120, width - 44) + 40),
    yTicks: (low, high) => (isFlat ? [] : ticks(low, high).map((v) => [v, tick(v)])),
  });
  const image = s("image", { preserveAspectRatio: "none" });
  const rings = figure.path({ class: "thin faint" });
  figure.behind.append(image);
  const units = h("p", { class: "caption" }, " ");
  cloudPlace.append(units);
  const rebuilt = h("div", { class: "strip pairs" });
  const samples = h("div", { class: "strip samples" });
  const pictures = h(
    "div",
    { class: "panel pictures-of" },
    h("div", {}, h("h2", {}, "Held-out examples, each above its reconstruction"), rebuilt),
    h("div", {}, h("h2", {}, "Decoded from the same draws of the prior"), samples),
  );
  parent.append(cloudPlace, pictures);
  let last = null;

  /** @param {import("./record.js").Snapshot} snapshot */
  function show(snapshot) {
    last = snapshot;
    const z = snapshot.z;
    const [n, latent] = z.shape;
    const axes = mostActive(z.values, n, latent);
    isFlat = latent === 1;
    const at = (i, k) =>
      axes.length > k ? z.values[i * latent + axes[k]] : 0.8 * Math.sin(12.9898 * (i + 1) * 78.233);
    let reach = 3.2;
    for (let i = 0; i < n; i++) reach = Math.max(reach, 1.05 * Math.abs(at(i, 0)), 1.05 * Math.abs(at(i, 1)));
    reach = Math.ceil(2 * reach) / 2; // a box that does not tremble
    figure.span([-reach, reach], isFlat ? [-1, 1] : [-reach, reach]);
    figure.frame();
    const classes = snapshot.labels ? [...new Set(snapshot.labels.values)].sort((a, b) => a - b) : [];
    const box = {
      x: figure.margin.left,
      y: figure.margin.top,
      width: Math.max(1, figure.width),
      height: Math.max(1, figure.height),
    };
    const drawn = drawCloud({
      ...box,
      n,
      radius: 2,
      place: (i) => [figure.sx(at(i, 0)) - box.x, figure.sy(at(i, 1)) - box.y],
      colour: (i) =>
        snapshot.labels ? CLASSES[classes.indexOf(snapshot.labels.values[i]) % CLASSES.length] : "#7a7f87",
    });
    set(image, { ...box, href: drawn.toDataURL() });
    set(rings, {
      d: [1, 2, 3]
        .map((k) => {
          if (isFlat) return [-k, k].map((v) => `M${figure.sx(v)} ${box.y}v${box.height}`).join("");
          const [rx, ry] = [figure.sx(k) - figure.sx(0), figure.sy(0) - figure.sy(k)];
          return `M${figure.sx(-k)} ${figure.sy(0)}a${rx} ${ry} 0 1 0 ${2 * rx} 0a${rx} ${ry} 0 1 0 ${-2 * rx} 0`;
        })
        .join(""),
    });
    const kl = Array.from(snapshot.kl_per_unit.values);
    const inUse = kl.filter((v) => v >= COLLAPSED).length;
    const apart = isFlat ? "; up and down, the points are only kept apart" : "";
    const shown = `Shown: ${axes.map(axisName).join(", ")}${apart}; grey: 1, 2, 3 σ of N(0, I).`;
    units.textContent =
      kl.every(Number.isFinite) && kl.length === latent
        ? `${inUse} of ${latent} units carry more than ${COLLAPSED} nats${inUse < latent ? `: ${latent - inUse} collapsed` : ""}. ${shown}`
        : shown;
    const event = snapshot.x.shape.slice(1);
    pictures.hidden = !isImage(event);
    if (!isImage(event)) return;
    const features = event.reduce((product, size) => product * size, 1);
    const range = rangeOf(snapshot.x.values);
    const count = snapshot.x.shape[0];
    fill(rebuilt, 2 * count, (canvas, i) => {
      const [line, column] = [Math.floor(i / ACROSS), i % ACROSS];
      const example = (line >> 1) * ACROSS + column;
      if (example < count)
        drawImage(canvas, (line % 2 ? snapshot.reconstruction : snapshot.x).values, event, range, example * features);
    });
    fill(samples, snapshot.samples.shape[0], (canvas, i) =>
      drawImage(canvas, snapshot.samples.values, event, range, i * features),
    );
  }
  figure.resized = () => last && show(last);
  return { show, remove: () => figure.remove() };
}

function fill(place, count, draw) {
  while (place.children.length < count) place.append(h("canvas", { class: "pixels", "aria-hidden": "true" }));
  for (let i = 0; i < count; i++) draw(place.children[i], i);
}

/** @param {ArrayLike<number> & Iterable<number>} values @returns {[number, number]} */
function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low >= 0 && high <= 1 ? [0, 1] : [low, high];
}

function mostActive(values, n, latent) {
  if (latent <= 2) return Array.from({ length: latent }, (_, d) => d);
  const variance = Array.from({ length: latent }, (_, d) => {
    let [sum, squares] = [0, 0];
    for (let i = 0; i < n; i++) {
      const v = values[i * latent + d];
      sum += v;
      squares += v * v;
    }
    return squares / n - (sum / n) ** 2;
  });
  return Array.from(variance.keys())
    .sort((a, b) => variance[b] - variance[a])
    .slice(0, 2)
    .sort((a, b) => a - b);
}

/** "3.2 min" of training, "2,100 examples/s". */
export function paceText(run) {
  const step = run.steps.at(-1);
  const line = run.history.at(-1);
  const speed = step?.examples_per_second ?? line?.examples_per_second;
  const parts = [];
  if (line?.seconds !== undefined)
    parts.push(line.seconds < 90 ? `${number(line.seconds, 3)} s` : `${number(line.seconds / 60, 3)} min`);
  if (speed) parts.push(`${Math.round(speed).toLocaleString("en")} examples/s`);
  if (step?.gradient_norm !== undefined) parts.push(`gradient norm ${number(step.gradient_norm, 3)}`);
  return parts.join(" · ");
}
