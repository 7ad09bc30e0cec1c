// Undo over whole gestures: a drag of a hundred moves is one step.

import { read, write } from "./store.js";

const SETTLED = 350; // ms without a change

/**
 * @param {import("./types.js").Model} model
 * @param {string[]} names of the state
 * @returns {{undo: () => boolean, stop: () => void}}
 */
export function history(model, names) {
  const past = [];
  let settled = read(model, names);
  let timer = 0;
  let pressed = false;
  const settle = () => {
    clearTimeout(timer);
    timer = 0;
    if (pressed) {
      timer = setTimeout(settle, SETTLED);
      return;
    }
    const now = read(model, names);
    if (JSON.stringify(now) === JSON.stringify(settled)) return;
    past.push(settled);
    if (past.length > 200) past.shift();
    settled = now;
  };
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(settle, SETTLED);
  };
  const down = () => (pressed = true);
  const up = () => (pressed = false);
  for (const name of names) model.on(`change:${name}`, changed);
  addEventListener("pointerdown", down, true);
  addEventListener("pointerup", up, true);
  addEventListener("pointercancel", up, true);
  return {
    undo() {
      pressed = false;
      settle();
      const before = past.pop();
      if (!before) return false;
      settled = before;
      write(model, before);
      clearTimeout(timer);
      return true;
    },
    stop() {
      clearTimeout(timer);
      for (const name of names) model.off(`change:${name}`, changed);
      removeEventListener("pointerdown", down, true);
      removeEventListener("pointerup", up, true);
      removeEventListener("pointercancel", up, true);
    },
  };
}
