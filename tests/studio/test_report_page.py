"""The report of a run: what was measured and found, the inspector below, and all of it in one file."""

import json
import shutil

import pytest

from nelbo.studio.exporting import export_page
from nelbo.studio.session import Session

# as nelbo.measure writes measure.json and nelbo.diagnosis findings.json
MEASURED = {
    "title": "kept",
    "facts": {"model": "VAE, latent 2"},
    "sections": [
        {
            "id": "loss",
            "title": "What is the loss made of?",
            "finding": "The loss is 21.30 nats.",
            "quantities": [
                {
                    "id": "nelbo",
                    "label": "NELBO",
                    "unit": "nats",
                    "meaning": "the total loss",
                    "held_out": {"value": 21.304, "standard_error": 0.21, "method": "monte_carlo"},
                },
                {
                    "id": "kl",
                    "label": "KL",
                    "unit": "nats",
                    "meaning": "of an autoencoder",
                    "held_out": {"value": None, "standard_error": 0.0, "method": ""},
                },
            ],
            "notes": ["few examples"],
        }
    ],
}
FOUND = {
    "verdict": "1 warning in 12 checks on 200 examples.",
    "findings": [
        {
            "id": "unused-units",
            "title": "one unit carries nothing",
            "severity": "warning",
            "evidence": [{"what": "KL of unit 2", "value": 0.001, "standard_error": 0.0002, "unit": "nats"}],
            "meaning": "It could be left out.",
            "change": "latent=1",
            "source": "Burda et al. 2016",
            "cost_nats": None,
        }
    ],
    "passed": [],
    "skipped": {"effective-beta": "no loss was given"},
}


@pytest.fixture
def folder(run_folder, tmp_path):
    shutil.copytree(run_folder / "first", tmp_path / "kept")
    return tmp_path


def test_what_was_not_measured_is_said(folder, serving, visit):
    served = serving(Session([folder]))
    page = visit(served.address("report"))
    page.wait_for_selector("text=/not measured yet: nelbo measure|This nelbo has no nelbo.measure/i")
    page.wait_for_selector("[data-term=nelbo]")  # the inspector is there all the same
    answer = served.session.ask({"kind": "report.make", "id": 1, "run": str(folder / "kept"), "effort": "endless"})
    assert "effort is one of quick, normal, thorough" in answer.content["error"]


def test_what_was_measured_and_found_is_shown_and_travels(folder, serving, visit, tmp_path):
    (folder / "kept" / "measure.json").write_text(json.dumps(MEASURED))
    (folder / "kept" / "findings.json").write_text(json.dumps(FOUND))
    session = Session([folder])
    (tmp_path / "report.html").write_text(export_page(session, "report", {}), "utf-8")
    for address in (serving(session).address("report"), (tmp_path / "report.html").as_uri()):
        page = visit(address)
        page.wait_for_selector("text=1 warning in 12 checks")
        page.wait_for_selector("text=Warning: one unit carries nothing")
        page.wait_for_selector("text=KL of unit 2: 0.0010 ± 0.0002 nats")
        assert page.locator("td", has_text="21.30 ± 0.21").count() == 1
        assert page.locator("td", has_text="∞").count() == 1
        page.wait_for_function("() => /\\d/.test(document.querySelector('[data-term=kl]')?.textContent ?? '')")


def test_the_report_with_figures_opens(folder, serving, visit):
    (folder / "kept" / "measure.json").write_text(json.dumps(MEASURED))
    (folder / "kept" / "report.html").write_text("<!doctype html><title>r</title><h1>With figures</h1>")
    served = serving(Session([folder]))
    page = visit(served.address("report"))
    with page.expect_popup() as opened:
        page.click("text=Open the report with figures")
    assert opened.value.locator("h1").inner_text() == "With figures"
    for run in ("nowhere", "..", ""):  # nothing but the runs it knows
        answer = page.request.get(f"{served.origin}/report?run={run}")
        assert (answer.status, "no run" in answer.text()) == (404, True)


def test_a_damaged_report_is_said(folder, serving, visit):
    (folder / "kept" / "measure.json").write_text('{"sections": [')
    (folder / "kept" / "findings.json").write_text('{"verdict": 3}')
    page = visit(serving(Session([folder])).address("report"))
    page.wait_for_selector("text=/measure.json is not JSON/")
    page.wait_for_selector("text=/findings.json is damaged or not of this nelbo: it has no 'verdict'/")
