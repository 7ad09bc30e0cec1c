"""The words outside the code are executed too: README, docs, docstrings."""

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import nelbo
from nelbo.likelihoods import LIKELIHOODS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "studio").glob("*.md"))]
FINDINGS = sorted((ROOT / "src" / "nelbo" / "diagnosis" / "findings").glob("*.md"))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LIKELIHOODS, "constructors", dict(LIKELIHOODS.constructors))  # a page may register its own
    scope = {"__name__": "__main__"}  # one for the page, which is read from top to bottom
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), scope)


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


def test_commands_parse():
    """Every nelbo line of the documentation and of --help names a command and flags that exist."""
    from nelbo.cli import COMMANDS, app

    lines = [
        shlex.split(line, comments=True)
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
    ] + [shlex.split(line) for _, _, examples in COMMANDS.values() for line in examples]
    for words in (line for line in lines if line and line[0] == "nelbo"):
        app.parse_args(words[1:], exit_on_error=False, print_error=False)


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
