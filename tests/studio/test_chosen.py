"""What is chosen is said to those who do not see it: as "true" or "false", which an empty attribute is not."""

import threading
from urllib.parse import quote

import pytest

from nelbo.studio import inspect
from nelbo.studio.session import Session
from tests.studio.tab import FRAME


def test_the_rail_says_which_page_is_open(tab, studio):
    for name in ("kl", "elbo"):
        tab.show(studio, name)
        here = tab.page.locator("nav.rail a[aria-current]")
        assert [here.get_attribute(name) for name in ("data-page", "aria-current")] == [name, "page"]


def test_a_choice_says_what_is_chosen(tab, studio):
    tab.show(studio, "kl?view=fit")
    for label, chosen, other in (("View", "Fit q to p", None), ("Divergences", "Both KLs", "All four")):
        radios = tab.page.get_by_role("radiogroup", name=label)
        assert radios.get_by_role("radio", checked=True).all_inner_texts() == [chosen]
        assert {radio.get_attribute("aria-checked") for radio in radios.get_by_role("radio").all()} == {"true", "false"}
        if other:
            radios.get_by_role("radio", name=other).click()
            assert radios.get_by_role("radio", checked=True).all_inner_texts() == [other]


def test_the_pad_says_which_brush_it_holds(run_folder, serving, visit):
    served = serving(Session([run_folder]))
    page = visit(served.address(f"inspector?run={quote(str(run_folder / 'first'))}&pins=[0]"))
    page.click("[data-do=draw]")
    brushes = page.locator(".pad-box")
    pressed = brushes.get_by_role("button", pressed=True)
    pressed.wait_for()
    assert pressed.all_inner_texts() == ["Draw"]
    ground = pressed.evaluate("(button) => getComputedStyle(button).backgroundColor")
    brushes.get_by_role("button", name="Wipe").click()
    assert pressed.all_inner_texts() == ["Wipe"]
    assert pressed.evaluate("(button) => getComputedStyle(button).backgroundColor") == ground
    assert brushes.get_by_role("button", name="Draw").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(
    ("button", "appears"), [("draw", ".pad-box"), ("edit", ".pad-box"), ("sample", "h2:has-text('25 draws')")]
)
def test_a_click_before_the_example_has_arrived_is_done_when_it_has(
    run_folder, serving, visit, monkeypatch, button, appears
):
    clicked, looked_at = threading.Event(), inspect.looked_at
    monkeypatch.setattr(inspect, "looked_at", lambda *given: clicked.wait() and looked_at(*given))
    served = serving(Session([run_folder]))
    page = visit(served.address(f"inspector?run={quote(str(run_folder / 'first'))}&pins=[0]"))
    page.locator(f"[data-do={button}]").first.click()
    page.evaluate(FRAME)
    assert page.locator(appears).count() == 0
    clicked.set()
    page.locator(appears).first.wait_for()
