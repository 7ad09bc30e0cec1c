"""On every page and in both themes: every control has a name, every word contrast, and nothing overflows."""

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from nelbo.studio.link import OF_RUNS
from nelbo.studio.session import Session
from tests.studio.tab import FRAME, at_rest

UNUSABLE = Path(__file__).with_name("access.js").read_text("utf-8")
WIDTHS = (1280, 768, 390, 360)
LOOKED_AT_BY_AXE = (1280, 390)
# what shows an example and its plane needs 366 pixels
NARROWEST = {"inspector": 768, "report": 768}
# page -> what stands in it when it is ready
PAGES = {
    "kl": "[data-number]",
    "metric": ".lamp",
    "elbo": "[data-number]",
    "reparam": "svg.plot",
    "playground": ".page[data-epoch]",
    "worksheet": ".step",
    "inspector": ".term .rank:visible",
    "train": ".train-strip .status:has-text('finished')",
    "report": ".term .rank:visible",
    "beta": ".offer pre",  # with a series: test_beta_page
}


AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
FOUND = """async (rules) => (await axe.run(document, rules ?? {})).violations.map((one) =>
  `${one.id} (${one.impact}): ${one.nodes.map((node) => node.html.slice(0, 160)).join("\\n    ")}`)"""
# what axe looks at: page and state -> what stands in it when it is ready
LOOKED_AT = {
    "home": ".runs-table tbody tr",
    "kl?view=fit": "svg.plot:visible",
    "kl?view=game": "svg.plot:visible",
    "kl?embed=1": "svg.plot:visible",
    "reparam?node=stochastic": "svg.plot:visible",
    "inspector?run=first&other=second": ".term .rank:visible",
    **PAGES,
}


@pytest.fixture
def axe():
    """The source of axe-core, as make js installs it."""
    if not AXE.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{AXE} is missing; make js installs it")
        pytest.skip("no axe-core: make js installs it")
    return AXE.read_text("utf-8")


@pytest.mark.parametrize("place", LOOKED_AT)
def test_everyone_can_use_a_page(serving, visit, run_folder, axe, place):
    name, _, state = place.partition("?")
    if name in OF_RUNS:
        chosen = dict(part.split("=") for part in (state or "run=first").split("&"))
        state = "&".join(f"{key}={quote(str(run_folder / run))}" for key, run in chosen.items())
    page = visit(serving(Session([run_folder])).address(f"{name}?{state}" if state else name))
    page.locator(LOOKED_AT[place]).first.wait_for()
    page.evaluate("document.querySelectorAll('details.fold').forEach((fold) => (fold.open = true))")
    page.evaluate(axe)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert page.evaluate(UNUSABLE) == {"nameless": [], "faint": []}, theme
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(FRAME)
            if width in LOOKED_AT_BY_AXE:  # in the dark only colours differ
                rules = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
                assert page.evaluate(FOUND, rules) == [], f"{theme}, {width} px"
            if width >= NARROWEST.get(name, 0):
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            if folder := os.environ.get("NELBO_SCREENSHOTS"):  # to be looked at
                at_rest(page)
                page.screenshot(path=Path(folder) / f"{name}-{theme}-{width}.png", full_page=True)
