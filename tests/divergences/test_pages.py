"""The pages say what the program says."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate_docs"] = module
    spec.loader.exec_module(module)
    return module


def test_table_of_closed_forms_is_current():
    g = generator()
    page = DOCS / "divergences.md"
    assert page.read_text() == g.replace(page, "closed forms", g.pairs_table()), (
        "run python docs/generate.py divergences"
    )


def test_notebook_is_the_worksheet():
    g = generator()
    assert g.NOTEBOOK.read_text() == g.notebook(), "run python docs/generate.py notebook"


@pytest.mark.slow
def test_notebook_runs_from_top_to_bottom(capsys):
    cells = json.loads(generator().NOTEBOOK.read_text())["cells"]
    scope = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), scope)  # our own page
    assert "gap by Jensen" in capsys.readouterr().out


@pytest.mark.slow
def test_table_of_axioms_is_current():
    g = generator()
    page = DOCS / "axioms.md"
    assert page.read_text() == g.replace(page, "verdicts", g.axioms_table()), "run python docs/generate.py axioms"
