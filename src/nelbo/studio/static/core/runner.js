// Play, slow and step for what goes on in steps; nothing runs while nothing moves.

import { h } from "./dom.js";

const TOGETHER = 4; // steps for each frame of a quick run
const SLOWLY = 0.25;

/** @param {string} text @param {() => void} onclick @param {string} [kind] */
export const button = (text, onclick, kind = "chip") => h("button", { type: "button", class: kind, onclick }, text);

/**
 * @param {() => boolean} step whether there is more to do
 * @param {() => void} paint
 * @param {{quick?: number, slow?: number}} [pace] steps for each frame
 */
export function runner(step, paint, { quick = TOGETHER, slow = SLOWLY } = {}) {
  let frame = 0;
  let speed = quick;
  let rest = 0;
  let isFollowing = false; // it was played, and goes on where what it follows changes
  const play = button("", () => (frame ? stop() : start(quick)), "primary");
  const words = () => (play.textContent = frame ? "■ Stop" : "▶ Play");
  const go = () => {
    rest += speed;
    let more = true;
    for (; more && rest >= 1; rest--) more = step();
    frame = more ? requestAnimationFrame(go) : 0;
    paint();
    words();
  };
  function start(pace) {
    cancelAnimationFrame(frame);
    [speed, isFollowing, rest] = [pace, true, 0];
    frame = requestAnimationFrame(go);
    words();
  }
  function stop() {
    cancelAnimationFrame(frame);
    [frame, isFollowing] = [0, false];
    words();
  }
  words();
  const once = button("Step", () => {
    stop();
    step();
    paint();
  });
  return {
    buttons: [play, button("Slow", () => start(slow)), once],
    stop,
    /** What it follows has changed: what had arrived sets out again. */
    goOn: () => isFollowing && !frame && start(speed),
  };
}
