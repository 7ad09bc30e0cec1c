"""Rules of the house that are counted in the source."""

import ast
from pathlib import Path

import nelbo

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
