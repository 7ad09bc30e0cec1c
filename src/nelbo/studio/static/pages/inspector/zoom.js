// The part of a latent plane that is looked at: Ctrl and the wheel, two fingers, a box, keys and buttons change it. What is
// looked at is a square (on a line, an interval), named by its middle and half its width: [x, y, half].

import { h, icon, s, set } from "../../core/dom.js";
import { arrows } from "../../core/drag.js";

/** @import { Figure, Range } from "../../core/types.js" */

const STEP = 1.5; // of the buttons and keys
const CLOSEST = 1 / 5000; // of the whole
const FARTHEST = 8;
const ICONS = {
  in: "M12 6v12M6 12h12",
  out: "M6 12h12",
  box: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
  fit: "M5 5h14v14H5zM9 12h6M12 9v6",
  prior: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
};

/**
 * @param {HTMLElement} place around the figure
 * @param {Figure} figure
 * @param {{whole: number[], prior: number[], view: () => number[], onView: (view: number[]) => void}} options
 *   `whole`, `prior`: as views; an empty view is the whole
 */
export function zooming(place, figure, { whole, prior, view, onView }) {
  const flat = whole.length === 2;
  const now = () => (view().length === whole.length ? view() : whole);
  let isBoxing = false;
  let pinched = false;
  /** @type {Map<number, PointerEvent>} */
  const fingers = new Map();

  /** @param {number[]} middle @param {number} half */
  function go(middle, half) {
    const least = CLOSEST * whole.at(-1);
    const size = Math.min(FARTHEST * Math.max(whole.at(-1), prior.at(-1)), Math.max(least, half));
    const digits = Math.max(0, 3 - Math.floor(Math.log10(size)));
    onView([...middle, size].map((v) => Number(v.toFixed(Math.min(digits, 10)))));
  }

  const pointed = (event) => figure.at(event).slice(0, flat ? 1 : 2);

  /** Larger by a factor around a point, which stays where it is. @param {number} factor @param {number[]} [around] */
  function by(factor, around = now().slice(0, -1)) {
    const [...middle] = now();
    const half = middle.pop();
    const next = Math.min(FARTHEST * whole.at(-1), Math.max(CLOSEST * whole.at(-1), half / factor));
    go(
      middle.map((v, i) => around[i] + ((v - around[i]) * next) / half),
      next,
    );
  }

  const fit = () => onView([]);
  const toPrior = () => go(prior.slice(0, -1), prior.at(-1));

  figure.root.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      // a pinch on a trackpad comes as many small turns, the wheel of a mouse as few large ones
      const rate = Math.abs(event.deltaY) < 50 ? 0.01 : 0.0025;
      by(Math.exp(-rate * event.deltaY), pointed(event));
    },
    { passive: false },
  );

  /** Follow a press that moves the plane. @param {PointerEvent} press */
  function pan(press) {
    const [...middle] = now();
    const half = middle.pop();
    const scale = (2 * half) / figure.width;
    const move = (event) => {
      if (event.pointerId !== press.pointerId) return;
      const off = [event.clientX - press.clientX, press.clientY - event.clientY];
      go(
        middle.map((v, i) => v - scale * off[i]),
        half,
      );
    };
    const end = (event) => {
      if (event.pointerId !== press.pointerId) return;
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  /** Two fingers: what lies under them stays under them. */
  function pinch() {
    const start = [...fingers.values()];
    const [...middle] = now();
    const half = middle.pop();
    const scale = (2 * half) / figure.width;
    const between = (pair) => Math.hypot(pair[0].clientX - pair[1].clientX, pair[0].clientY - pair[1].clientY);
    const center = (pair) => ({
      clientX: (pair[0].clientX + pair[1].clientX) / 2,
      clientY: (pair[0].clientY + pair[1].clientY) / 2,
    });
    const from = center(start);
    const held = pointed(from);
    const apart = Math.max(10, between(start));
    return () => {
      const pair = [...fingers.values()];
      if (pair.length < 2) return;
      const factor = Math.max(10, between(pair)) / apart;
      const to = center(pair);
      const off = [to.clientX - from.clientX, from.clientY - to.clientY];
      go(
        middle.map((v, i) => held[i] + (v - held[i] - scale * off[i]) / factor),
        half / factor,
      );
    };
  }

  let followPinch = () => {};
  const inside = (event) => figure.root.contains(event.target);
  // before the handles and the plane itself see it
  place.addEventListener(
    "pointerdown",
    (event) => {
      if (!inside(event)) return;
      if (event.pointerType === "touch") {
        if (!fingers.size) pinched = false;
        fingers.set(event.pointerId, event);
        if (fingers.size < 2) return;
        event.stopPropagation();
        pinched = true;
        if (fingers.size === 2) followPinch = pinch();
      } else {
        pinched = false;
        if (event.button !== 1 && !(event.button === 0 && event.altKey)) return;
        event.preventDefault();
        event.stopPropagation();
        pan(event);
      }
    },
    true,
  );
  place.addEventListener(
    "pointermove",
    (event) => {
      if (!fingers.has(event.pointerId)) return;
      fingers.set(event.pointerId, event);
      if (!pinched) return;
      event.stopPropagation();
      followPinch();
    },
    true,
  );
  const lifted = (event) => fingers.delete(event.pointerId);
  place.addEventListener("pointerup", lifted, true);
  place.addEventListener("pointercancel", lifted, true);

  set(figure.root, { tabindex: 0 });
  figure.root.addEventListener("keydown", (event) => {
    if (event.target !== figure.root) return;
    const step = arrows(event);
    const zoom = { "+": STEP, "=": STEP, "-": 1 / STEP, "−": 1 / STEP }[event.key];
    if (event.key === "Escape" && isBoxing) boxMode(false);
    else if (event.key === "0") fit();
    else if (zoom && !event.ctrlKey && !event.metaKey) by(zoom);
    else if (step) {
      const [...middle] = now();
      const half = middle.pop();
      go(
        middle.map((v, i) => v + 0.1 * half * Math.sign(step[i])),
        half,
      );
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // --- a box
  const outline = s("rect", { class: "zoom-box", visibility: "hidden" });
  figure.front.append(outline);
  const button = (name, text, onclick, attributes = {}) =>
    h(
      "button",
      { type: "button", class: "tool", title: text, "aria-label": text, "data-zoom": name, onclick, ...attributes },
      icon(ICONS[name]),
    );
  const boxButton = button("box", "Zoom into a box: press, then drag one", () => boxMode(!isBoxing), {
    "aria-pressed": false,
  });
  function boxMode(on) {
    isBoxing = on;
    set(boxButton, { "aria-pressed": on });
    figure.root.classList.toggle("boxing", on);
  }
  const tools = h(
    "div",
    { class: "plane-tools", role: "group", "aria-label": "Zoom" },
    button("in", "Zoom in (Ctrl + wheel, or +)", () => by(STEP)),
    button("out", "Zoom out (−)", () => by(1 / STEP)),
    boxButton,
    button("fit", "All of it (0, or a double click)", fit),
    button("prior", "Zoom to the prior", toPrior),
  );
  place.after(tools);

  return {
    by,
    fit,
    goTo: go,
    toPrior,
    /** Whether two fingers were on the plane since the last press: what one of them did does not count. */
    get pinched() {
      return pinched;
    },
    get isBoxing() {
      return isBoxing;
    },
    /** What the axes span in the present view. @returns {{x: Range, y: Range}} */
    axes() {
      const [x, y] = flat ? [now()[0], 0] : now();
      const half = now().at(-1);
      return { x: [x - half, x + half], y: flat ? [-1, 1] : [y - half, y + half] };
    },
    /** Draw the box between two presses. */
    drawBox(from, to) {
      const box = figure.root.getBoundingClientRect();
      const [x0, y0] = [Math.min(from.clientX, to.clientX) - box.left, Math.min(from.clientY, to.clientY) - box.top];
      const size = [Math.abs(to.clientX - from.clientX), Math.abs(to.clientY - from.clientY)];
      const [y, height] = flat ? [figure.margin.top, figure.height] : [y0, size[1]];
      set(outline, { visibility: "visible", x: x0, y, width: size[0], height });
    },
    /** Look at what lies between two presses; a box that is none leaves all as it is. */
    takeBox(from, to) {
      set(outline, { visibility: "hidden" });
      boxMode(false);
      const [a, b] = [pointed(from), pointed(to)];
      const half = Math.max(...a.map((v, i) => Math.abs(v - b[i]) / 2));
      if (Math.hypot(to.clientX - from.clientX, to.clientY - from.clientY) < 8) return;
      go(
        a.map((v, i) => (v + b[i]) / 2),
        half,
      );
    },
  };
}

/** Two ends of a plane as a view. @param {number[][]} ends @returns {number[]} */
export const viewOf = ([low, high]) => [...low.map((v, i) => (v + high[i]) / 2), (high[0] - low[0]) / 2];
