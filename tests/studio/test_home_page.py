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


def test_a_run_of_the_shell_appears_and_runs_are_sorted_and_searched(run_folder, serving, visit, tmp_path):
    long = "a-very-long-name-of-a-run-that-would-push-all-the-rest-out-of-sight"
    for name in ("first", "b", "c", long, "e"):
        shutil.copytree(run_folder / "first", tmp_path / name)
    page = visit(serving(Session([tmp_path])).address(), viewport={"width": 390, "height": 844})
    page.wait_for_selector("[data-run]")
    for name in ("inspector", "train", "report"):  # within reach of a thumb
        door = page.locator(f"[data-run$='{long}'] [data-to={name}]").bounding_box()
        assert door["x"] + door["width"] <= 390
    assert page.get_attribute(f"[data-run$='{long}'] th", "title").endswith(long)
    page.focus("[aria-label='Report: b']")
    shutil.copytree(run_folder / "conv", tmp_path / "of-the-shell")
    page.wait_for_selector("[data-run$=of-the-shell]")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Report: b"
    page.set_viewport_size({"width": 1280, "height": 900})
    page.click("[data-sort='total loss']")
    page.wait_for_selector("[aria-sort=ascending]")

    def losses():
        return [float(row.locator("td").last.inner_text()) for row in page.locator("[data-run]").all()]

    assert losses() == sorted(losses())
    page.click("[data-sort='total loss']")
    page.wait_for_selector("[aria-sort=descending]")
    assert losses() == sorted(losses(), reverse=True)
    assert losses() != sorted(losses())
    page.fill("[type=search]", "shell VAE")  # of its name, not of the path to it
    page.wait_for_selector("text=1 of 6")
    assert page.locator("[data-run]").count() == 1


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
