// The studio's shell: a rail of pages, the address that holds the state, the socket to Python.

import { h, icon } from "./dom.js";
import { openPage } from "./frame.js";
import { websocket } from "./link.js";
import { PAGES } from "./pages.js";
import { fromText, toText } from "./state.js";
import { localModel, read } from "./store.js";
import { worksheetStrip } from "./strip.js";
import { applyTheme } from "./theme.js";

/** @import { Host, LocalModel, Model, Page } from "./types.js" */

const SETTLED = 150; // ms without a change, until the address has it
const place = document.getElementById("app");
applyTheme(place);
const rail = h("nav", { class: "rail", "aria-label": "Pages" });
const stage = h("main", { id: "stage", tabindex: -1 });
// a button: what stands behind the # is the state of a page
const skip = h("button", { type: "button", class: "skip", onclick: () => stage.focus() }, "Skip to the page");
const offline = h(
  "div",
  { class: "offline", role: "status", hidden: true },
  "The studio has stopped answering; trying again …",
);
place.append(skip, rail, stage, offline);
const links = {};
for (const [name, { title, label = title, icon: path }] of Object.entries(PAGES)) {
  links[name] = h("a", { href: `#${name}`, "data-page": name, title: label }, icon(path), h("span", {}, label));
  rail.append(links[name]);
}

let leave = () => {};
/** @type {?{page: Page, model: Model, step: number, say?: (words: string) => void}} */
let open = null;
let written = "";
let turn = 0;
const states = new Map(); // what each page looked like when it was left

/** @type {Set<LocalModel>} */
const models = new Set();
const socket = websocket(
  `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
  (content, buffers) => models.forEach((model) => model.receive(content, buffers)),
  (connected) => {
    offline.hidden = connected;
    models.forEach((model) => model.receive({ event: connected ? "connected" : "disconnected" }, []));
  },
);

async function go() {
  const [name, behind = ""] = decoded(location.hash.slice(1)).split(/\?(.*)/s);
  const known = name in PAGES ? name : "home";
  const { step, text } = parted(behind);
  if (open?.page.name === known && open.step === step) {
    turn++; // a page that is still on its way comes too late
    if (location.hash === written) return;
    written = location.hash;
    const { values, said } = fromText(open.page, text);
    for (const [key, value] of Object.entries(values)) open.model.set(key, value);
    if (said.length) open.say(said.join(" · "));
    return;
  }
  const mine = ++turn; // two quick clicks: the later one wins, whichever module comes first
  /** @type {Page} */
  let page;
  try {
    page = (await import(`../pages/${known}.js`)).default;
  } catch (error) {
    stage.replaceChildren(
      h(
        "div",
        { class: "nelbo page" },
        h("h1", {}, "This page did not load"),
        h("p", {}, String(error)),
        h("p", {}, "Is the studio still running? Then reload the page."),
      ),
    );
    throw error;
  }
  if (mine !== turn) return;
  leave();
  const { values, said } = fromText(page, step ? text : text || states.get(known) || "");
  const unit = open?.model.get("unit") ?? "nats";
  const model = localModel({ unit, ...values }, socket);
  models.clear();
  models.add(model);
  if (page.live) socket.connect();
  open = { page, model, step };
  written = location.hash;
  stage.replaceChildren();
  scrollTo(0, 0);
  for (const [other, link] of Object.entries(links))
    if (other === known) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  document.title = `${page.title} · nelbo`;
  if (name && !(name in PAGES)) said.push(`There is no page “${name.slice(0, 40)}”`);
  /** @type {Host} */
  const host = {
    said,
    studio: true,
    go: (other, state = {}) =>
      (location.hash = `${other}${Object.keys(state).length ? `?${new URLSearchParams(state)}` : ""}`),
    address: (state) => `${location.origin}/#${page.name}${state ? `?${state}` : ""}`,
    exportUrl:
      page.kind === "studio"
        ? undefined
        : (state) => `/export/${page.name}?state=${encodeURIComponent(JSON.stringify(state))}`,
  };
  const names = Object.keys(page.defaults);
  if (step)
    host.strip = async (slots) => {
      slots.root.dataset.step = "predict"; // before the first frame shows what a step hides
      const worksheet = await import("../pages/worksheet.js");
      return open.model === model ? worksheetStrip(slots, worksheet, step) : () => {};
    };
  const slotsLeave = openPage(page, model, stage, host);
  open.say = (words) => host.say?.(words);
  let timer = 0;
  const remember = () => {
    if (location.hash !== written) return; // a link was followed, whose page is on its way
    const state = toText(page, read(model, names));
    states.set(page.name, state);
    const all = [step ? `step=${step}` : "", state].filter(Boolean).join("&");
    written = `#${page.name}${all ? `?${all}` : ""}`;
    window.history.replaceState(null, "", written);
    written = location.hash; // as the browser spells it
  };
  // not while a hand moves: an address costs the browser as much as a frame (and it allows 200 of them in 30 s)
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(remember, SETTLED);
  };
  model.on("change", changed);
  leave = () => {
    clearTimeout(timer);
    states.set(page.name, toText(page, read(model, names)));
    slotsLeave();
  };
  stage.dataset.ready = page.name;
  performance.mark("nelbo-ready");
}

/**
 * "step=3" is the worksheet's, which leads to a page; the rest is the page's own.
 * @param {string} text
 */
function parted(text) {
  const parts = new URLSearchParams(text);
  const step = Math.round(Number(parts.get("step"))) || 0;
  if (!parts.has("step")) return { step: 0, text };
  parts.delete("step");
  return { step, text: parts.toString() };
}

/** What stands behind the #; a link that was cut in the middle of a character is taken as it is. */
function decoded(text) {
  try {
    return decodeURI(text);
  } catch {
    return text;
  }
}

addEventListener("hashchange", go);
go();
