// The goal of a worksheet's step: whether the state of its page meets it, and whether a hand brought it there, by handle,
// slider, key or field, and not a preset, another button or a link.

import { coalesced } from "./dom.js";
import { gestures } from "./gesture.js";
import { onChange, read } from "./store.js";

/** @import { Gesture, Slots, State, Step } from "./types.js" */

/** @type {Gesture[]} */
const HAND = ["handle", "slider", "field", "control"];
const RUNS = ["run", "other", "split"]; // what says which runs a page shows

/**
 * @param {Slots} slots of the step's page
 * @param {Step} step
 * @param {{reached: (state: State, met: string) => void, brought: () => void, looked: (fits: boolean) => void}} on
 *   `reached` by hand; `brought` by anything else; `looked` at the runs, whether they are what the step needs
 * @returns {{isMet: () => boolean, stop: () => void}} `isMet`: now
 */
export function watchGoal(slots, step, on) {
  const { model, page, root } = slots;
  const names = Object.keys(page.defaults);
  const counts = [...HAND, ...(step.also ?? [])];
  const hand = gestures(root);
  let found = null; // of the runs that the step looks at
  const isMet = () => {
    if (step.look && !found) return false;
    return step.met(read(model, names), found);
  };
  let was = isMet(); // a link may bring it along
  let byHand = false; // whether a hand made any of the changes since the last check
  const check = coalesced(() => {
    const now = isMet();
    const before = was;
    const isHand = byHand;
    was = now;
    byHand = false;
    if (!now || before) return;
    const state = read(model, names);
    if (isHand) on.reached(state, step.shown(state, found));
    else on.brought();
  });
  const changed = () => {
    byHand ||= counts.includes(hand.now());
    check();
  };
  let newest = 0;
  const look = async () => {
    const mine = ++newest;
    const seen = await step.look(model, read(model, names)).catch(() => null);
    if (mine !== newest) return;
    found = seen;
    was = isMet();
    on.looked(Boolean(found));
  };
  const lookAgain = coalesced(look);
  const looked = step.look ? RUNS.filter((name) => names.includes(name)) : [];
  const leave = onChange(model, names, changed);
  const leaveLooked = onChange(model, looked, lookAgain);
  if (step.look) look();
  return {
    isMet,
    stop() {
      newest = -1;
      hand.stop();
      check.cancel();
      lookAgain.cancel();
      leave();
      leaveLooked();
    },
  };
}
