// Presenter mode: the figure fills the screen with larger words, controls wait at the edge, keys step through the views.

import { viewsOf } from "./bookmarks.js";
import { h, tell } from "./dom.js";

/** @import { Slots } from "./types.js" */

const [LOWEST, TALLEST] = [0.75, 2.4]; // times the height of a figure on the page

/**
 * @param {Slots} slots
 * @returns {{toggle: () => void, leave: () => boolean, step: (by: number) => boolean, stop: () => void}} `leave` and `step`
 *   say whether there was anything to do
 */
export function presenter(slots) {
  const { root } = slots;
  let isOn = false;
  let isFull = false; // the browser shows nothing else
  let at = -1; // of the views
  const words = h("span", { class: "presented", role: "status" });
  const button = (name, text, onclick) =>
    h("button", { type: "button", class: "quiet", title: name, "aria-label": name, onclick }, text);
  const before = button("Previous view (Page Up)", "‹", () => step(-1));
  const after = button("Next view (Page Down)", "›", () => step(1));
  const pin = button("Keep the controls in sight", "Controls", () => {
    const pinned = root.classList.toggle("pinned");
    pin.setAttribute("aria-pressed", String(pinned));
    fit();
  });
  pin.setAttribute("aria-pressed", "false");
  const bar = h(
    "div",
    { class: "presenter", role: "toolbar", "aria-label": "Presenter" },
    before,
    words,
    after,
    pin,
    button("Leave presenter mode (Escape)", "Leave", leave),
  );

  function enter() {
    isOn = true;
    at = -1;
    root.classList.add("presenting");
    root.append(bar);
    show();
    fit();
    // where it is not allowed, as in some frames, the page fills its window
    root.requestFullscreen?.().then(
      () => (isFull = isOn),
      () => {},
    );
    slots.announce("Presenter mode; Escape leaves it");
  }

  function leave() {
    if (!isOn) return false;
    isOn = false;
    root.classList.remove("presenting", "pinned");
    pin.setAttribute("aria-pressed", "false");
    bar.remove();
    fit();
    if (document.fullscreenElement === root) document.exitFullscreen();
    isFull = false;
    return true;
  }

  function show() {
    const views = viewsOf(slots);
    for (const one of [before, after]) one.hidden = !views.length;
    tell(words, views[at] ? `${at + 1} of ${views.length}: ${views[at].name}` : slots.page.title.replace("\u00ad", ""));
  }

  /** @param {number} by */
  function step(by) {
    const views = viewsOf(slots);
    if (!isOn || !views.length) return false;
    at = at < 0 && by < 0 ? views.length - 1 : (at + by + views.length) % views.length;
    slots.load(views[at].state);
    show();
    return true;
  }

  /** Let the first figures be as tall as the screen allows. */
  function fit() {
    delete root.dataset.tall;
    dispatchEvent(new CustomEvent("nelbo-present"));
    if (!isOn) return;
    const drawn = [...slots.figure.querySelectorAll("svg.plot:has(> .axes)")].map((one) => one.getBoundingClientRect());
    const shown = drawn.filter(({ height }) => height);
    if (!shown.length) return;
    const panel = [...slots.figure.children].find((one) => one.querySelector("svg.plot:has(> .axes)")) ?? slots.figure;
    const { top, bottom } = panel.getBoundingClientRect();
    const inside = shown.filter((one) => one.top >= top && one.bottom <= bottom + 1);
    const tall = covered(inside);
    const rest = bottom - top - tall;
    const start = top + root.scrollTop - root.getBoundingClientRect().top;
    const room = root.clientHeight - Math.min(start, 0.3 * root.clientHeight) - rest - 24;
    if (tall) root.dataset.tall = String(Math.min(TALLEST, Math.max(LOWEST, room / tall)));
    dispatchEvent(new CustomEvent("nelbo-present"));
  }

  const changed = () => {
    if (isFull && document.fullscreenElement !== root) leave();
  };
  const resized = () => isOn && fit();
  document.addEventListener("fullscreenchange", changed);
  addEventListener("resize", resized);
  return {
    toggle: () => (isOn ? leave() : enter()),
    leave,
    step,
    stop() {
      leave();
      document.removeEventListener("fullscreenchange", changed);
      removeEventListener("resize", resized);
    },
  };
}

/** How many pixels in height some boxes cover, those beside each other once. @param {{top: number, bottom: number}[]} boxes */
function covered(boxes) {
  let [sum, end] = [0, -Infinity];
  for (const { top, bottom } of [...boxes].sort((a, b) => a.top - b.top)) {
    sum += Math.max(0, bottom - Math.max(top, end));
    end = Math.max(end, bottom);
  }
  return sum;
}
