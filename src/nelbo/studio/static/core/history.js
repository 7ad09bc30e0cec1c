// Undo and redo over whole gestures: a drag of a hundred moves is one step.

import { onChange, read, write } from "./store.js";

const SETTLED = 350; // ms without a change

/**
 * @param {import("./types.js").Model} model
 * @param {string[]} names of the state
 * @returns {{undo: () => boolean, redo: () => boolean, stop: () => void}}
 */
export function history(model, names) {
  const past = [];
  const future = [];
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
    future.length = 0;
  };
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(settle, SETTLED);
  };
  const down = () => (pressed = true);
  const up = () => (pressed = false);
  const leave = onChange(model, names, changed);
  addEventListener("pointerdown", down, true);
  addEventListener("pointerup", up, true);
  addEventListener("pointercancel", up, true);
  const step = (from, to) => {
    pressed = false;
    settle();
    const next = from.pop();
    if (!next) return false;
    to.push(settled);
    settled = next;
    write(model, next);
    clearTimeout(timer);
    return true;
  };
  return {
    undo: () => step(past, future),
    redo: () => step(future, past),
    stop() {
      clearTimeout(timer);
      leave();
      removeEventListener("pointerdown", down, true);
      removeEventListener("pointerup", up, true);
      removeEventListener("pointercancel", up, true);
    },
  };
}
