// A page as one file on disk: no server; what the page would ask Python for was asked when the file was written.

import { parted } from "./embed.js";
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
  const behind = location.hash.length > 1 ? decodeURI(location.hash.slice(1)).replace(/^[^?]*\?/, "") : "";
  const { isEmbedded, text: asked } = parted(behind);
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
      const all = [isEmbedded ? "embed=1" : "", text].filter(Boolean).join("&");
      window.history.replaceState(null, "", all ? `#?${all}` : "#");
    }, 150);
  });
  const file = location.protocol === "file:" ? here.slice(here.lastIndexOf("/") + 1) : here;
  openPage(page, model, root, {
    said,
    file: true,
    isEmbedded,
    address: (text) => `${here}#?${text}`,
    embedded: (text) => ({
      address: `${file}#?${[text, "embed=1"].filter(Boolean).join("&")}`,
      note: "Embed code copied; its address is this file’s, from a page beside it",
    }),
  });
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;
}
