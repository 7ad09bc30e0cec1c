// The studio's shell: a rail of pages, the address that holds the state, the socket to Python.

import { h, icon } from "./dom.js";
import { parted } from "./embed.js";
import { openPage } from "./frame.js";
import { websocket } from "./link.js";
import { recorded } from "./recorded.js";
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
const here = location.href.split("#")[0]; // in full: a reader of the page must not take them for skip links
for (const [name, { title, label = title, icon: path }] of Object.entries(PAGES)) {
  links[name] = h("a", { href: `${here}#${name}`, "data-page": name, title: label }, icon(path), h("span", {}, label));
  rail.append(links[name]);
}

let leave = () => {};
/** @type {?{page: Page, model: Model, step: number, isEmbedded: boolean, say?: (words: string) => void}} */
let open = null;
let written = "";
let turn = 0;
const states = new Map(); // what each page looked like when it was left

/** @type {Set<LocalModel>} */
const models = new Set();
const hear = (content, buffers) => models.forEach((model) => model.receive(content, buffers));
const answers = document.querySelector("#answers"); // of a site, which has no Python behind it
const isSite = answers !== null;
const socket = isSite ? recorded(answerOf, hear, "this site has no Python behind it; run nelbo studio") : studio();

function studio() {
  return websocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, hear, (connected) => {
    offline.hidden = connected;
    hear({ event: connected ? "connected" : "disconnected" }, []);
  });
}

async function answerOf(question) {
  const file = JSON.parse(answers.textContent)[question];
  if (!file) return null;
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} is missing on this server (${response.status})`);
  return response.arrayBuffer();
}

async function go() {
  const [name, behind = ""] = decoded(location.hash.slice(1)).split(/\?(.*)/s);
  const known = name in PAGES ? name : "home";
  const { step, isEmbedded, text } = parted(behind);
  if (open?.page.name === known && open.step === step && open.isEmbedded === isEmbedded) {
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
  const { values, said } = fromText(page, step || isEmbedded ? text : text || states.get(known) || "");
  const unit = open?.model.get("unit") ?? "nats";
  const model = localModel({ unit, ...values }, socket);
  models.clear();
  models.add(model);
  if (page.live) socket.connect();
  open = { page, model, step, isEmbedded };
  place.classList.toggle("embedded", isEmbedded);
  written = location.hash;
  stage.replaceChildren();
  scrollTo(0, 0);
  for (const [other, link] of Object.entries(links))
    if (other === known) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  document.title = `${page.title} · nelbo`;
  if (name && !(name in PAGES)) said.push(`There is no page “${name.slice(0, 40)}”`);
  const host = hostOf(page, said, isEmbedded);
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
    const all = [step ? `step=${step}` : "", isEmbedded ? "embed=1" : "", state].filter(Boolean).join("&");
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

/** What the studio, or the site, does for a page. @param {Page} page @param {string[]} said @param {boolean} isEmbedded @returns {Host} */
function hostOf(page, said, isEmbedded) {
  return {
    said,
    studio: true,
    file: isSite,
    go: (other, state = {}) =>
      (location.hash = `${other}${Object.keys(state).length ? `?${new URLSearchParams(state)}` : ""}`),
    isEmbedded,
    address: (state) => `${isSite ? here : `${location.origin}/`}#${page.name}${state ? `?${state}` : ""}`,
    embedded: page.kind === "studio" ? undefined : (state) => embedded(page.name, state),
    exportUrl:
      page.kind === "studio" || isSite
        ? undefined
        : (state) => `/export/${page.name}?state=${encodeURIComponent(JSON.stringify(state))}`,
  };
}

/** What another page may embed: a page of this site, or the file that Save writes; nobody may frame a studio. */
function embedded(name, state) {
  const behind = [...(state && isSite ? [state] : []), "embed=1"].join("&");
  return isSite
    ? { address: `${here}#${name}?${behind}`, note: "Embed code copied" }
    : {
        address: `nelbo-${name}.html#?${behind}`,
        note: `Embed code copied; it shows nelbo-${name}.html, which “Page as one HTML file” saves`,
      };
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
