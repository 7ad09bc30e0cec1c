// A page as one file on disk: no server; what the page would ask Python for was asked when the file was written.

import { openPage } from "./frame.js";
import { recorded } from "./recorded.js";
import { fromText, toText } from "./state.js";
import { localModel, read } from "./store.js";
import { applyTheme } from "./theme.js";

/**
 * @param {import("./types.js").Page} page
 * @param {import("./types.js").State} state what differs from the page's defaults
 * @param {Object<string, string>} attachments base64 of packed answers, by the question: its kind, a space, and the JSON
 *   of the rest with sorted keys
 */
export async function open(page, state, attachments) {
  const root = document.getElementById("nelbo");
  applyTheme(root);
  const asked = location.hash.length > 1 ? decodeURI(location.hash.slice(1)).replace(/^[^?]*\?/, "") : "";
  const start = fromText(page, { ...state });
  const { values, said } = asked ? fromText({ ...page, defaults: start.values }, asked) : start;
  const transport = recorded(
    async (question) => (attachments[question] ? bytes(attachments[question]) : null),
    (content, buffers) => model.receive(content, buffers),
    "this file has no Python behind it; open the studio: nelbo studio",
  );
  const model = localModel({ unit: "nats", ...values }, transport);
  const here = location.href.replace(/#.*/, "");
  const names = Object.keys(page.defaults);
  let timer = 0;
  model.on("change", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const text = toText({ ...page, defaults: start.values }, read(model, names));
      window.history.replaceState(null, "", text ? `#?${text}` : "#");
    }, 150);
  });
  openPage(page, model, root, { said, file: true, address: (text) => `${here}#?${text}` });
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;
}
