"""The report of a run: what was measured and found, the inspector below, and all of it in one file."""

import math
import re
import shutil
from pathlib import Path

import pytest

import nelbo
from nelbo.estimate import Estimate
from nelbo.files import write_json
from nelbo.report import MEASURES, Finding, Findings, Report, Row, Section
from nelbo.studio.exporting import export_page
from nelbo.studio.session import Session

MEASURED = Report(
    "kept",
    (("model", "VAE, latent 2"),),
    {},
    (
        Section(
            "loss",
            "What is the loss made of?",
            "",
            "The loss is 21.30 nats.",
            (
                Row("nelbo", "NELBO", "The total loss.", {"held_out": Estimate.number(21.304, 0.21, "monte_carlo")}),
                Row("kl", "KL", "Of an autoencoder.", {"held_out": Estimate.number(math.inf)}),
            ),
            notes=("few examples",),
        ),
    ),
)
FOUND = Findings(
    (
        Finding(
            "unused-units",
            "one unit carries nothing",
            "warning",
            (Estimate.number(0.001, 0.0002, label="KL of unit 2"),),
            "It could be left out.",
            "latent=1",
            "Burda et al. 2016",
        ),
    ),
    skipped={"effective-beta": "no loss was given"},
    examples=200,
)


@pytest.fixture
def folder(run_folder, tmp_path):
    shutil.copytree(run_folder / "first", tmp_path / "kept")
    return tmp_path


def test_what_was_not_measured_is_said(folder, serving, visit):
    served = serving(Session([folder]))
    page = visit(served.address("report"))
    page.wait_for_selector("text=/not measured yet: nelbo measure/i")
    page.wait_for_selector("[data-term=nelbo]")  # the inspector is there all the same
    assert page.locator(".figure [data-do=measure]").inner_text() == "Measure and diagnose"  # in its place
    answer = served.session.ask({"kind": "report.make", "id": 1, "run": str(folder / "kept"), "effort": "endless"})
    assert "effort is one of quick, normal, thorough" in answer.content["error"]


def test_what_was_measured_and_found_is_shown_and_travels(folder, serving, visit, tmp_path):
    write_json(folder / "kept" / MEASURES, MEASURED.to_dict())
    FOUND.save(folder / "kept")
    session = Session([folder])
    (tmp_path / "report.html").write_text(export_page(session, "report", {}), "utf-8")
    for address in (serving(session).address("report"), (tmp_path / "report.html").as_uri()):
        page = visit(address)
        page.wait_for_selector("text=1 warning in 1 check on 200 examples")
        page.wait_for_selector("text=Warning: one unit carries nothing")
        page.wait_for_selector("text=KL of unit 2: 0.00100 ± 0.00020 nats")
        assert page.locator("td", has_text="21.30 ± 0.21 nats").count() == 1
        assert page.locator("td", has_text="∞").count() == 1
        assert page.locator(".number-bar").count() == 1  # not of what is infinite
        bar = page.locator(".number-bar .length").evaluate("(e) => parseFloat(e.style.width)")
        assert bar == pytest.approx(100 * 21.304 / 21.514, abs=0.1)
        code = page.locator(".finding pre")
        assert code.evaluate("(e) => e.scrollWidth <= e.clientWidth")
        page.wait_for_function("() => /\\d/.test(document.querySelector('[data-term=kl]')?.textContent ?? '')")
        page.click("[data-evidence=unused-units]")  # where it is seen: the KL of each unit of an example
        page.wait_for_selector(".unit-kl tbody tr")
        assert page.locator("select[aria-label='Colour by']").input_value() == "kl"


def test_the_report_with_figures_opens(folder, serving, visit):
    write_json(folder / "kept" / MEASURES, MEASURED.to_dict())
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


def test_every_finding_has_its_evidence_where_there_is_such_a_finding():
    known = {file.stem for file in (Path(nelbo.__file__).parent / "diagnosis" / "findings").glob("*.md")}
    text = (Path(nelbo.__file__).parent / "studio/static/pages/report/evidence.js").read_text("utf-8")
    pages = {"train", "inspector", "prior", "holes", "aggregate", "pictures"}
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', text))
    assert named - pages <= known
    assert len(named) > 20
