"""docs/findings holds what `nelbo explain` prints, and a figure wherever a planted case shows the finding."""

import pytest

from nelbo.diagnosis import explain
from nelbo.diagnosis.explain import page
from nelbo.diagnosis.registry import CHECKS
from tests.planted import pages


@pytest.mark.parametrize("id", list(CHECKS))
def test_the_page_is_up_to_date(id):
    check = CHECKS[id]
    line = pages.figure_line(check)
    assert (pages.FOLDER / f"{id}.md").read_text() == page(check, line), "write: make diagnose-suite"
    assert not line or (pages.FOLDER / "images" / f"{id}.png").is_file()
    assert set(explain(id).splitlines()) <= set(page(check, line).splitlines())


def test_no_page_is_left_of_a_finding_that_is_gone():
    assert {path.stem for path in pages.FOLDER.glob("*.md")} == set(CHECKS)
    assert {path.stem for path in (pages.FOLDER / "images").glob("*.png")} <= set(CHECKS)
