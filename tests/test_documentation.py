"""The words outside the code are executed too: README, docs, docstrings."""

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
import torch

import nelbo
from nelbo.likelihoods import LIKELIHOODS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "studio").glob("*.md")),
]
FINDINGS = sorted((ROOT / "src" / "nelbo" / "diagnosis" / "findings").glob("*.md"))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def with_checks(code):
    """The code, with a comparison for each line ``expression  # -> value``."""
    return re.sub(r"^(\S.*?)\s*# -> (.+)$", lambda m: f"check(({m[1]}), {m[2]!r})", code, flags=re.MULTILINE)


def check(value, text):
    """Compare a value with what the page says: a number in the digits written, a tensor by its shape."""
    value = value.detach() if isinstance(value, torch.Tensor) else value
    if text.startswith("("):
        several = isinstance(value, tuple) and not all(isinstance(part, int) for part in value)
        shapes = value if several else (value,)
        said = ", ".join(str(tuple(getattr(shape, "shape", shape))) for shape in shapes)
        assert said == text, f"{said}, but the page says {text}"
    elif re.fullmatch(r"-?[\d.]+", text):
        digits = len(text.partition(".")[2])
        assert round(float(value), digits) == float(text), f"{float(value)}, but the page says {text}"
    else:
        assert str(value) == text, f"{value}, but the page says {text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LIKELIHOODS, "constructors", dict(LIKELIHOODS.constructors))  # a page may register its own
    scope = {"__name__": "__main__", "check": check}  # one for the page, which is read from top to bottom
    for code in blocks(page, "python"):
        exec(compile(with_checks(code), str(page), "exec"), scope)


@pytest.mark.parametrize(
    ("code", "holds"),
    [
        ("20.004  # -> 20.00", True),
        ("20.006  # -> 20.00", False),
        ("torch.zeros(3, 4)  # -> (3, 4)", True),
        ("torch.zeros(3, 4).shape, torch.zeros(2).shape  # -> (3, 4), (2,)", True),
        ("torch.zeros(3, 4)  # -> (4, 3)", False),
        ("torch.tensor(64.2)  # -> 64", True),
        ("'normal'  # -> normal", True),
        ("'normal'  # -> poisson", False),
    ],
)
def test_values_in_comments_are_compared(code, holds):
    scope = {"torch": torch, "check": check}
    if holds:
        exec(with_checks(code), scope)
    else:
        with pytest.raises(AssertionError, match=r"but the page says"):
            exec(with_checks(code), scope)


@pytest.mark.parametrize("page", [*PAGES, *FINDINGS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def modules():
    return [m.name for m in pkgutil.walk_packages(nelbo.__path__, "nelbo.")]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def parts(given):
    """Names and values of what a command was given, flattened: numbers as floats, all else as text."""
    names, values = set(), []
    for name, value in given.items():
        if isinstance(value, dict):
            more_names, more_values = parts(value)
            names, values = names | more_names, values + more_values
            continue
        names.add(f"no_{name}" if value is False else name)
        if not isinstance(value, bool):
            values += value if isinstance(value, list | tuple) else [value]
    return names, sorted(map(as_word, values))


def as_word(value):
    try:
        return str(float(value))
    except (TypeError, ValueError):
        return str(value)


def test_commands_mean_what_they_say():
    """Every nelbo line of the documentation and of --help gives its command each flag and value that stands there."""
    from nelbo.cli import COMMANDS, app

    lines = [
        shlex.split(line, comments=True)
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
    ] + [shlex.split(line) for _, _, examples in COMMANDS.values() for line in examples]
    lines = [line for line in lines if line and line[0] == "nelbo" and "--help" not in line]
    assert len(lines) > 30
    for _, name, *words in lines:
        command, bound, *_ = app.parse_args([name, *words], exit_on_error=False, print_error=False)
        assert command.__name__ == COMMANDS[name][0].partition(":")[2]
        names, values = parts(bound.arguments)
        flags = {word.lstrip("-").replace("-", "_") for word in words if re.match("--?[a-z]", word)}
        assert flags <= names, words
        assert values == sorted(as_word(word) for word in words if not re.match("--?[a-z]", word)), words


def test_docstrings_hold_no_code_outside_of_examples():
    """A tool that rewraps docstrings has swallowed the lines below before."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    swallowed = [
        f"{path.name}: {line}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, documented)
        for line in (ast.get_docstring(node) or "").splitlines()
        if not line.lstrip().startswith((">>> ", "... ")) and re.search(r"\bdef \w+\(|# pyright:|# noqa", line)
    ]
    assert not swallowed
