// The demo's runs, made in the page: an offer, then a bar for each model while it trains.

import { h } from "../../core/dom.js";
import { nats } from "../../core/format.js";
import { ask, hear } from "../../core/store.js";

/**
 * @param {import("../../core/types.js").Slots} slots
 * @param {{made?: () => void, started?: (job: any) => void}} on `made` when the runs are there
 * @returns {{element: HTMLElement, show: (listed: any) => void, remove: () => void}} `show` takes the answer to
 *   "train.list", and hides the offer where nothing is missing
 */
export function demoOffer(slots, { made = () => {}, started = () => {} }) {
  const { model, host } = slots;
  const words = h("p", {}, "");
  const button = h(
    "button",
    { type: "button", class: "primary", "data-do": "demo", onclick: start },
    "Make the demo's runs",
  );
  const bars = h("div", { class: "making", hidden: true });
  const element = h("div", { class: "offer", hidden: true }, words, bars, button);
  const rows = new Map(); // folder -> {bar, text}
  let out = "";
  let working = false;

  function rowOf(run) {
    const name = run.slice(out.length + 1);
    return run.startsWith(`${out}/`) ? rows.get(name) : undefined;
  }

  function show({ demo, jobs, runs }) {
    out = demo.out;
    if (!rows.size) {
      for (const [name, title] of Object.entries(demo.models)) {
        const bar = h("progress", { max: 1, value: 0, "aria-label": title });
        const text = h("output", {}, "waits");
        rows.set(name, { bar, text });
        bars.append(h("span", {}, title), bar, text);
      }
    }
    const job = jobs.find((one) => one.job === out);
    working = Boolean(job) && ["starting", "training", "paused"].includes(job.status);
    element.hidden = !host.studio || (!demo.offer && !working);
    bars.hidden = !working;
    button.hidden = working;
    const failed = job && !working && job.status === "failed" ? ` The last try ended: ${job.message}.` : "";
    words.textContent = working
      ? "Training on 4,000 real digits. It goes on if you look at another page meanwhile."
      : `${runs.length ? "" : "There is no run to look at yet. "}The demo's runs are not made yet: an autoencoder and two VAEs on 4,000 real digits, in about a minute. Then drag a latent, and see its digit.${failed}`;
    for (const entry of runs) {
      const row = rowOf(entry.run);
      if (row && entry.of) at(row, entry.epochs, entry.of, entry.terms);
    }
  }

  function at({ bar, text }, epoch, of, terms) {
    bar.value = epoch / of;
    const unit = model.get("unit") ?? "nats";
    const error = terms?.reconstruction_error;
    const numbers =
      error === null || error === undefined
        ? ""
        : terms.kl === null
          ? `: reconstruction error ${nats(error, unit)}`
          : `: ${nats(error, unit)} + ${nats(terms.kl, unit)} ${unit}`;
    text.textContent = epoch === 0 ? "begins" : epoch >= of ? `done${numbers}` : `epoch ${epoch} of ${of}${numbers}`;
  }

  async function start() {
    button.disabled = true;
    try {
      started((await ask(model, "train.demo", { click: `demo ${Date.now()}` })).content);
      await refresh();
    } catch (error) {
      slots.say(error.message);
    }
    button.disabled = false;
  }

  const refresh = async () => show((await ask(model, "train.list")).content);

  const epochs = new Map();
  const heard = hear(model, "train", (content) => {
    const row = content.run ? rowOf(content.run) : undefined;
    if (content.what === "begin" && row) {
      epochs.set(content.run, content.epochs);
      at(row, content.lines?.length ?? 0, content.epochs, null);
      if (!working) refresh();
    }
    if (content.what === "epoch" && row) {
      const { line } = content;
      const part = line.validation_reconstruction_error === undefined ? "train" : "validation";
      at(row, line.epoch, epochs.get(content.run) ?? line.epoch, {
        reconstruction_error: line[`${part}_reconstruction_error`],
        kl: line[`${part}_kl`] ?? null,
      });
    }
    if (content.what === "end" && content.job === out) {
      refresh().then(
        () => content.status === "finished" && made(),
        () => {},
      );
    }
  });
  return { element, show, remove: heard };
}
