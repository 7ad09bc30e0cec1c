"""Rules of the house that are counted in the source."""

import ast
from pathlib import Path

import nelbo
from nelbo.devices import KINDS

SOURCE = Path(nelbo.__file__).parent
CLASSES = {"VAE", "Autoencoder", "Wrapped", "Adapted", "PointMass", "Delta", "Run", "Recipe"}


def asked(tree):
    """Lines that ask an object for one of these classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            names = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
            names |= {name.attr for name in ast.walk(node.args[1]) if isinstance(name, ast.Attribute)}
            if names & CLASSES:
                yield node.lineno


def test_models_are_rarely_asked_for_their_class():
    """What depends on the class of a model is a method of the model: everything takes the protocol."""
    found = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line in asked(ast.parse(path.read_text("utf-8")))
    ]
    assert len(found) <= 10, found


def test_the_count_sees_every_way_to_write_it():
    code = "isinstance(a, VAE)\nisinstance(b, nelbo.Run | int)\nisinstance(c, (int, Delta))\nisinstance(d, int)"
    assert list(asked(ast.parse(code))) == [1, 2, 3]


def named_devices(tree):
    """Lines of code that name a kind of accelerator, or seed all of a process at once; docstrings may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if owner in {"torch", "backends"} and node.attr in {*KINDS, "accelerator", "manual_seed"}:
                yield node.lineno
        elif isinstance(node, ast.Constant) and str(node.value).partition(":")[0] in KINDS:
            yield node.lineno


def test_one_module_knows_devices():
    """All else asks a tensor where it lies; a generator is seeded on the device that draws, see nelbo.randomness."""
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "devices.py"
        for line in named_devices(ast.parse(path.read_text("utf-8")))
    }
    assert not found
    code = (
        "torch.cuda.x\ntorch.backends.mps.y\nd.type == 'cuda'\nd == 'cuda:1'\n'on cuda'\ntorch.manual_seed(0)\nx.cuda"
    )
    assert sorted(named_devices(ast.parse(code))) == [1, 2, 3, 4, 6]
