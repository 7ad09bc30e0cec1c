"""nelbo measure and nelbo diagnose of a model from elsewhere, named as module:function."""

import json

import numpy as np
import pytest

from nelbo.cli import main
from nelbo.studio.in_memory import from_reference

QUICK = ("--effort", "quick", "--examples", "40", "--samples", "20")
MODULE = """
import torch
from torch import nn
from torch.nn import functional as F
import nelbo

class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(12, 4), nn.Linear(2, 12)
    def encode(self, x):
        return self.enc(x).chunk(2, -1)
    def decode(self, z):
        return torch.sigmoid(self.dec(z))
    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)), mu, logvar

def make():
    torch.manual_seed(0)
    return VAE()

def pair():
    model, x = make(), torch.bernoulli(torch.full((120, 12), 0.5))
    return nelbo.wrap(model, x=x, likelihood=nelbo.likelihoods.Bernoulli()), x

def trained():
    x = torch.bernoulli(torch.full((40, 12), 0.5))
    return nelbo.fit(nelbo.recipes.vae((12,), latent=2, hidden=(4,)), x, epochs=1, progress=False), x

def loss(recon_x, x, mu, logvar):
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), 1)
    return F.binary_cross_entropy(recon_x, x) + kl.mean()

class Unclear(VAE):
    forward = nn.Module.forward

def unclear():
    return Unclear()

def nothing():
    return 3

def needs(size):
    return VAE()

number = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "their_model.py").write_text(MODULE)
    (folder / "lacking.py").write_text("import no_such_package\n")
    np.save(folder / "x.npy", (np.random.default_rng(0).random((120, 12)) < 0.5).astype("float32"))
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_diagnose_weighs_a_loss(here, capsys):
    arguments = ["diagnose", "their_model:make", "--loss", "their_model:loss", "--data", "x.npy"]
    assert main([*arguments, "--json", "--out", "found"]) == 0
    printed = capsys.readouterr()
    findings = json.loads(printed.out)
    assert findings == json.loads((here / "found" / "findings.json").read_text())
    assert findings["findings"][0]["id"] == "reconstruction-mean"
    assert findings["examples"] == 120  # none are held out: nobody knows which it was trained on
    assert "assumed to be Bernoulli" in printed.err  # what was concluded of the model
    assert main([*arguments, "--strict"]) == 1
    assert "Not written: --out DIR keeps findings of a model that is no run" in capsys.readouterr().out
    assert not (here / "findings.json").exists()


def test_a_view_with_its_examples_needs_no_data(here, capsys):
    assert main(["diagnose", "their_model:pair", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["examples"] == 120
    assert printed.err == ""


def test_data_that_are_named_take_the_place_of_those_that_come_with_a_run(here):
    assert [len(from_reference("their_model:trained", data).data.train) for data in (None, "x.npy")] == [36, 120]


def test_measure(here, capsys):
    assert main(["measure", "their_model:make", "x.npy", "--loss", "their_model:loss", *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "= NELBO, the total loss" in printed
    assert "Not written: --out DIR" in printed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("their_model:make", "as (model, x), got VAE alone; or write their_model:make --data x.npy"),
        ("nowhere:f x.npy", "there is no module nowhere: neither installed nor in "),
        ("their_model.py:make x.npy", "write their_model:make"),
        ("lacking:make x.npy", "No module named 'no_such_package'"),
        ("their_model:mak x.npy", "their_model has no 'mak', did you mean 'make'?"),
        ("their_model:nothing x.npy", "their_model:nothing must return a model, or a model and its data"),
        ("their_model:needs x.npy", "must be a function without arguments (missing a required argument: 'size')"),
        ("their_model:number x.npy", "must be a function that returns a model, got int"),
        ("their_model:unclear x.npy", "log(1 + exp(h))): let unclear end with return nelbo.wrap(model, x=x, ...), x"),
        ("their_model:make x.npy --loss los", "got 'los', expected a function as in module:function"),
        ("their_model:make x.npy --loss their_model:los", "their_model has no 'los', did you mean 'loss'?"),
        ("their_model:make x.npy --loss their_model:number", "loss must be a function, got int"),
    ],
)
def test_what_does_not_fit_is_said(line, said, capsys):
    assert main(["diagnose", *line.split()]) == 1
    assert said in capsys.readouterr().err
