"""Where a reader begins: the runs there are, or the offer to make some."""

import shutil
from pathlib import Path

from nelbo import demo
from nelbo.studio.session import Session

UNUSABLE = Path(__file__).with_name("access.js").read_text("utf-8")


def test_two_runs_are_chosen_and_compared(run_folder, serving, visit, tmp_path):
    for name in ("first", "second", "half"):
        shutil.copytree(run_folder / "first" if name == "half" else run_folder / name, tmp_path / name)
    (tmp_path / "half" / "run.json").write_text('{"train')
    page = visit(serving(Session([tmp_path])).address())
    page.wait_for_selector("[data-run]")
    assert page.locator("[data-run]").count() == 2
    assert "cut short" in page.locator("tr.damaged").inner_text()
    assert page.locator("[data-do=compare]").is_disabled()
    assert page.evaluate(UNUSABLE) == {"nameless": [], "faint": []}
    for name in ("first", "second"):
        page.check(f"[aria-label='Compare {name}']")
    page.click("[data-do=compare]")
    page.wait_for_selector("[data-difference=nelbo]")
    page.go_back()
    page.wait_for_selector("[data-run]")
    page.click("[aria-label='Curves: first']")
    page.wait_for_selector("text=/finished: epoch 2 of 2/")


def test_the_demo_s_runs_are_made_in_the_page(serving, visit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    served = serving(Session())
    page = visit(served.address())
    page.wait_for_selector("text=There is no run to look at yet")
    page.click("[data-do=demo]")
    page.wait_for_selector("text=/epoch [1-9]\\d* of 40/")  # of the first of three
    assert page.locator(".making progress").count() == len(demo.MODELS)
    page.close()
    page = visit(served.address())  # opened again, it finds the training
    page.wait_for_selector("text=/epoch [1-9]\\d* of 40/")
    assert not page.locator("[data-do=demo]").is_visible()
