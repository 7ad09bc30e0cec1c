"""Live training in a browser: real trainings of seconds, in processes of their own."""

import json

import pytest

from nelbo import load
from nelbo.studio.session import Session


@pytest.fixture
def studio(tmp_path, monkeypatch, serving):
    monkeypatch.chdir(tmp_path)
    return serving(Session())


def settings(**own):
    return json.dumps({"data": "digits", "binarize": "threshold", "limit": 200, "hidden": [16], **own})


def test_a_training_survives_its_page_and_ends_as_a_run(studio, visit, tmp_path):
    page = visit(studio.address(f"train?settings={settings(epochs=600)}"))
    page.wait_for_selector("[data-setting=epochs]")
    page.evaluate("() => { const b = document.querySelector('[data-do=start]'); b.click(); b.click(); }")  # two clicks
    page.wait_for_selector("text=/training: epoch [1-9]/")
    page.wait_for_function("() => document.querySelector('.strip.pairs')?.children.length === 32")
    page.close()
    page = visit(studio.address("train"))
    page.wait_for_selector("text=/training: epoch [1-9]/")  # found again
    page.click("[data-order=pause]")
    page.wait_for_selector("text=/paused: epoch/")
    page.click("[data-order=step]")
    page.click("[data-order=play]")
    page.wait_for_selector("text=/training: epoch/")
    page.click("[data-order=stop]")
    page.wait_for_selector("text=/interrupted: epoch/")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-vae"]
    record = json.loads((tmp_path / "runs/digits-vae/run.json").read_text())
    assert record["status"] == "interrupted"


def test_a_short_training_finishes_and_its_epochs_can_be_gone_through(studio, visit):
    page = visit(studio.address(f"train?settings={settings(epochs=3)}"))
    page.wait_for_selector("[data-setting=epochs]")
    page.click("[data-do=start]")
    page.wait_for_selector("text=/finished: epoch 3 of 3/")
    run = load("runs/digits-vae")
    assert len(run.history) == 3
    page.fill("[aria-label='Epoch shown']", "1")
    page.wait_for_selector("text=epoch 1: train")
    text = page.locator(".readout").first.inner_text()
    assert f"train {run.history[0]['train_reconstruction_error']:.2f}" in text
    page.wait_for_selector("text=/of 2 units in use/")
    kl = "[[1, [0.5, 0.2]], [2, [0.5, 0.005]], [3, [0.02, 0.02]], [5, [0.4, 0.001]], [6, [0.4, 0.002]]]"
    found = page.evaluate(f"async () => (await import('/pages/train/record.js')).collapses(new Map({kl}))")
    assert found == [{"unit": 1, "epoch": 5}]  # from there on, and for good
    page.click("[data-do=inspect]")
    page.wait_for_selector("[data-term=nelbo]")


def test_what_cannot_be_trained_is_said_and_numbers_are_clamped(studio, visit):
    page = visit(studio.address("train"))
    page.wait_for_selector("text=/The demo's runs are not made yet/")
    page.fill("[data-setting=epochs]", "-5")
    page.press("[data-setting=epochs]", "Tab")
    page.wait_for_selector("text=epochs must be at least 1; taken: 1")
    page.fill("[data-setting=data]", "nothere.csv")
    page.press("[data-setting=data]", "Tab")
    page.click("[data-do=start]")
    page.wait_for_selector("text=there is no set and no path 'nothere.csv'")
