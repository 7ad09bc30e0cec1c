"""The report as data, as a table, as a page."""

import json
import math
import re
import warnings
from html.parser import HTMLParser

import pytest
import rich
import torch

from nelbo import measure, recipes
from nelbo.data import Data, InMemory, Preparation
from nelbo.estimate import Estimate
from nelbo.measure import elbo_terms
from nelbo.training import fit
from tests.cases import counts, real

SETTINGS = {"effort": "quick", "examples": 40}


@pytest.fixture(scope="module")
def report(runs):
    return measure.report(runs[0], **SETTINGS)


@pytest.fixture(scope="module")
def page(report):
    return report.to_html()


class Reader(HTMLParser):
    """What a page holds, and whether its tags close."""

    VOID = ("meta", "br", "img", "hr", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href", "src"):
                self.references.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def test_quantities_are_those_of_their_functions(report, runs, digits):
    x = digits.validation.take(len(digits.validation))
    assert report.settings == {
        "run": str(runs[0].path),
        "data": None,
        "split": "validation",
        "effort": "quick",
        "seed": 0,
        "examples": 40,
        "samples": 200,
    }
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:40]
    terms = elbo_terms(runs[0].model, digits.validation.take(rows))
    assert float(report["nelbo"].held_out) == pytest.approx(-float(Estimate.mean_of(terms.elbo)))
    evidence = measure.log_evidence(runs[0].model, digits.validation.take(rows))
    assert float(report["log_evidence"].held_out) == pytest.approx(float(evidence.value.mean()), abs=1e-4)
    gap = float(report["log_evidence"].held_out) - float(report["elbo"].held_out)
    assert float(report["gap"].held_out) == pytest.approx(gap)
    assert float(report["gap"].held_out) > 0
    assert float(report["active_units"].training) <= 2
    parts = [float(report[name].training) for name in ("mutual_information", "total_correlation", "dimension_wise_kl")]
    assert sum(parts) == pytest.approx(float(report["sampled_kl"].training))


def test_every_quantity_says_how_and_what(report):
    assert len({row.id for row in report.rows}) == len(report.rows) > 20
    for row in report.rows:
        assert len(row.meaning) > 15, row.id
        assert row.meaning.endswith("."), row.id
        assert row.first.error >= 0, row.id
    for section in report.sections:
        assert section.finding.endswith("."), section.id
        assert section.lead.endswith("."), section.id


def test_unknown_quantity(report):
    with pytest.raises(KeyError, match=r"no 'fid' in this report\. It has reconstruction_error, kl"):
        report["fid"]


def test_json_holds_everything_and_reads_back(report, tmp_path):
    path, page = report.save(tmp_path)
    read = json.loads(path.read_text())
    assert read == json.loads(report.to_json())
    assert read["complete"] is True
    assert [row["id"] for section in read["sections"] for row in section["rows"]] == [row.id for row in report.rows]
    assert page.stat().st_size < 5e6
    assert {p.name for p in tmp_path.iterdir()} == {"measure.json", "report.html"}


def test_the_page_stands_alone(page, report):
    reader = Reader(page)
    assert not reader.open  # every tag closes
    assert len(reader.ids) == len(set(reader.ids))
    outside = [ref for ref in reader.references if not ref.startswith(("#", "data:"))]
    assert not outside
    assert "<script" not in page
    assert "@import" not in page
    targets = {ref[1:] for ref in reader.references if ref.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert targets <= set(reader.ids)
    text = " ".join(reader.text)
    for row in report.rows:
        assert row.label in text
        assert row.meaning in text
    assert report.settings["split"] in text


def test_figures_follow_the_theme(page):
    """Ink on paper is no fixed colour, or it would vanish in the dark."""
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert drawn.count("var(--ink)") > 10
    for color in ("#222222", "#ffffff", "#7d1686"):
        assert color not in drawn
    assert "prefers-color-scheme: dark" in page
    assert page.count('role="img" aria-label="') == page.count("<svg ")


def test_on_a_narrow_screen_each_value_stands_under_its_row_with_the_name_of_its_column(page):
    assert page.count('<td class="number" data-column="held-out">') > 10
    assert "content: attr(data-column)" in page


def test_more_sections_come_first(report):
    page = report.to_html(first=["<h2>What is wrong?</h2><p>nothing & all</p>"])
    assert page.index("<h2>What is wrong?</h2><p>nothing & all</p>") < page.index(report.sections[0].title)


def test_table_and_findings(report):
    rich.print(report.table())
    assert len(str(report).splitlines()) == len(report.sections)


def test_an_autoencoder(runs):
    found = measure.report(runs[-1], **SETTINGS)
    assert math.isinf(float(found["kl"].held_out))
    assert "gap" not in {row.id for row in found.rows}
    assert "not a bound" in found["nelbo"].meaning
    assert json.loads(found.to_json())["sections"][0]["rows"][1]["values"]["held_out"]["value"] is None
    assert "∞" in found.to_html()


def test_the_same_seed_gives_the_same_report_and_leaves_randomness_alone(runs, report):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = measure.report(runs[0], **SETTINGS).to_dict()
    assert torch.equal(before, torch.get_rng_state())
    first = report.to_dict()
    for one in (again, first):
        for section in one["sections"]:
            del section["seconds"]
    assert again == first


@pytest.mark.parametrize(
    ("likelihood", "make", "latent", "posterior", "prior"),
    [
        ("normal", real, 3, "full_covariance_normal", "standard_normal"),
        ("negative_binomial", counts, 2, "diagonal_normal", "mixture:3"),
        ("normal", real, 1, "flow", "standard_normal"),
    ],
)
def test_tables_and_other_latents(likelihood, make, latent, posterior, prior):
    x = make(300)
    made = recipes.vae((6,), latent=latent, likelihood=likelihood, hidden=(8,), posterior=posterior, prior=prior)
    run = fit(made, x, epochs=1, progress=False)
    found = measure.report(run, effort="quick", examples=20, samples=20)
    assert float(found["active_units"].held_out) <= latent
    assert ("bits_per_dimension" in {row.id for row in found.rows}) == (likelihood == "negative_binomial")
    assert not Reader(found.to_html()).open


def test_without_held_out_data(runs, digits):
    alone = Data(digits.train, None, None, digits.origin)
    found = measure.report(runs[0].model, alone, effort="quick", examples=30)
    assert found.settings["split"] == "train"
    assert all(row.training is None for row in found.rows if row.id in ("nelbo", "log_evidence"))
    assert "overfitting" not in {section.id for section in found.sections}
    assert any("no data are held out" in note for section in found.sections for note in section.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "the data have no test part; they have: validation, train. Write split='validation'"),
        ({"split": "all"}, "split must be auto, test, validation, train; got 'all'"),
        ({"effort": "much"}, "effort must be one of 'quick', 'normal', 'thorough'; got 'much'"),
        ({"effort": "quik"}, "did you mean 'quick'"),
        ({"examples": 3}, "examples must be at least 20"),
        ({"samples": 1}, "samples must be at least 2"),
    ],
)
def test_what_cannot_be_meant(runs, arguments, message):
    with pytest.raises(ValueError, match=message):
        measure.report(runs[0], **arguments)


def test_data_that_do_not_fit(runs):
    with pytest.raises(ValueError, match=r"report\(vae, data\)"):
        measure.report(runs[0].model)
    with pytest.raises(ValueError, match="Bernoulli needs"):
        measure.report(runs[0].model, InMemory(torch.rand(50, 1, 8, 8), preparation=Preparation()))
    with pytest.raises(ValueError, match="was built for inputs of shape"):
        measure.report(runs[0].model, torch.ones(250, 1, 7, 9))


def test_a_model_without_a_folder_is_measured_again_in_python(runs, digits):
    found = measure.report(runs[0].model, digits, effort="quick", examples=20)
    assert found.command.startswith("nelbo.measure.report(model, data, split='validation', effort='quick', examples=20")


def test_ctrl_c_keeps_the_sections_that_were_done(runs, monkeypatch):
    from nelbo.measure import reporting

    def stopped(case):
        raise KeyboardInterrupt

    monkeypatch.setattr(reporting, "SECTIONS", (*reporting.SECTIONS[:1], ("log p(x)", stopped)))
    with pytest.raises(measure.Interrupted, match="stopped after 1 of at most 2 sections") as found:
        measure.report(runs[0], **SETTINGS)
    assert not found.value.partial.complete
    assert [section.id for section in found.value.partial.sections] == ["loss"]


def test_an_autoencoder_whose_evidence_takes_annealing_says_so(digits):
    model = recipes.make("autoencoder", digits.event_shape, latent=3, hidden=(8,))
    found = measure.report(model, digits, effort="quick", examples=20)
    section = next(section for section in found.sections if section.id == "log_evidence")
    assert not section.rows
    assert "--effort thorough" in section.finding
    assert "annealed" in section.finding
    assert not Reader(found.to_html()).open
    rich.print(found.table())


def test_each_example_is_encoded_once(digits):
    """By the report, by a second one, and by whoever else asks about the same data; but for checks of the first few."""
    model = recipes.vae(digits.event_shape, latent=2, hidden=(8,), posterior="full_covariance_normal").eval()
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].detach().flatten(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure.report(model, digits, effort="quick", examples=60)
        rows = sum(map(len, seen))
        everything = len(digits.train) + len(digits.validation)
        assert everything <= rows <= everything + 10
        measure.report(model, digits, effort="quick", examples=60)
        measure.latent_usage(model, digits.train)
        measure.aggregate_match(model, digits.validation)
    assert sum(map(len, seen)) <= rows + 10


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_log_evidence_by_draws_from_q_alone_stands_beside_the_whole():
    from nelbo.measure.context import report_context
    from nelbo.measure.sections.evidence import evidence
    from tests.measure.test_mixture import Folded, X

    x = X.repeat(10, 1) + 0.01 * torch.arange(40)[:, None]
    context = report_context(Folded(1.0), x, split="train", effort="quick")
    section = evidence(context)
    rows = {row.id: row.values["held_out"] for row in section.rows}
    assert float(rows["log_evidence"]) - float(rows["evidence_of_q"]) > 0.3
    assert any("draws from q(z|x) alone miss over a quarter of p(x)" in note for note in section.notes)
