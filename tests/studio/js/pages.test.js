// Small decisions of the pages: how long a training takes, where its axis ends, how runs are listed, how long a bar is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { arranged, isOrder } from "../../../src/nelbo/studio/static/pages/home/runs.js";
import { scales } from "../../../src/nelbo/studio/static/pages/report/measured.js";
import { epochTick, lastEpoch } from "../../../src/nelbo/studio/static/pages/train/curves.js";
import { duration, expected, remaining } from "../../../src/nelbo/studio/static/pages/train/pace.js";

test("durations in units that one can picture", () => {
  assert.deepEqual([0.2, 45, 100, 4000, 7200, 100_000].map(duration), [
    "1 s",
    "45 s",
    "2 min",
    "67 min",
    "2.0 h",
    "28 h",
  ]);
});

test("what is left of a training, by the epochs that it has done", () => {
  const run = { status: "training", of: 40, history: Array.from({ length: 10 }, (_, i) => ({ seconds: 3 * (i + 1) })) };
  assert.equal(remaining(run), "about 2 min left");
  assert.equal(remaining({ ...run, status: "finished" }), "");
  assert.equal(remaining({ ...run, history: [] }), "");
});

test("a new training takes as long an epoch as the last one like it", () => {
  const entries = [
    { title: "old", data: "digits", recipe: "vae", epochs: 10, seconds: 50 },
    { title: "new", data: "digits", recipe: "vae", epochs: 10, seconds: 20 },
    { title: "other", data: "digits", recipe: "beta_vae", epochs: 10, seconds: 900 },
    { title: "empty", data: "digits", recipe: "vae", epochs: 0, seconds: null },
  ];
  assert.equal(expected({ data: "digits", epochs: 30 }, entries), "30 epochs: about 60 s (new took 2 s an epoch)");
  assert.match(
    expected({ data: "digits", epochs: 30, recipe: "iwae" }, entries),
    /about 45 min \(other took 2 min an epoch/,
  );
  assert.equal(expected({ data: "mnist5k", epochs: 30 }, entries), "");
});

test("the axis of epochs ends a little beyond those that are done", () => {
  assert.equal(lastEpoch({ of: 100_000 }, [34]), 41);
  assert.equal(lastEpoch({ of: 30 }, [29]), 30);
  assert.equal(lastEpoch({ of: 30 }, []), 6);
  assert.equal(lastEpoch({ of: 3 }, []), 3);
  assert.equal(lastEpoch({ of: null }, [7]), 7);
  assert.equal(lastEpoch({ of: 10 }, [10, 60]), 60); // the run laid under
  assert.deepEqual([40, 2000, 1_500_000].map(epochTick), ["40", "2k", "1.5M"]);
});

test("runs are searched and sorted, those without a number last", () => {
  const entries = [
    { run: "runs/b", title: "b", recipe: "vae", latent: 2, data: "digits", terms: { kl: 3 } },
    { run: "runs/a", title: "a", recipe: "autoencoder", latent: 2, data: "/far/away/birds.csv", terms: { kl: null } },
    { run: "runs/c", title: "c", recipe: "vae", latent: 10, data: "digits", terms: { kl: 1 } },
    { run: "runs/d", title: "d", status: "damaged" },
  ];
  const titles = (filter, sort) =>
    arranged(entries, filter, sort)
      .map(({ title }) => title)
      .join("");
  assert.equal(titles("", ""), "bacd");
  assert.equal(titles("", "run"), "abcd");
  assert.equal(titles("", "-run"), "dcba");
  assert.equal(titles("", "KL"), "cbad");
  assert.equal(titles("", "-KL"), "bcad");
  assert.equal(titles("VAE digits", ""), "bc");
  assert.equal(titles("birds", ""), "a");
  assert.ok(isOrder("-total loss") && isOrder("") && !isOrder("open") && !isOrder("constructor"));
});

test("bars of a section reach from 0 to its largest number, by unit", () => {
  const number = (value, unit, error = null) => ({ held_out: { value, unit, standard_error: error } });
  const rows = [number(10, "nats", 2), number(-4, "nats"), number(null, "nats"), number(0.3, "share")];
  const found = scales({ rows: rows.map((values) => ({ values })) });
  assert.deepEqual(found.get("nats"), [-4, 12]);
  assert.deepEqual(found.get("share"), [0, 1]);
});
