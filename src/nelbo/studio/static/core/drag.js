// Handles: dragged by pointer or touch, moved by the arrow keys, found by Tab and by name.

import { s, set } from "./dom.js";

/** @import { Figure } from "./types.js" */

/**
 * Follow a pointer from press to release.
 * @param {HTMLElement|SVGElement} element
 * @param {{start?: (event: PointerEvent) => any, move: (event: PointerEvent, started: any) => void,
 *   end?: (event: PointerEvent, started: any) => void}} on
 *   `start` may return false to let the press go, or a value that `move` gets
 */
export function draggable(element, on) {
  element.style.touchAction = "none";
  /** @param {PointerEvent} event */
  const press = (event) => {
    if (event.button !== 0 || /** @type {Element} */ (event.target).closest("[data-no-drag]")) return;
    const started = on.start?.(event);
    if (started === false) return;
    event.preventDefault();
    event.stopPropagation();
    element.focus?.({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    element.classList.add("dragging");
    const move = (e) => e.pointerId === event.pointerId && on.move(e, started);
    const end = (e) => {
      if (e.pointerId !== event.pointerId) return;
      element.classList.remove("dragging");
      element.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) element.removeEventListener(name, end);
      on.end?.(e, started);
    };
    element.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(name, end);
  };
  element.addEventListener("pointerdown", press);
}

/**
 * A round handle in a plot.
 * @param {Figure} figure
 * @param {{name: string, colour: string, where?: Element, radius?: number, shape?: string,
 *   drag: (x: number, y: number, started: any) => void, start?: () => any, end?: () => void,
 *   key?: (dx: number, dy: number) => void, type?: () => void}} options
 *   `key` gets the arrows as -1, 0 or 1 (10 with Shift); `type` is called by a double click or Enter
 * @returns {{place: (x: number, y: number, text: string) => void, element: SVGElement}} `place` in data coordinates
 */
export function handle(figure, options) {
  const radius = options.radius ?? 7;
  const element = s("g", {
    class: `handle ${options.colour}`,
    tabindex: 0,
    role: "slider",
    "aria-label": options.name,
    "aria-valuenow": 0,
    "data-handle": options.name,
  });
  // the finger's target is larger than what the eye sees
  element.append(s("circle", { r: 16, class: "reach" }), shape(options.shape, radius), s("title", {}, options.name));
  (options.where ?? figure.front).append(element);
  draggable(element, {
    start(event) {
      const [x, y] = figure.at(event);
      const box = element.getBoundingClientRect();
      const centre = figure.at({ clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 });
      // keep the grip: the handle does not jump to the pointer
      return { dx: centre[0] - x, dy: centre[1] - y, own: options.start?.() };
    },
    move(event, started) {
      const [x, y] = figure.at(event);
      options.drag(x + started.dx, y + started.dy, started.own);
    },
    end: () => options.end?.(),
  });
  element.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && options.type) {
      event.preventDefault();
      options.type();
    }
    const step = arrows(event);
    if (!step || !options.key) return;
    event.preventDefault();
    event.stopPropagation();
    options.key(step[0], step[1]);
  });
  if (options.type) element.addEventListener("dblclick", options.type);
  return {
    element,
    place(x, y, text) {
      const inside = (v, low, high) => Math.min(high, Math.max(low, v));
      const px = inside(figure.sx(x), figure.margin.left, figure.margin.left + figure.width);
      const py = inside(figure.sy(y), figure.margin.top, figure.margin.top + figure.height);
      set(element, {
        transform: `translate(${px.toFixed(1)} ${py.toFixed(1)})`,
        "aria-valuetext": text,
        "aria-valuenow": x.toPrecision(6),
      });
    },
  };
}

/** Arrow keys as [dx, dy], ten times as far with Shift; null for other keys. */
export function arrows(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const far = event.shiftKey ? 10 : 1;
  return { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] }[event.key] ?? null;
}

function shape(name, r) {
  if (name === "diamond") return s("path", { d: `M0 ${-r - 1}L${r + 1} 0L0 ${r + 1}L${-r - 1} 0Z`, class: "grip" });
  if (name === "bar") return s("rect", { x: -4, y: -r - 3, width: 8, height: 2 * r + 6, rx: 3, class: "grip" });
  return s("circle", { r, class: "grip" });
}
