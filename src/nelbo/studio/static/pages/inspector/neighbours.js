// The examples whose codes lie nearest to the cursor: what the data have where the decoder is asked.

import { h } from "../../core/dom.js";
import { drawImage, isImage } from "./pixels.js";

const COUNT = 8;

/** @param {import("../../core/types.js").Source} source @param {(row: number) => void} pin */
export function neighbours(source, pin) {
  const strip = h("div", { class: "strip" });
  const element = h(
    "section",
    { class: "panel neighbours", hidden: !isImage(source.info.event) },
    h("h2", {}, "Nearest examples in the latent space, by the distance of their means (click one)"),
    strip,
  );
  let newest = 0;
  return {
    element,
    /** @param {ArrayLike<number>} z */
    async show(z) {
      if (element.hidden) return;
      const mine = ++newest;
      const rows = source.nearest(z, COUNT);
      let pictures;
      try {
        pictures = await source.glance(rows);
      } catch {
        if (mine !== newest) return;
        const words = `Their pictures did not travel with this page: ${rows.map((row) => `#${row}`).join(", ")}.`;
        return strip.replaceChildren(h("p", { class: "caption" }, words));
      }
      if (mine !== newest) return;
      strip.replaceChildren(
        ...rows.map((row, i) => {
          const canvas = h("canvas", { class: "pixels", "aria-hidden": "true" });
          drawImage(canvas, pictures[i][0], source.info.event, source.range);
          return h(
            "button",
            {
              type: "button",
              class: "picture",
              "aria-label": `Pin ${source.className(row) ?? "example"} #${row}`,
              title: `#${row}`,
              onclick: () => pin(row),
            },
            canvas,
          );
        }),
      );
    },
  };
}
