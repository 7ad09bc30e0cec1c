"""The pages of the findings: one for each check, with a figure wherever a planted case shows the finding."""

from importlib.resources import files

import pytest

from nelbo.diagnosis.pages import Page
from nelbo.diagnosis.registry import CHECKS
from tests.planted import pages


def test_every_check_has_a_page_and_every_page_a_check():
    names = {page.name.removesuffix(".md") for page in files("nelbo.diagnosis").joinpath("findings").iterdir()}
    assert names == set(CHECKS)


@pytest.mark.parametrize("id", list(CHECKS))
def test_every_planted_finding_has_its_figure(id):
    text = files("nelbo.diagnosis").joinpath("findings", f"{id}.md").read_text("utf-8")
    figure = f"![{CHECKS[id].page.title}](../../../../docs/images/findings/{id}.png)"
    assert (figure in text) == (pages.case_of(id) is not None)
    assert (pages.FIGURES / f"{id}.png").is_file() == (figure in text)


def test_no_figure_is_left_of_a_finding_that_is_gone():
    assert {path.stem for path in pages.FIGURES.glob("*.png")} <= set(CHECKS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('about: "model"', 'about: "weather"', "about must be model or code"),
        ("needs: []", 'needs: ["luck"]', "needs must be among held_out"),
        ("false_alarms: ", "alarms: ", "has title, about, needs, alarms, explains"),
        ("## Source", "## Sources", "expected .* Source"),
        ('title: "', "title: ", "front matter of JSON values"),
    ],
)
def test_a_page_that_is_edited_wrongly_says_what_is_wrong(old, new, message, monkeypatch, tmp_path):
    text = files("nelbo.diagnosis").joinpath("findings", "holes.md").read_text("utf-8")
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "holes.md").write_text(text.replace(old, new))
    monkeypatch.setattr("nelbo.diagnosis.pages.files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=message):
        Page.read("holes")
