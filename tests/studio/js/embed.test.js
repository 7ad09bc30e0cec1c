// Addresses of embedded views, and the lines that show a view elsewhere.

import assert from "node:assert/strict";
import { test } from "node:test";
import { iframe, notebookLines, parted } from "../../../src/nelbo/studio/static/core/embed.js";
import { PAGES } from "../../../src/nelbo/studio/static/core/pages.js";
import { checked } from "../../../src/nelbo/studio/static/core/state.js";

test("what is not the page's own is taken out of a state", () => {
  assert.deepEqual(parted("mu_p=1&points=[[1,2]]"), { step: 0, isEmbedded: false, text: "mu_p=1&points=[[1,2]]" });
  assert.deepEqual(parted("embed=1&mu_p=1"), { step: 0, isEmbedded: true, text: "mu_p=1" });
  assert.deepEqual(parted("step=3&mu_p=1"), { step: 3, isEmbedded: false, text: "mu_p=1" });
});

test("an address in a line of HTML ends where it ends", () => {
  const line = iframe({ title: "KL" }, 'x.html#?a="b"&c=<d>&embed=1');
  assert.match(line, /src="x\.html#\?a=&quot;b&quot;&amp;c=&lt;d>&amp;embed=1"/);
});

test("the lines for a notebook are Python", () => {
  const page = { widget: "ElboLab", defaults: PAGES.elbo.defaults };
  const state = { ...page.defaults, m: 0.25, model: "square", points: [[1, 2]], bookmarks: [["a", "m=1"]] };
  const written =
    'from nelbo.widgets import ElboLab\n\nElboLab(model="square", m=0.25, points=[[1,2]], bookmarks=[["a","m=1"]])';
  assert.equal(notebookLines(page, state), written);
  const running = { ...PAGES.kl.defaults, running: true };
  assert.match(notebookLines({ widget: "KLExplorer", defaults: PAGES.kl.defaults }, running), /\(running=True\)/);
});

test("saved views that are none are told apart", () => {
  const page = { defaults: PAGES.kl.defaults };
  assert.deepEqual(checked(page, "bookmarks", '[["a","mu_p=1"]]'), [[["a", "mu_p=1"]], null]);
  assert.deepEqual(checked(page, "bookmarks", "[[1,2]]")[0], []);
});
