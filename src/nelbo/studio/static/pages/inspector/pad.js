// Draw an input of one's own, or change a pinned one, and see µ, σ and the loss move.

import { h, set } from "../../core/dom.js";
import { arrows, draggable } from "../../core/drag.js";
import { drawImage } from "./pixels.js";

/**
 * @param {import("../../core/types.js").Source} source
 * @param {?Float32Array} start null for an empty sheet
 * @param {(x: Float32Array) => void} changed at most once a frame
 */
export function drawingPad(source, start, changed) {
  const [channels, height, width] = source.info.event;
  const binary = source.info.picture?.family === "bernoulli";
  const [low, high] = source.range;
  const x = start ? Float32Array.from(start) : new Float32Array(source.features).fill(low);
  const canvas = h("canvas", {
    class: "pixels pad",
    tabindex: 0,
    role: "application",
    "aria-label": "Drawing pad: drag to draw; with the keyboard, arrows move the brush and Space dabs",
  });
  const brushMark = h("i", { class: "brush", "aria-hidden": "true" });
  canvas.style.aspectRatio = `${width} / ${height}`;
  let brush = 1; // 1 draws, 0 wipes, 2 is a grey box
  let due = 0;
  const show = () => drawImage(canvas, x, source.info.event, source.range);
  const told = () => {
    show();
    due ||= requestAnimationFrame(() => {
      due = 0;
      changed(x);
    });
  };
  const radius = Math.max(0.9, width / 22);
  const dab = (cx, cy) => {
    for (let r = Math.max(0, Math.floor(cy - 2 * radius)); r < Math.min(height, cy + 2 * radius); r++) {
      for (let c = Math.max(0, Math.floor(cx - 2 * radius)); c < Math.min(width, cx + 2 * radius); c++) {
        const far = Math.hypot(c + 0.5 - cx, r + 0.5 - cy) / radius;
        const ink = far < 1 ? 1 : binary ? 0 : Math.max(0, 1.6 - far) / 1.6;
        if (ink <= 0) continue;
        for (let k = 0; k < channels; k++) {
          const i = (k * height + r) * width + c;
          x[i] = brush
            ? Math.max(x[i], low + ink * (high - low))
            : binary || far < 1
              ? low
              : Math.min(x[i], high - ink * (high - low));
        }
      }
    }
  };
  let before = null;
  const stroke = (event) => {
    const box = canvas.getBoundingClientRect();
    const to = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    const from = before ?? to;
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let i = 1; i <= steps; i++)
      dab(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
    before = to;
    told();
  };
  draggable(canvas, { start: stroke, move: stroke, end: () => (before = null) });
  const place = [width / 2, height / 2]; // of the brush, for the keyboard
  const showBrush = () =>
    set(brushMark, {
      style: `left:${(100 * place[0]) / width}%;top:${(100 * place[1]) / height}%;width:${(200 * radius) / width}%`,
    });
  canvas.addEventListener("keydown", (event) => {
    const step = arrows(event);
    if (step) {
      place[0] = Math.min(width, Math.max(0, place[0] + Math.sign(step[0])));
      place[1] = Math.min(height, Math.max(0, place[1] - Math.sign(step[1])));
      showBrush();
      if (event.shiftKey) dab(place[0], place[1]);
    } else if (event.key === " ") dab(place[0], place[1]);
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (!step || event.shiftKey) told();
  });
  showBrush();
  const noise = () => {
    for (let i = 0; i < x.length; i++) {
      if (Math.random() < 0.05) x[i] = binary ? low + high - x[i] : low + Math.random() * (high - low);
    }
    told();
  };
  const cover = () => {
    for (let k = 0; k < channels; k++)
      for (let r = Math.floor(height / 2); r < height; r++)
        x.fill(low, (k * height + r) * width, (k * height + r + 1) * width);
    told();
  };
  const tools = ["Wipe", "Draw"].map((text, value) =>
    h(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": value === brush,
        onclick(event) {
          brush = value;
          for (const one of event.currentTarget.parentElement.children)
            if (one.hasAttribute("aria-pressed")) set(one, { "aria-pressed": one === event.currentTarget });
        },
      },
      text,
    ),
  );
  const clear = h("button", { type: "button", class: "chip", onclick: () => (x.fill(low), told()) }, "Clear");
  const element = h(
    "div",
    { class: "pad-box" },
    h("div", { class: "pix" }, canvas, brushMark),
    h(
      "div",
      { class: "presets" },
      ...tools,
      clear,
      h("button", { type: "button", class: "chip", title: "flip 5 % of the values", onclick: noise }, "Noise"),
      h("button", { type: "button", class: "chip", title: "cover the lower half", onclick: cover }, "Cover half"),
    ),
  );
  show();
  return { element, x, focus: () => canvas.focus({ preventScroll: true }), remove: () => cancelAnimationFrame(due) };
}
