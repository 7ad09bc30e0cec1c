// A page as a notebook widget: the host brings the model, we bring the drawing.

import { openPage } from "./frame.js";

/** The anywidget module of a page. @param {import("./types.js").Page} page */
export function host(page) {
  return {
    render({ model, el }) {
      el.classList.add("nelbo-widget");
      const leave = openPage(page, model, el, { notebook: true });
      return leave;
    },
  };
}
