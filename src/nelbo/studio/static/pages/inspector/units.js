// The latent units one by one: how much KL each carries, whether it has collapsed, and what moving along it does.

import { h, tell } from "../../core/dom.js";
import { nats, number } from "../../core/format.js";
import { write } from "../../core/store.js";
import { axisName } from "./axes.js";
import { isNamed, namesOf, tidy, unitsOf } from "./columns.js";
import { drawImage, isImage } from "./pixels.js";

const COLLAPSED = 0.01; // nats: less is no information about x
const STEPS = [-3, -2, -1, 0, 1, 2, 3];
const CHANGES = 3; // columns that are named for a unit
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
            write(model, { axes: now, projection: "units", view: [], lasso: [] });
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
  const most = source.latent > MOST ? ` Shown: the ${MOST} most active.` : "";
  const beside = isImage(source.info.event)
    ? " Beside each: the active example decoded with that unit from −3 to 3."
    : isNamed(source)
      ? " Beside each: the columns that change most as that unit of the active example goes from −3 to 3."
      : "";
  const used = `${source.latent - collapsed} of ${source.latent} units are in use.${most}`;
  const caption = h("p", { class: "caption" }, used + beside);
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
    caption,
    ...rows.map((row) => row.element),
  );
  let newest = 0;
  let last = null; // decoded along every unit

  /** For each unit the columns that change most, from its lowest to its highest value. */
  function showChanges() {
    if (!last) return;
    const { shown } = unitsOf(source, model.get("values"));
    const { low, high } = source.info.columns;
    const names = namesOf(source);
    rows.forEach(({ strip }, r) => {
      const at = (step, i) => last[(r * STEPS.length + step) * source.features + i];
      const end = STEPS.length - 1;
      const change = (i) => Math.abs(at(end, i) - at(0, i)) / (high[i] - low[i] || 1);
      const first = names.map((_, i) => i).sort((a, b) => change(b) - change(a));
      const words = (i) => `${names[i]} ${tidy(shown(at(0, i), i))} → ${tidy(shown(at(end, i), i))}`;
      strip.replaceChildren(...first.slice(0, CHANGES).map((i) => h("span", { class: "change" }, words(i))));
    });
  }

  const showUnits = () =>
    rows.forEach(
      ({ unit, value }) =>
        (value.textContent = perUnit ? `${nats(kl[unit], model.get("unit"), 3)}` : number(score[unit], 3)),
    );
  model.on("change:unit", showUnits);
  model.on("change:values", showChanges);
  showUnits();
  return {
    element,
    remove() {
      newest = -1;
      model.off("change:unit", showUnits);
      model.off("change:values", showChanges);
    },
    /** Decode along every unit from this code. */
    async show(z) {
      const mine = ++newest;
      const codes = rows.flatMap(({ unit }) =>
        STEPS.map((step) => Float32Array.from(z, (v, d) => (d === unit ? step : v))),
      );
      if (!beside) return;
      let pictures;
      try {
        pictures = await source.decode(codes);
      } catch {
        if (mine === newest) tell(caption, used); // a file without Python
        return;
      }
      if (mine !== newest) return;
      if (!isImage(source.info.event)) {
        last = pictures;
        return showChanges();
      }
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
