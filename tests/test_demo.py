"""The demo: what it writes, and that its words follow from its numbers."""

import dataclasses
import importlib
import re

import pytest
import torch

from nelbo import demo
from nelbo.cli import demo as demo_command
from nelbo.cli import main
from nelbo.devices import accelerator
from nelbo.estimate import Estimate
from nelbo.figures.comparing import loss_in_words
from nelbo.objectives import loss


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    data = demo.load_data()
    runs = demo.train(data, tmp_path_factory.mktemp("demo"), epochs=1, progress=False)
    position = demo.pick(data.validation, digit=6)
    return [demo.measure(name, run, data.validation, position) for name, run in runs.items()]


@pytest.mark.device
def test_one_command_writes_the_runs_and_the_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    # the reports on fewer examples: what they hold is tested in tests/measure
    for name, few in (("_EXAMPLES", 100), ("_EVIDENCE_ON_A_GRID", 20), ("_GAPS", 3), ("_MATCHED", 50)):
        monkeypatch.setattr(f"nelbo.measure.context.{name}", (few, few, few))
    # its package names a function like the module
    monkeypatch.setattr(importlib.import_module("nelbo.measure.sections.gaps"), "_STEPS", (20, 20, 20))
    assert main(["demo", "--out", str(tmp_path), "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        "comparison.png",
        "latent-grid.png",
        "samples.png",
        "loss-curves.png",
    }
    assert all((tmp_path / name / "weights.safetensors").exists() for name in demo.MODELS)
    assert all((tmp_path / name / "report.html").exists() for name in (".", *demo.MODELS))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert all(f'href="{name}/report.html"' in page for name in demo.MODELS)
    assert "…" not in printed  # nothing is cut off in a narrow terminal
    assert "∞" in printed
    if accelerator() is not None:
        return  # what follows finds the files of a device as it finds those of a CPU
    reports = [(tmp_path / name / "report.html").stat().st_mtime_ns for name in demo.MODELS]
    weights = [(tmp_path / name / "weights.safetensors").stat().st_mtime_ns for name in demo.MODELS]
    assert main(["demo", "--out", str(tmp_path), "--epochs", "1", "--index", "3"]) == 0
    assert "index 3" in capsys.readouterr().out
    assert reports == [(tmp_path / name / "report.html").stat().st_mtime_ns for name in demo.MODELS]
    assert weights == [(tmp_path / name / "weights.safetensors").stat().st_mtime_ns for name in demo.MODELS]
    assert main(["demo", "--out", str(tmp_path), "--epochs", "2"]) == 1
    assert "or write --epochs 1" in capsys.readouterr().err


def test_the_numbers_of_the_digit_are_those_of_nelbo_loss(measured):
    data = demo.load_data()
    x = data.validation.take([demo.pick(data.validation, digit=6)])
    for model in measured:
        torch.manual_seed(0)
        with torch.no_grad():
            draws = torch.stack([loss(model.run.model, x).reconstruction_error for _ in range(400)])
            kl = float(loss(model.run.model, x).kl)
        error = float(draws.std()) / 20 + model.one.standard_error
        assert abs(float(draws.mean()) - model.one.reconstruction_error) <= 5 * error + 1e-3
        assert model.one.kl == pytest.approx(kl)


def test_the_sentences_name_the_models_with_the_extreme_values(measured):
    first, second, third = demo.compare(measured, "held-out digit 6 (index 1)")
    highest = max(measured, key=lambda m: m.one.reconstruction_error)
    shown = Estimate.number(highest.one.reconstruction_error, highest.one.standard_error).text
    assert f"the {highest.title} has the highest reconstruction error: {shown} nats" in first  # as figures show it
    assert shown.partition(" ±")[0] in "".join(text for text, *_ in loss_in_words(highest.one))
    bounds = [m for m in measured if not m.is_point]
    assert f"The {max(bounds, key=lambda m: m.one.kl).title} has the higher KL" in second
    assert "Autoencoder has no KL term" in third
    printed = [demo_command._cell(float(term), term.error) for model in measured for term in model.held_out]
    assert printed == [term.text for model in measured for term in model.held_out]  # as in the report


def test_the_reasons_turn_with_the_numbers(measured):
    """Swap the two VAEs' numbers: the sentences must follow, because nothing in them is fixed."""
    _, vae, beta = measured
    swapped = [
        dataclasses.replace(vae, one=beta.one),
        dataclasses.replace(beta, one=vae.one),
    ]
    for models in ([vae, beta], swapped):
        first, second = demo.compare(models, "it")
        by_error = max(models, key=lambda m: m.one.reconstruction_error)
        by_kl = max(models, key=lambda m: m.one.kl)
        assert by_error.title in first.split(" has the highest reconstruction error")[0]
        assert by_kl.title in second.split(" has the higher KL")[0]
        low = min(models, key=lambda m: m.one.kl)
        parts = [float(part) for part in re.findall(r"makes ([+-]\d+\.\d)", second)]
        assert sum(parts) == pytest.approx(by_kl.one.kl - low.one.kl, abs=0.11)  # each is rounded to a tenth


def test_the_parts_of_the_kl_add_up(measured):
    """mu^2 / 2 and (sigma^2 - 1) / 2 - log sigma, as the sentence splits it, sum to the KL."""
    for model in (m for m in measured if not m.is_point):
        place = 0.5 * float(model.mu.square().sum())
        width = float((0.5 * (model.sigma.square() - 1) - model.sigma.log()).sum())
        assert place + width == pytest.approx(model.one.kl, rel=1e-4, abs=1e-6)


def test_mistakes(capsys, tmp_path):
    data = demo.load_data()
    with pytest.raises(ValueError, match="--index must be from 0 to 999"):
        demo.pick(data.validation, index=1000)
    with pytest.raises(ValueError, match="--digit must be one of the labels 0 to 9, got 12"):
        demo.pick(data.validation, digit=12)
