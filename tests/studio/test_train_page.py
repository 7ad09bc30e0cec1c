"""Live training in a browser: real trainings of seconds, in processes of their own."""

import json
import shutil

import pytest

import nelbo
from nelbo import load
from nelbo.studio.session import Session
from nelbo.studio.train import Jobs


@pytest.fixture
def studio(tmp_path, monkeypatch, serving):
    monkeypatch.chdir(tmp_path)
    return serving(Session())


def settings(**own):
    return json.dumps({"data": "digits", "binarize": "threshold", "limit": 200, "hidden": [16], **own})


def test_a_training_survives_its_page_and_ends_as_a_run(studio, visit, tmp_path):
    page = visit(studio.address(f"train?settings={settings(epochs=100_000)}"))
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
    page.wait_for_selector("text=/Starting: (importing torch|loading the data|making the model)/")
    page.wait_for_selector(".columns.three svg.plot")  # the axes are there at once
    page.wait_for_selector("text=/finished: epoch 3 of 3/")
    page.wait_for_selector("text=/3 epochs: about \\d+ s .digits-vae took/")
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


def test_the_first_look_is_a_vae_few_epochs_are_points_and_one_unit_is_a_strip(run_folder, serving, visit, tmp_path):
    shutil.copytree(run_folder / "first", tmp_path / "first")
    digits = nelbo.data.load("digits", binarize="threshold", limit=100)
    for recipe, name in ((nelbo.recipes.vae, "strip"), (nelbo.recipes.autoencoder, "late")):
        model = recipe(digits.event_shape, latent=1, hidden=(8,))
        nelbo.fit(model, digits, epochs=1, out=tmp_path / name, progress=False)
    served = serving(Session([tmp_path]))
    page = visit(served.address("train"))
    page.wait_for_selector("text=/finished: epoch 1 of 1/")
    assert page.locator("select[aria-label=Run]").input_value().endswith("strip")
    page.wait_for_selector("text=up and down, the points are only kept apart")
    assert page.locator(".dots circle:visible").count() == 6  # both parts, three panels
    page.select_option("select[aria-label=Run]", label="first, latent 2")
    page.wait_for_selector("text=/finished: epoch 2 of 2/")
    page.wait_for_function("() => document.querySelectorAll('.dots circle').length === 12")
    page.wait_for_selector("text=/ of 2 units carry/")
    assert page.locator("text=only kept apart").count() == 0


def test_no_training_starts_from_a_value_that_its_field_cannot_hold(studio, visit):
    page = visit(studio.address("train"))
    page.wait_for_selector("text=/The demo's runs are not made yet/")
    for name, typed, why in (
        ("epochs", "-5", "epochs must be an integer at least 1, got “-5”"),
        ("epochs", "2.5", "epochs must be an integer at least 1, got “2.5”"),
        ("latent", "0", "latent must be an integer between 1 and 512, got “0”"),
        ("hidden", "40 x", "hidden widths must be positive integers such as 400 200, got “40 x”"),
        ("learning_rate", "fast", "learning rate must be a number"),
    ):
        field = f"[data-setting={name}]"
        before = page.input_value(field)
        page.fill(field, typed)
        page.press(field, "Tab")
        page.wait_for_selector(f"#why-{name}:has-text('{why}')")
        page.click("[data-do=start]")
        page.wait_for_selector(f".note:has-text('{why}')")
        assert page.evaluate("document.activeElement.dataset.setting") == name
        assert page.input_value(field) == typed
        assert page.get_attribute(field, "aria-invalid") == "true"
        page.fill(field, before)
        page.press(field, "Tab")
        assert not page.is_visible(f"#why-{name}")
    assert not Jobs.of(studio.session).jobs
    page.fill("[data-setting=data]", "nothere.csv")
    page.press("[data-setting=data]", "Tab")
    page.click("[data-do=start]")
    page.wait_for_selector("text=there is no set and no path 'nothere.csv'")
