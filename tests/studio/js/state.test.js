// States as text and numbers as words: what a link, a file and a notebook carry.

import assert from "node:assert/strict";
import { test } from "node:test";
import { literal, nats, number, rounded, tick, ticks } from "../../../src/nelbo/studio/static/core/format.js";
import { pack, unpack } from "../../../src/nelbo/studio/static/core/link.js";
import { PAGES } from "../../../src/nelbo/studio/static/core/pages.js";
import { checked, fromText, toText } from "../../../src/nelbo/studio/static/core/state.js";
import { settled } from "../../../src/nelbo/studio/static/pages/inspector/settle.js";
import { ask, asking, localModel } from "../../../src/nelbo/studio/static/core/store.js";

const page = {
  defaults: { mu: 0, family: "normal", running: false, z: [], settings: {} },
  limits: { mu: [-5, 5], family: ["normal", "skew"] },
  check: { z: (value) => value.every(Number.isFinite) },
};

test("a state survives as text", () => {
  const state = { mu: -1.5, family: "skew", running: true, z: [1, -2.5], settings: { hidden: [64], name: "ä & b=c" } };
  const { values, said } = fromText(page, toText(page, state));
  assert.deepEqual(values, state);
  assert.deepEqual(said, []);
  assert.equal(toText(page, page.defaults), "");
});

test("every page's defaults are within its limits", () => {
  for (const { defaults = {}, limits = {} } of Object.values(PAGES))
    for (const [name, value] of Object.entries(defaults))
      assert.deepEqual(checked({ defaults, limits }, name, value), [value, null], name);
});

test("what cannot be is said, and replaced", () => {
  const cases = [
    ["mu=7", { mu: 5 }, /mu = 7 is outside -5 … 5/],
    ["mu=", {}, /mu is a number/],
    ["mu=−2,5", { mu: -2.5 }, null], // as people type it
    ["family=cauchy", {}, /family is one of normal, skew/],
    ["z=[1,null]", {}, /z cannot be read/],
    ["z=[1", {}, /z cannot be read/],
    ["settings=[]", {}, /settings cannot be read/],
    ["colour=red", {}, /“colour” is no setting of this page/],
  ];
  for (const [text, expected, words] of cases) {
    const { values, said } = fromText(page, text);
    assert.deepEqual(values, { ...page.defaults, ...expected }, text);
    if (words) assert.match(said.join(), words);
    else assert.deepEqual(said, []);
  }
});

test("numbers as people read them", () => {
  const cases = {
    0: "0",
    1234.4: "1234",
    0.00123456: "0.001235",
    "-2": "−2.000",
    1e-7: "1.00·10⁻⁷",
    12345678: "1.23·10⁷",
  };
  for (const [value, text] of Object.entries(cases)) assert.equal(number(Number(value)), text);
  assert.deepEqual(
    [NaN, null, Infinity, -Infinity].map((v) => number(v)),
    ["–", "–", "∞", "−∞"],
  );
  assert.equal(nats(Math.LN2, "bits"), "1.000");
  assert.deepEqual([1, 0.5, 1e-7, Infinity].map(literal), ["1.0", "0.5", "1e-7", "math.inf"]);
  assert.equal(rounded(0.1 + 0.2, 0.1), 0.3);
  assert.deepEqual(ticks(-0.3, 0.3, 4).map(tick), ["−0.2", "0", "0.2"]);
  assert.deepEqual(ticks(1, 1), []);
});

test("frames pass both ways, with their buffers where they were", () => {
  const buffers = [new Uint8Array([1, 2, 3]).buffer, new Float64Array([0.5]), new ArrayBuffer(0)];
  const [content, parts] = unpack(pack({ kind: "x", text: "µ" }, buffers));
  assert.deepEqual(content, { kind: "x", text: "µ" });
  assert.deepEqual(
    parts.map((part) => part.byteLength),
    [3, 8, 0],
  );
  assert.equal(parts[1].byteOffset % 8, 0);
  assert.equal(parts[1].getFloat64(0, true), 0.5);
});

test("a question gets its own answer, and the newest of many wins", async () => {
  const sent = [];
  const model = localModel({}, { send: (content) => sent.push(content) });
  const [first, second] = [ask(model, "x"), ask(model, "x")];
  model.receive({ id: sent[1].id, value: 2 }, []);
  model.receive({ id: sent[0].id, error: "no" }, []);
  assert.equal((await second).content.value, 2);
  await assert.rejects(first, /no/);

  const heard = [];
  const again = asking(model, "y", ({ content }) => heard.push(content.n));
  for (let n = 0; n < 5; n++) again({ n });
  for (let k = 0; k < 4; k++) {
    const { id, n } = sent.at(-1);
    model.receive({ id, n }, []);
    await new Promise((done) => setTimeout(done));
  }
  assert.deepEqual(heard, [4]);
  assert.deepEqual(
    sent.filter(({ kind }) => kind === "y").map(({ n }) => n),
    [0, 4],
  );
});

test("a link is brought into what a run has", () => {
  const source = {
    n: 20,
    latent: 3,
    labels: Float32Array.of(1, 6, 6),
    info: { label_names: [..."0123456"], principal: null },
  };
  const views = { view: [], other_view: [] };
  const state = { pins: [3, 99], active: 1, axes: [0, 2], z: [1e9, 0, 0], q: [0, 0, 1, 0.5], lasso: [], ...views };
  const { change, said } = settled(state, source);
  assert.deepEqual(change, { pins: [3], active: 0, projection: "units", z: [1000, 0, 0], q: state.q, lasso: [] });
  assert.deepEqual(said, [
    "Examples are 0 to 19; others were left out",
    "z holds numbers from −1000 to 1000; others were clamped",
  ]);
  const none = { pins: [], active: 0, axes: [0, 3], z: [1], q: [0, 0, 1, 0], lasso: [], view: [0, 0], other_view: [0] };
  const other = settled(none, source).change;
  const { pins, axes, z, q, view, other_view } = other;
  assert.deepEqual([pins, axes, z, q, view, other_view], [[1], [], [], [], [], []]);
});
