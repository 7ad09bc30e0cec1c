"""Models that nelbo did not train, in the inspector: from Python and from the shell."""

import re
import threading

import pytest
import torch

import nelbo
from nelbo.cli import main
from nelbo.studio import in_memory, server
from tests.studio.reading import number, shown

SCRIPT = """
import nelbo, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(6, 4), nn.Linear(2, 6)
    def encode(self, x):
        return self.enc(x).chunk(2, -1)
    def decode(self, z):
        return torch.sigmoid(self.dec(z))

def made():
    torch.manual_seed(0)
    net, x = Net(), (torch.rand(60, 6) > 0.5).float()
    bernoulli = nelbo.likelihoods.Bernoulli()
    view = nelbo.wrap(encode=net.encode, decode=net.decode, x=x, scale="logvar", likelihood=bernoulli)
    return view, (x, torch.arange(60) % 3)

def nothing():
    return 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return "my_model:made"


@pytest.fixture
def started(monkeypatch):
    """The address that a studio prints, once it listens; it ends with the test."""
    running = []

    class Server(server.uvicorn.Server):
        def run(self, sockets):
            running.append(self)
            return super().run(sockets=sockets)

    monkeypatch.setattr(server.uvicorn, "Server", Server)

    def start(function, capsys):
        thread = threading.Thread(target=function, daemon=True)
        thread.start()
        while not (running and running[0].started):
            assert thread.is_alive()
            thread.join(0.05)
        return re.search(r"http\S+", capsys.readouterr().out)[0]

    yield start
    for each in running:
        each.should_exit = True


def test_a_wrapped_model_opens_from_python(module, started, visit, capsys):
    run = in_memory.from_reference(module)
    data = (run.data.train.take(range(len(run.data.train))), None)
    page = visit(started(lambda: nelbo.studio.show(run.model, data[0], port=0, open=False), capsys))
    with torch.no_grad():
        first = nelbo.data.as_data(data[0]).validation.take([0])
        assert number(shown(page, "kl")) == pytest.approx(float(nelbo.loss(run.model, first).kl), rel=1e-3)
    assert page.locator(".example-row h2").inner_text() == "Net"


def test_a_function_of_a_module_opens_from_the_shell(module, started, visit, capsys):
    page = visit(started(lambda: main(["studio", module, "--port", "0", "--no-open"]), capsys))
    shown(page, "nelbo")
    assert page.locator(".example-row h2").inner_text() == "Net"


def test_what_cannot_be_shown_is_said(module):
    with pytest.raises(ValueError, match=r"must name a function as in module:function, .*nowhere"):
        in_memory.from_reference("nowhere:f")
    with pytest.raises(ValueError, match=r"my_model:nothing must return a model and its data as \(model, x\), got int"):
        in_memory.from_reference("my_model:nothing")
    with pytest.raises(TypeError, match=r"data must be given .* nelbo\.studio\.show\(model, x\)"):
        nelbo.studio.show(nelbo.recipes.vae((6,)))
