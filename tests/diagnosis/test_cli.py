"""nelbo diagnose and nelbo explain as a user meets them."""

import json

import pytest

from nelbo.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    arguments = ["fit", "digits", "--binarize", "static", "--epochs", "8", "--hidden", "32", "--limit", "600"]
    assert main([*arguments, "--out", str(out)]) == 0
    return out


def test_it_prints_and_writes_findings(run, capsys):
    assert main(["diagnose", str(run), "--examples", "300"]) == 0
    said = capsys.readouterr().out
    assert "checks on 300 examples" in said
    written = json.loads((run / "findings.json").read_text())
    assert {"verdict", "findings", "passed", "skipped"} <= written.keys()


def test_json_is_the_same_as_the_file_and_strict_is_an_exit_status(run, capsys):
    status = main(["diagnose", str(run), "--json", "--strict", "--examples", "300"])
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((run / "findings.json").read_text())
    assert status == int(not printed["healthy"])


def test_explain_lists_and_explains(capsys):
    assert main(["explain"]) == 0
    assert "posterior-collapse" in capsys.readouterr().out
    assert main(["explain", "posterior-collapse"]) == 0
    assert "## What to change" in capsys.readouterr().out
    assert main(["explain", "collapse"]) == 1
    assert "There are: " in capsys.readouterr().err
