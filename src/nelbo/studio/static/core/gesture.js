// By which gesture a change of the state came: the reader's hand on a handle, a slider or a field, or a button that
// brings a state along. A change by a link, by Python or by undo comes by none.

/** @import { Gesture } from "./types.js" */

const HOLDS = ["handle", "slider"];
const MOVES = ["Arrow", "Page", "Home", "End", "Enter", " "];

/**
 * What an event on an element is part of.
 * @param {Element} element
 * @returns {?Gesture}
 */
function gestureOn(element) {
  const within = (selector) => element.closest(selector) !== null;
  if (within("dialog.ask")) return "field"; // typed at a handle
  if (within(".choice, select, input[type=checkbox], input[type=radio], label.toggle")) return "control";
  if (within("button, a, summary")) return "button";
  if (within("input[type=range]")) return "slider";
  if (within("input, textarea")) return "field";
  if (within(".handle, .body-grip")) return "handle";
  return within("svg.plot") ? "pick" : null;
}

/**
 * Follow the gestures of a page.
 * @param {HTMLElement} root
 * @returns {{now: () => ?Gesture, stop: () => void}} `now`: the gesture under way
 */
export function gestures(root) {
  /** @type {?Gesture} */
  let held = null; // from press to release
  /** @type {?Gesture} */
  let last = null; // of the event that is being handled
  let timer = 0;
  /** @param {?Gesture} gesture */
  const during = (gesture) => {
    last = gesture;
    clearTimeout(timer);
    timer = setTimeout(() => (last = null)); // a task of its own, after all that hear of the event
  };
  const on = {
    pointerdown(event) {
      const gesture = gestureOn(event.target);
      // a press in a figure drags what it has taken hold of
      held = gesture === "pick" ? "handle" : HOLDS.includes(gesture) ? gesture : null;
    },
    keydown(event) {
      const gesture = gestureOn(event.target);
      const isCommand = event.ctrlKey || event.metaKey || event.altKey;
      const moves = gesture === "field" || MOVES.some((key) => event.key.startsWith(key));
      during(isCommand || !moves ? null : gesture); // `[` and `]` load presets
    },
    wheel: (event) => during(gestureOn(event.target) && event.target.closest("svg.plot") ? "handle" : null),
  };
  for (const name of ["click", "input", "change", "close"]) on[name] = (event) => during(gestureOn(event.target));
  /** @param {Event} event */
  const released = (event) => {
    const element = /** @type {Element} */ (event.target);
    if (held) during(element.closest?.(".dragging") ? held : gestureOn(element));
    held = null;
  };
  for (const [name, listener] of Object.entries(on))
    root.addEventListener(name, listener, { capture: true, passive: true });
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, released, true);
  return {
    now: () => held ?? last,
    stop() {
      clearTimeout(timer);
      for (const [name, listener] of Object.entries(on)) root.removeEventListener(name, listener, true);
      for (const name of ["pointerup", "pointercancel"]) removeEventListener(name, released, true);
    },
  };
}
