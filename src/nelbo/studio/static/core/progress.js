// What the reader predicted and reached, kept in this browser.

const KEY = "nelbo-worksheet";

/**
 * @typedef {{prediction?: string, met?: string}} Kept
 * @returns {{get: (step: number) => Kept, set: (step: number, changes: Kept) => void, clear: () => void}}
 */
export function remembered() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    kept = {}; // damaged, or a page without storage
  }
  const save = () => {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // a page without storage forgets
    }
  };
  return {
    get: (step) => kept[step] ?? {},
    set(step, changes) {
      kept[step] = { ...kept[step], ...changes };
      save();
    },
    clear() {
      kept = {};
      save();
    },
  };
}
