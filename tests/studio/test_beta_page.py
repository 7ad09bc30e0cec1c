"""A series of models along beta: which runs it is made of, how they are turned, and its page."""

import functools
import http.server
import itertools
import math
import threading

import numpy as np
import pytest
import torch

import nelbo
from nelbo.measure.sweep import sweep
from nelbo.studio.alignment import turned
from nelbo.studio.beta import all_series
from nelbo.studio.exporting import export_page, export_site
from nelbo.studio.inspection import DRAWS_OF_ONE, inspect, terms_of
from nelbo.studio.library import Library
from nelbo.studio.session import Session
from tests.studio.reading import told
from tests.studio.tab import FRAME
from tests.studio.test_access import FOUND, UNUSABLE, axe  # noqa: F401

BETAS = (0.3, 1.0, 5.0)
TERMS = ("reconstruction_error", "kl", "nelbo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What nelbo sweep leaves, seconds of training, and a run of other data beside it."""
    out = tmp_path_factory.mktemp("along") / "runs"
    data = nelbo.data.load("digits", binarize="threshold", limit=200)
    sweep(data, out=out / "digits-sweep", betas=BETAS, model={"hidden": (16,)}, epochs=2, progress=False)
    other = nelbo.data.load("digits", binarize="threshold", limit=150)
    nelbo.fit(nelbo.recipes.vae(other.event_shape, hidden=(16,)), other, epochs=1, out=out / "other", progress=False)
    return out


@pytest.fixture
def runs(folder):
    """By their beta."""
    names = {0.0: "autoencoder", **{beta: f"beta-{beta:g}" for beta in BETAS}}
    return {beta: folder / "digits-sweep" / name for beta, name in names.items()}


def test_a_series_is_runs_that_differ_in_beta_alone(folder, runs):
    (series,) = all_series(Library([folder]))
    assert [entry["beta"] for entry in series["runs"]] == [0, *BETAS]
    assert [entry["run"] for entry in series["runs"]] == [str(path) for path in runs.values()]
    answer = Session([folder]).ask({"kind": "beta.directions", "id": 1, "run": str(folder / "other")}).content
    assert "belongs to no series" in answer["error"]


def test_spaces_are_turned_one_to_the_next_and_keep_their_lengths():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(300, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0])
    turns = [torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q for _ in range(4)]
    sizes = (8.0, 2.0, 1.0, 0.1)
    spaces = [size * z @ turn for size, turn in zip(sizes, turns, strict=True)]
    for own, space, size in zip(turned(spaces, 2), spaces, sizes, strict=True):
        torch.testing.assert_close(own @ own.T, torch.eye(3).double())
        torch.testing.assert_close(space @ own, size * spaces[2])
    collapsed = [spaces[0], torch.zeros(300, 3)]
    assert turned(collapsed, 0)[1].equal(torch.eye(3).double())


def test_directions_bring_the_same_examples_together(folder, runs):
    session = Session([folder])
    found = session.ask({"kind": "beta.directions", "id": 1, "run": str(runs[0])}).content["directions"]
    means = [Library.of(session).inspection(str(path)).mean.double().numpy() for path in runs.values()]
    placed = [z @ np.array(w).T for z, w in zip(means, found, strict=True)]
    np.testing.assert_allclose(found[2], np.eye(2)[list(Library.of(session).inspection(str(runs[1.0])).axes)])
    for a, b in itertools.pairwise(placed):
        # no rotation of the one by itself comes nearer to the other
        misfit = [
            np.linalg.norm(
                (a - a.mean(0)) @ np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]).T
                - (b - b.mean(0))
            )
            for t in np.linspace(0, 2 * math.pi, 61)
        ]
        assert misfit[0] <= min(misfit) + 1e-6


def test_the_numbers_at_a_model_are_its_own_and_between_two_they_lie_between(folder, runs, serving, visit):
    page = visit(serving(Session([folder])).address("beta?row=4"))
    page.wait_for_selector("text=Averaged over 1,024 draws of z")
    values = {}
    for beta, path in list(runs.items())[::-1]:
        page.click(f".beta-marks button:text-is('{'AE' if beta == 0 else format(beta, 'g')}')")
        place = list(runs).index(beta)
        page.wait_for_function(f"() => Number(document.querySelector('input[type=range]').value) === {place}")
        page.wait_for_function("() => !/≈/.test(document.querySelector('.terms').textContent)")
        texts = {term: page.locator(f"[data-term={term}]").inner_text() for term in TERMS}
        one = inspect(nelbo.load(path)).evaluation[4]
        for term, each in terms_of(one, DRAWS_OF_ONE).items():
            exact = float(each.value[0])
            if math.isinf(exact):
                assert texts[term] == "∞"
            else:
                assert told(texts[term])[0] == pytest.approx(
                    exact, abs=0.5 * 10 ** -len(texts[term].partition(".")[2].split()[0]) + 1e-9
                )
        values[beta] = texts
        means = inspect(nelbo.load(path)).first_terms
        if beta:
            assert f"{float(means['nelbo'].value.mean()):.2f}" in page.locator("[data-mean]").inner_text()
    # the slider, between beta = 1 and 5
    page.evaluate(
        """() => {
          const range = document.querySelector('input[type=range]');
          range.value = 2.5;
          range.dispatchEvent(new Event('input', { bubbles: true }));
        }"""
    )
    page.wait_for_selector("text=no model was trained here")
    between = page.locator("[data-term=kl]").inner_text()
    assert between.startswith("≈")
    low, high = sorted(told(values[beta]["kl"])[0] for beta in (1.0, 5.0))
    assert low <= told(between.removeprefix("≈ "))[0] <= high
    page.wait_for_function("() => location.hash.includes('beta=2.236')")  # the geometric mean


def test_the_point_stays_under_the_hand_along_the_rate(folder, serving, visit):
    page = visit(serving(Session([folder])).address("beta?row=4"))
    page.wait_for_selector("text=Averaged over 1,024 draws of z")
    grip = page.locator("[data-handle] .grip")
    page.locator("[data-handle]").scroll_into_view_if_needed()
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    curve = page.locator(".beta-curve svg").bounding_box()
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 11):
        to = x + step / 10 * (curve["x"] + 0.75 * curve["width"] - x)
        page.mouse.move(to, y - 30)
        page.evaluate(FRAME)
        now = grip.bounding_box()
        assert abs(now["x"] + now["width"] / 2 - to) < 2
    page.mouse.up()
    page.wait_for_function("() => location.hash.includes('beta=0')")
    page.locator("[data-handle]").press("End")  # no key of it
    page.locator("[data-handle]").press("Shift+ArrowRight")
    page.wait_for_function("() => location.hash.includes('beta=')")


def test_where_there_is_no_series_it_says_how_to_make_one(run_folder, serving, visit):
    page = visit(serving(Session([run_folder])).address("beta"))
    assert "nelbo sweep digits --betas" in page.locator(".offer pre").inner_text()


def test_it_travels_in_a_file_and_in_a_site(folder, visit, tmp_path):
    (tmp_path / "beta.html").write_text(export_page(Session([folder]), "beta", {}), "utf-8")
    page = visit((tmp_path / "beta.html").as_uri())
    page.wait_for_selector("text=Averaged over")
    export_site(Session([folder]), tmp_path / "site")
    assert str(folder).encode() not in b"".join(p.read_bytes() for p in (tmp_path / "site").rglob("*") if p.is_file())
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = visit(f"http://127.0.0.1:{server.server_address[1]}/#beta?row=11&beta=5")
        site.wait_for_selector("text=Averaged over")
        assert site.locator(".beta-now").inner_text() == "5"
        server.shutdown()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_used_by_everyone(folder, serving, visit, axe, theme):  # noqa: F811
    page = visit(serving(Session([folder])).address("beta"), color_scheme=theme)
    page.wait_for_selector("text=Averaged over 1,024 draws of z")
    page.evaluate("document.querySelectorAll('details.fold').forEach((fold) => (fold.open = true))")
    page.evaluate(axe)
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(FRAME)
        assert page.evaluate(FOUND) == []
        assert page.evaluate(UNUSABLE) == {"nameless": [], "faint": []}
        assert page.evaluate("document.documentElement.scrollWidth") <= width
