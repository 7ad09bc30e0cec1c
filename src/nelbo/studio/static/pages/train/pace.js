// How long a training takes: as long as the epochs it has done, or those of an earlier run on the same data.

/** @import { RunEntry } from "../../core/types.js" */
/** @import { RunRecord } from "./record.js" */

/** "40 s", "3 min", "2.5 h". @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(seconds < 36_000 ? 1 : 0)} h`;
}

/** How much longer a running training takes; "" where that is not known. @param {RunRecord} run */
export function remaining(run) {
  const done = run.history.length;
  const seconds = run.history.at(-1)?.seconds;
  if (!["training", "paused"].includes(run.status) || !done || !seconds || !run.of || run.of <= done) return "";
  return `about ${duration((seconds / done) * (run.of - done))} left`;
}

/**
 * How long a new training is expected to take, by the latest run of the same recipe on the same data, else of another recipe.
 * @param {Record<string, any>} settings
 * @param {RunEntry[]} entries
 * @returns {string} "" where there is none to go by
 */
export function expected(settings, entries) {
  const same = entries.filter((entry) => entry.data === settings.data && entry.epochs && entry.seconds);
  const by = same.findLast((entry) => entry.recipe === (settings.recipe ?? "vae")) ?? same.at(-1);
  if (!by || !settings.epochs) return "";
  const each = by.seconds / by.epochs;
  const pace = each < 10 ? `${Number(each.toPrecision(2))} s` : duration(each);
  return `${settings.epochs} epochs: about ${duration(each * settings.epochs)} (${by.title} took ${pace} an epoch)`;
}
