"""The figure as large as the screen, saved views that keys step through, and views inside other pages."""

import functools
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nelbo.studio.exporting import export_site
from nelbo.studio.link import EXPLORERS, export_html
from nelbo.studio.session import Session
from tests.studio.tab import FRAME

LECTURE = '<!doctype html><title>lecture</title><link rel="icon" href="data:,">'
PAGES = ["home", *EXPLORERS, "worksheet"]


def press(page, key):
    page.keyboard.press(key)
    page.evaluate(FRAME)


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of what it is asked."""

    def log_message(self, *_):
        pass


@contextmanager
def served_folder(folder):
    """A web server as anybody has it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("name", PAGES)
def test_f_lets_the_figure_fill_the_screen_and_escape_ends_it(tab, studio, name):
    tab.show(studio, name)
    page, root = tab.page, tab.page.locator(".page")
    press(page, "f")
    page.wait_for_selector(".page.presenting .presenter")
    box = root.bounding_box()
    assert (box["x"], box["y"], box["width"]) == (0, 0, page.evaluate("innerWidth"))
    assert not page.locator(".tools").is_visible()
    assert page.evaluate("document.querySelector('.page').scrollWidth <= innerWidth")
    if name in EXPLORERS:
        controls = page.locator(".controls")
        assert controls.bounding_box()["x"] > page.evaluate("innerWidth") - 20
        tick = page.locator("svg.plot .axes text").first
        assert float(tick.evaluate("(e) => parseFloat(getComputedStyle(e).fontSize)")) == 19
        controls.locator("input, button, select").first.focus()
        assert controls.bounding_box()["x"] < page.evaluate("innerWidth") - 100
        page.evaluate("document.activeElement.blur()")
    press(page, "Escape")
    page.wait_for_selector(".page:not(.presenting)")
    assert page.locator(".tools").is_visible()


def test_keys_step_through_the_saved_views_else_the_presets(tab, studio):
    tab.show(studio, "kl")
    page = tab.page
    press(page, "f")
    page.wait_for_selector(".presenter")
    press(page, "PageDown")
    assert tab.field("sigma_q") == 3
    press(page, "ArrowRight")
    assert tab.field("sigma_q") == 0.5
    assert "2 of" in page.locator(".presented").inner_text()
    press(page, "PageUp")
    assert tab.field("sigma_q") == 3
    press(page, "Escape")

    for mu, name in ((2, "far"), (0, "near")):
        page.locator("[data-field=mu_q]").fill(str(mu))
        page.locator("[data-field=mu_q]").press("Enter")
        page.get_by_label("Name of this view").fill(name)
        page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("button", name="same width").click()
    tab.rest()
    assert tab.field("mu_q") == 1.5
    page.get_by_role("button", name="far", exact=True).click()
    tab.settle()
    assert tab.field("mu_q") == 2
    page.get_by_role("button", name="Reset").click()
    tab.settle()
    page.evaluate("document.activeElement.blur()")
    press(page, "f")
    page.wait_for_selector(".presenter")
    press(page, "PageDown")
    assert (tab.field("mu_q"), page.locator(".presented").inner_text()) == (2, "1 of 2: far")
    press(page, "PageDown")
    assert (tab.field("mu_q"), page.locator(".presented").inner_text()) == (0, "2 of 2: near")
    assert '"far"' in tab.hash()["bookmarks"]


def test_a_handle_stays_under_the_hand_of_a_presenter(tab, studio):
    tab.show(studio, "kl?mu_p=-1&mu_q=2")
    press(tab.page, "f")
    tab.page.wait_for_selector(".presenter")
    tab.rest()
    grip = tab.handle("mean of q").locator(".grip")
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    for step in range(1, 11):
        tab.page.mouse.move(x + 9 * step, y)
        tab.settle()
        box = grip.bounding_box()
        assert abs(box["x"] + box["width"] / 2 - (x + 9 * step)) <= 2
    tab.page.mouse.up()


def test_a_view_is_embedded_without_rail_and_bar_and_keeps_its_state(tab, studio):
    tab.show(studio, "kl?embed=1&mu_p=0.5")
    page = tab.page
    assert [page.locator(part).is_visible() for part in (".rail", ".tools", ".controls", ".folds")] == [False] * 4
    before = page.locator("svg.plot").first.bounding_box()["width"]
    tab.drag("mean of p", 60)
    kept = tab.hash()
    assert kept["embed"] == "1"
    assert float(kept["mu_p"]) > 0.5
    out = page.get_by_role("link", name="Open in nelbo")
    out.hover()
    assert "embed" not in out.get_attribute("href")
    assert f"mu_p={kept['mu_p']}" in out.get_attribute("href")
    page.set_viewport_size({"width": 400, "height": 500})
    page.wait_for_function("(w) => document.querySelector('svg.plot').getBoundingClientRect().width < w", arg=before)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def _copied(page, entry):
    """What a menu entry puts on the clipboard."""
    page.evaluate("() => (navigator.clipboard.writeText = async (text) => (window.copied = text))")
    page.get_by_label("Save", exact=True).click()
    page.get_by_role("menuitem", name=entry).click()
    page.wait_for_function("() => window.copied")
    return page.evaluate("() => window.copied")


def test_a_site_may_be_framed_by_the_line_it_gives_and_a_studio_may_not(visit, chromium, studio, tmp_path):
    export_site(Session(), tmp_path / "site")
    with served_folder(tmp_path) as origin, served_folder(tmp_path) as elsewhere:
        page = visit(f"{origin}/site/index.html#elbo?m=0.5")
        line = _copied(page, "Copy embed code")
        assert f'src="{origin}/site/index.html#elbo?m=0.5&amp;embed=1"' in line
        (tmp_path / "lecture.html").write_text(f"{LECTURE}{line}")
        page.goto(f"{elsewhere}/lecture.html")
        frame = page.frame_locator("iframe")
        frame.locator(".page.embedded svg.plot").first.wait_for()
        assert float(frame.locator("[data-field=m]").input_value()) == 0.5

        line = f'<iframe src="{studio.address("elbo?embed=1")}"></iframe>'
        (tmp_path / "lecture.html").write_text(f"{LECTURE}{line}")
        context = chromium.new_context()
        refused = context.new_page()
        refused.goto(f"{elsewhere}/lecture.html")
        assert [frame.url.partition(":")[0] for frame in refused.frames[1:]] == ["chrome-error"]
        context.close()


def test_a_studio_gives_the_line_for_the_file_that_it_saves(tab, studio, tmp_path):
    tab.show(studio, "kl?mu_p=0.5")
    line = _copied(tab.page, "Copy embed code")
    assert 'src="nelbo-kl.html#?embed=1"' in line
    notebook = _copied(tab.page, "Copy lines for a notebook")
    (tmp_path / "nelbo-kl.html").write_text(export_html("kl", {"mu_p": 0.5}))
    (tmp_path / "lecture.html").write_text(f"{LECTURE}{line}")
    tab.page.goto((tmp_path / "lecture.html").as_uri())
    frame = tab.page.frame_locator("iframe")
    frame.locator(".page.embedded svg.plot").first.wait_for()
    assert float(frame.locator("[data-field=mu_p]").input_value()) == 0.5
    assert notebook == "from nelbo.widgets import KLExplorer\n\nKLExplorer(mu_p=0.5)"
