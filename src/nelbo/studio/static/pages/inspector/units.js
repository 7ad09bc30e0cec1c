// The latent units one by one: how much KL each carries, whether it has collapsed, and what moving along it does.

import { h } from "../../core/dom.js";
import { nats, number } from "../../core/format.js";
import { write } from "../../core/store.js";
import { axisName } from "./axes.js";
import { drawImage, isImage } from "./pixels.js";

const COLLAPSED = 0.01; // nats: less is no information about x
const STEPS = [-3, -2, -1, 0, 1, 2, 3];
const MOST = 24; // units shown; the others are collapsed or nearly so

/** @param {import("../../core/types.js").Slots} slots @param {import("../../core/types.js").Source} source */
export function unitsPanel(slots, source) {
  const { model } = slots;
  const kl = source.info.kl_per_unit;
  const perUnit = kl.length === source.latent && kl.every((v) => v !== null);
  const score = perUnit ? kl : source.info.activity;
  const order = Array.from(score.keys())
    .sort((a, b) => score[b] - score[a])
    .slice(0, MOST);
  const largest = Math.max(...score, 1e-9);
  const collapsed = perUnit
    ? kl.filter((v) => v < COLLAPSED).length
    : source.info.activity.filter((v) => v < 0.01).length;
  const rows = order.map((unit) => {
    const strip = h("div", { class: "strip" });
    const off = perUnit ? kl[unit] < COLLAPSED : source.info.activity[unit] < 0.01;
    const value = h("output", { "data-unit": unit });
    const axes = [0, 1].map((end) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          title: `Show ${axisName(unit)} on the ${end ? "vertical" : "horizontal"} axis`,
          onclick() {
            const now = [...(model.get("axes").length ? model.get("axes") : source.info.axes)];
            if (now[1 - end] === unit) now[1 - end] = now[end];
            now[end] = unit;
            write(model, { axes: now, projection: "units", lasso: [] });
          },
        },
        end ? "↕" : "↔",
      ),
    );
    const element = h(
      "div",
      { class: `unit-row ${off ? "collapsed" : ""}` },
      h("span", { class: "name" }, axisName(unit)),
      h("div", { class: "meter" }, h("i", { style: `width:${(100 * score[unit]) / largest}%` })),
      value,
      h("span", { class: "off" }, off ? "collapsed" : ""),
      source.latent > 2 ? h("span", {}, ...axes) : null,
      strip,
    );
    return { unit, element, strip, value };
  });
  const element = h(
    "section",
    { class: "panel units" },
    h(
      "h2",
      {},
      perUnit
        ? "KL of each latent unit, mean over the examples"
        : "Variance of the means of q(z|x), for each latent unit",
    ),
    h(
      "p",
      { class: "caption" },
      `${source.latent - collapsed} of ${source.latent} units are in use.${source.latent > MOST ? ` Shown: the ${MOST} most active.` : ""} To the right: the active example decoded with that unit from −3 to 3.`,
    ),
    ...rows.map((row) => row.element),
  );
  let newest = 0;

  const showUnits = () =>
    rows.forEach(
      ({ unit, value }) =>
        (value.textContent = perUnit ? `${nats(kl[unit], model.get("unit"), 3)}` : number(score[unit], 3)),
    );
  model.on("change:unit", showUnits);
  showUnits();
  return {
    element,
    remove: () => model.off("change:unit", showUnits),
    /** Decode along every unit from this code. */
    async show(z) {
      const mine = ++newest;
      const codes = rows.flatMap(({ unit }) =>
        STEPS.map((step) => Float32Array.from(z, (v, d) => (d === unit ? step : v))),
      );
      if (!isImage(source.info.event)) return;
      let pictures;
      try {
        pictures = await source.decode(codes);
      } catch {
        return; // a file without Python
      }
      if (mine !== newest) return;
      rows.forEach(({ strip }, r) => {
        while (strip.children.length < STEPS.length)
          strip.append(
            h("canvas", { class: "pixels", role: "img", "aria-label": `at ${STEPS[strip.children.length]}` }),
          );
        strip
          .querySelectorAll("canvas")
          .forEach((canvas, i) =>
            drawImage(canvas, pictures, source.info.event, source.range, (r * STEPS.length + i) * source.features),
          );
      });
    },
  };
}
