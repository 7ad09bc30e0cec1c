// Handles: dragged by pointer or touch, moved by the arrow keys, found by Tab and by name.

import { s, set } from "./dom.js";

/** @import { Figure, Handle } from "./types.js" */

/**
 * Follow a pointer from press to release.
 * @param {HTMLElement|SVGElement} element
 * @param {{start?: (event: PointerEvent) => any, move: (event: PointerEvent, started: any) => void,
 *   end?: (event: PointerEvent, started: any) => void}} on
 *   `start` may return false to let the press go, or a value that `move` gets
 * @param {HTMLElement|SVGElement} [pressed] where a press counts, if that is not the element itself
 */
export function draggable(element, on, pressed = element) {
  // a finger drags instead of scrolling; touch-action alone does not do it for parts of an SVG
  element.style.touchAction = "none";
  /** @param {Event} event */
  const isFree = (event) => /** @type {Element} */ (event.target).closest("[data-no-drag]") !== null;
  const steady = (event) => !isFree(event) && event.preventDefault();
  element.addEventListener("touchstart", steady, { passive: false });
  const isElsewhere = pressed !== element; // before what lies on top of it
  /** @param {PointerEvent} event */
  const press = (event) => {
    if (event.button !== 0 || isFree(event)) return;
    const started = on.start?.(event);
    if (started === false) return;
    event.preventDefault();
    event.stopImmediatePropagation();
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
  pressed.addEventListener("pointerdown", press, { capture: isElsewhere });
}

/** Of the handles whose reach covers the pointer the nearest, whichever lies on top. */
function nearest(figure, event) {
  if (!event.target.closest?.(".handle")) return null;
  const box = figure.root.getBoundingClientRect();
  const far = ({ at: [x, y] }) => Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y);
  const isShown = (one) => one.at && one.element.style.display !== "none";
  const shown = figure.handles.filter((one) => isShown(one) && getComputedStyle(one.element).pointerEvents !== "none");
  return shown.reduce((best, one) => (best && far(best) < far(one) ? best : one), null);
}

/**
 * Turn the wheel over a figure, where that is meant: with Ctrl (a pinch counts as that) or with a handle in focus.
 * Otherwise the wheel scrolls the page.
 */
export function onWheel(figure, turned) {
  const listener = (event) => {
    const isMeant = event.ctrlKey || figure.root.contains(document.activeElement);
    if (!isMeant) return;
    event.preventDefault();
    turned(event);
  };
  figure.root.addEventListener("wheel", listener, { passive: false });
}

/**
 * A round handle in a plot.
 * @param {Figure} figure
 * @param {{name: string, colour: string, where?: Element, radius?: number, shape?: string,
 *   axis?: "x"|"y"|"xy", drag: (x: number, y: number, started: any) => void, start?: Function, end?: Function,
 *   key?: (dx: number, dy: number) => void, type?: () => void}} options
 *   `axis`: along which it is dragged, and which therefore keep their scale meanwhile; `key` gets the arrows as -1, 0 or 1 (10 with Shift); `type` is called by a double click or Enter
 * @returns {Handle}
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
    "data-axis": options.axis ?? "xy",
  });
  // the finger's target is larger than what the eye sees
  element.append(s("circle", { r: 16, class: "reach" }), shape(options.shape, radius), s("title", {}, options.name));
  (options.where ?? figure.front).append(element);
  const axes = { x: options.axis !== "y", y: options.axis !== "x" };
  /** @type {Handle} */
  const made = { element, at: null, place };
  figure.handles.push(made);
  let last = null; // the pointer's event
  let frame = 0;
  const follow = (started) => {
    const [x, y] = figure.at({ clientX: last.clientX + started.dx, clientY: last.clientY + started.dy });
    options.drag(x, y, started.own);
  };
  /** On which sides the hand is beyond the axes. */
  const beyond = () => {
    const { left, top } = figure.margin;
    const box = figure.root.getBoundingClientRect();
    const side = (v, from, size) => (v < from ? -1 : v > from + size ? 1 : 0);
    return [side(last.clientX - box.left, left, figure.width), -side(last.clientY - box.top, top, figure.height)];
  };
  /** Where the hand waits beyond the axes, let them reach farther, as long as it waits; elsewhere no frame is asked for. */
  const wait = (started) => {
    const [dx, dy] = beyond();
    if ((dx || dy) && !frame) frame = requestAnimationFrame(() => reach(started, dx, dy));
  };
  const reach = (started, dx, dy) => {
    frame = 0;
    if (!figure.reach(dx, dy)) return;
    follow(started);
    figure.resized();
    wait(started);
  };
  draggable(
    element,
    {
      start(event) {
        if (nearest(figure, event) !== made) return false;
        const box = figure.root.getBoundingClientRect();
        const [px, py] = made.at;
        figure.hold(axes);
        last = event;
        // keep the grip: the handle does not jump to the pointer
        return { dx: box.left + px - event.clientX, dy: box.top + py - event.clientY, own: options.start?.() };
      },
      move(event, started) {
        last = event;
        wait(started);
        follow(started);
      },
      end() {
        cancelAnimationFrame(frame);
        frame = 0;
        figure.release();
        options.end?.();
      },
    },
    figure.root,
  );
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
  if (options.type)
    figure.root.addEventListener("dblclick", (event) => nearest(figure, event) === made && options.type());
  return made;

  function place(x, y, text) {
    const inside = (v, low, high) => Math.min(high, Math.max(low, v));
    const px = inside(figure.sx(x), figure.margin.left, figure.margin.left + figure.width);
    const py = inside(figure.sy(y), figure.margin.top, figure.margin.top + figure.height);
    made.at = [px, py];
    set(element, {
      transform: `translate(${px.toFixed(1)} ${py.toFixed(1)})`,
      "aria-valuetext": text,
      "aria-valuenow": x.toPrecision(6),
    });
  }
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
