// What the reader predicted and reached in the worksheet, kept in this browser and nowhere else.

/** @import { Course, Kept } from "./types.js" */

const KEY = "nelbo-worksheet";

/** @typedef {{steps: Record<string, Kept>, name: string, course: Course}} Stored */

/** @returns {Stored} */
const nothing = () => ({ steps: {}, name: "", course: { steps: "", title: "" } });

/** What the browser holds; null where it holds nothing. @returns {?Stored} */
function load() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return found?.steps ? { ...nothing(), ...found } : null;
  } catch {
    return null; // damaged, or a page without storage
  }
}

/** The record of this browser; each change is written at once, so that tabs agree. */
export function remembered() {
  let kept = load() ?? nothing();
  /** @param {(now: Stored) => void} make */
  const change = (make) => {
    kept = load() ?? kept;
    make(kept);
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // a page without storage forgets
    }
  };
  return {
    /** @param {string} id of a step @returns {Kept} */
    get: (id) => kept.steps[id] ?? {},
    /** @param {string} id @param {Kept} changes */
    set: (id, changes) => change((now) => (now.steps[id] = { ...now.steps[id], ...changes })),
    /** Forget what was done in some steps. @param {string[]} ids */
    forget: (ids) => change((now) => ids.forEach((id) => delete now.steps[id])),
    get name() {
      return kept.name;
    },
    set name(name) {
      change((now) => (now.name = name));
    },
    /** the steps that are worked through, as the link to them says */
    get course() {
      return kept.course;
    },
    set course(course) {
      change((now) => (now.course = course));
    },
  };
}

/** @param {Kept} kept @returns {import("./types.js").Phase} */
export const phaseOf = (kept) => (kept.answered ? "done" : kept.predicted ? "open" : "predict");
