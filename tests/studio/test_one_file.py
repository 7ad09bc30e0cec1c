"""Pages of runs as one file, written from the shell and opened from disk: no server, and the inspector still works."""

import functools
import http.server
import json
import re
import shutil
import threading

import numpy as np
import pytest
import torch

import nelbo
from nelbo.cli import main
from nelbo.evaluation import evaluate
from nelbo.studio import networks
from nelbo.studio.inspection import terms_of, terms_under
from tests.studio.reading import PIXELS, number, pixels_of, shown, stroke, told
from tests.studio.tab import at_rest

FETCHED = (
    "(files) => files.filter((f) => performance.getEntriesByType('resource').some((e) => e.name.endsWith(f))).length"
)


FREE = """() => {
  const plane = document.querySelector('.latent svg');
  const box = plane.getBoundingClientRect();
  const grips = [...plane.querySelectorAll('[data-handle] .grip')].map((grip) => grip.getBoundingClientRect());
  const room = ([x, y]) => Math.min(...grips.map((g) => Math.hypot(g.x + g.width / 2 - x, g.y + g.height / 2 - y)));
  const at = (u, v) => [box.x + u * box.width, box.y + v * box.height];
  const places = [0.35, 0.5, 0.65].flatMap((u) => [0.2, 0.35, 0.5].map((v) => at(u, v)));
  return places.sort((a, b) => room(b) - room(a))[0];
}"""


def drag(page):
    """Press on the plane where no handle is near, and drag z."""
    page.locator(".latent svg").first.scroll_into_view_if_needed()
    x, y = page.evaluate(FREE)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 30, steps=4)
    page.mouse.up()
    page.wait_for_function("() => location.hash.includes('z=')")
    at_rest(page)
    return json.loads(re.search(r"z=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))[1])


def export(*arguments):
    assert main(["export", *map(str, arguments)]) == 0


def test_the_inspector_of_two_runs(run_folder, tmp_path, visit):
    first, second, out = run_folder / "first", run_folder / "second", tmp_path / "page.html"
    export("inspector", first, second, out, "--state", 'pins=[7]&layers=["prior", "aggregate", "pictures"]')
    shutil.copytree(run_folder, tmp_path / "moved")  # nothing of the file asks for the folder
    page = visit(out.as_uri())
    run = nelbo.load(first)
    x = run.data.validation.take([7])
    with torch.no_grad():
        assert number(shown(page, "kl")) == pytest.approx(float(nelbo.loss(run, x).kl.detach()), rel=1e-3)
    page.wait_for_selector("[data-difference=nelbo]")
    z = drag(page)
    picture = run.decode(torch.tensor([z]))[0].flatten().numpy()
    np.testing.assert_allclose(np.array(pixels_of(page, ".rebuilt canvas.pixels")) / 255, picture, atol=1.01 / 255)
    page.wait_for_selector(".ghost[visibility=visible]", state="attached")  # the other model follows
    page.wait_for_function("() => document.querySelector('image.pictures')?.getAttribute('href')?.startsWith('data:')")

    # an example whose close look did not travel is put together from its input and the terms of the set
    page.fill("input[type=search]", "13")
    page.press("input[type=search]", "Enter")
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 4")
    x = run.data.validation.take([13])
    with torch.no_grad():
        kl, rebuilt = float(nelbo.loss(run, x).kl.detach()), run.model.reconstruct(x).flatten().numpy()
    assert number(shown(page, "kl", 2)) == pytest.approx(kl, rel=1e-3)
    row = ":nth-child(3 of .example-row)"
    np.testing.assert_array_equal(
        np.array(pixels_of(page, f"{row} .original canvas.pixels")) / 255, x.flatten().numpy()
    )
    np.testing.assert_allclose(
        np.array(pixels_of(page, f"{row} .rebuilt canvas.pixels")) / 255, rebuilt, atol=1.01 / 255
    )
    page.wait_for_function(f"() => ({PIXELS})('table.examples canvas').some((v) => v > 0)")  # as in the table below
    assert page.locator("text=no Python behind it").count() == 0


def settled(page, expected):
    """Hold the numbers of the first row, at rest, to nelbo's."""
    at_rest(page)
    for term, estimate in expected.items():
        value, error = told(shown(page, term))
        assert abs(value - float(estimate)) <= max(0.006, error / 10), term


@pytest.mark.parametrize("name", ["first", "conv"])
def test_a_drawing_in_a_file_is_encoded_in_the_page(run_folder, tmp_path, visit, name):
    export("inspector", run_folder / name, tmp_path / "page.html", "--state", "pins=[3]")
    page = visit((tmp_path / "page.html").as_uri(), offline=True)
    pinned = shown(page, "kl")
    page.click("[data-do=draw]")
    page.wait_for_function("(kl) => document.querySelector('[data-term=kl]').textContent !== kl", arg=pinned)
    stroke(page)
    dot = page.locator(".latent .mean")
    at = [dot.get_attribute(key) for key in ("cx", "cy")]
    page.locator(".pad-box >> text=Cover half").dispatch_event("click")
    page.wait_for_function(
        "([dot, at]) => dot.getAttribute('cx') !== at[0] || dot.getAttribute('cy') !== at[1]",
        arg=[dot.element_handle(), at],
    )
    page.mouse.up()
    run = nelbo.load(run_folder / name)
    x = torch.tensor(np.array(pixels_of(page, ".pad")) / 255).float().round().reshape(1, 1, 8, 8)
    settled(page, {term: each[0] for term, each in terms_of(evaluate(run, x), 1024).items()})
    with torch.no_grad():
        rebuilt = run.model.reconstruct(x).flatten().numpy()
    np.testing.assert_allclose(np.array(pixels_of(page, ".rebuilt canvas.pixels")) / 255, rebuilt, atol=1.01 / 255)
    page.click("[data-do=done]")
    page.wait_for_function("(kl) => document.querySelector('[data-term=kl]').textContent === kl", arg=pinned)

    # a q of the reader's own: its reconstruction error is over the draws that Python takes
    page.locator("[data-handle='mean µ of q(z|x)']").press("ArrowRight")
    page.wait_for_selector("text=1,024 draws")
    q = json.loads(re.search(r"q=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))[1])
    mean, sd = torch.tensor(q[:2]), torch.tensor(q[2:])
    settled(page, terms_under(run.model, run.data.validation.take([3]), mean, torch.diag(sd.square())))
    page.click("[data-do=edit]")  # a change of an example starts from it
    np.testing.assert_array_equal(pixels_of(page, ".pad"), 255 * run.data.validation.take([3]).flatten().numpy())
    assert page.locator("text=/no Python behind it|did not travel|needs the studio/").count() == 0


def test_a_decoder_that_stays_in_python_is_blended_from_a_grid(run_folder, tmp_path, visit, monkeypatch):
    monkeypatch.setattr(networks, "LARGEST", 10)
    export("inspector", run_folder / "conv", tmp_path / "page.html")
    page = visit((tmp_path / "page.html").as_uri())
    shown(page, "kl")
    z = drag(page)
    page.wait_for_selector("text=blend of pictures near z")
    model = nelbo.load(run_folder / "conv").model
    picture = model.decode(torch.tensor([z]))[0].detach().flatten().numpy()
    assert np.abs(np.array(pixels_of(page, ".rebuilt canvas.pixels")) / 255 - picture).max() < 0.1
    assert page.locator("[data-do=draw], [data-do=edit]").count() == 0
    page.wait_for_selector("text=Draw and edit in the studio: this model's encoder did not travel with this page.")


def test_more_units_than_two_and_no_pictures(run_folder, tmp_path, visit):
    export(
        "inspector",
        run_folder / "table",
        tmp_path / "page.html",
        "--state",
        'projection=principal&layers=["aggregate"]',
    )
    page = visit((tmp_path / "page.html").as_uri())
    page.wait_for_selector("text=first principal component")
    page.wait_for_function("() => document.querySelector('.aggregate')?.getAttribute('d')?.length > 50")
    z = drag(page)
    assert len(z) == 3
    assert page.locator("text=no Python behind it").count() == 0


def test_the_curves_of_a_training(run_folder, tmp_path, visit):
    export("train", run_folder / "first", run_folder / "second", tmp_path / "page.html")
    page = visit((tmp_path / "page.html").as_uri())
    page.wait_for_selector("text=/finished: epoch 2 of 2/")
    page.wait_for_function("() => document.querySelector('.strip.pairs')?.children.length === 32")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kl", "runs/x", "out.html"], "kl does not show a run; write nelbo export kl out.html"),
        (["report", "runs/x", "runs/y", "out.html"], "report shows one run, got 2: runs/x, runs/y"),
        (["inspector", "runs/nowhere"], "runs/nowhere is not a directory"),
        (["inspector", "--state", "pins=[1"], "--state: pins=[1 is not valid JSON"),
        (["inspector", "out.html"], "no finished run to export"),
    ],
)
def test_what_cannot_be_written_is_said(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 1
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Silent(http.server.SimpleHTTPRequestHandler):
    """Plain files, as any web server offers them."""

    def log_message(self, *_):
        pass


@pytest.fixture
def offered(tmp_path):
    """The address at which a folder below tmp_path is offered."""
    handler = functools.partial(Silent, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield lambda folder: f"http://127.0.0.1:{server.server_port}/{folder.relative_to(tmp_path)}/"
        server.shutdown()


def test_a_site_needs_no_python(run_folder, tmp_path, visit, offered, capsys):
    first, second, out = run_folder / "first", run_folder / "second", tmp_path / "public" / "vae"
    export("site", first, second, run_folder / "table", out)
    assert f"python -m http.server --directory {out}" in capsys.readouterr().out
    parts = str(run_folder.parent).encode()
    assert [path.name for path in out.rglob("*") if path.is_file() and parts in path.read_bytes()] == []
    page = visit(offered(out))
    page.locator("text=Inspect").first.click()
    page.wait_for_selector("#stage[data-ready=inspector]")
    page.goto(offered(out) + "#inspector?run=first&other=second&pins=[7]")
    page.wait_for_selector("[data-difference=nelbo]")
    run = nelbo.load(first)
    x = run.data.validation.take([7])
    with torch.no_grad():
        assert number(shown(page, "kl")) == pytest.approx(float(nelbo.loss(run, x).kl), rel=1e-3)
    z = drag(page)
    picture = run.decode(torch.tensor([z]))[0].flatten().numpy()
    np.testing.assert_allclose(np.array(pixels_of(page, ".rebuilt canvas.pixels")) / 255, picture, atol=1.01 / 255)
    # an encoder is fetched when something is drawn, and not before
    kept = json.loads(page.locator("#answers").text_content())
    encoders = [file for question, file in kept.items() if "inspect.weights" in question and '"encoder"' in question]
    assert page.evaluate(FETCHED, encoders) == 0
    page.click("[data-do=draw]")
    page.wait_for_function(f"(files) => ({FETCHED})(files) === 2", arg=encoders)
    stroke(page)
    page.mouse.up()
    x = torch.tensor(np.array(pixels_of(page, ".pad")) / 255).float().round().reshape(1, 1, 8, 8)
    settled(page, {term: each[0] for term, each in terms_of(evaluate(run, x), 1024).items()})
    for name in ("kl", "train", "report", "worksheet"):
        page.locator(f".rail [data-page={name}]").click()
        page.wait_for_selector(f"#stage[data-ready={name}]")


def test_a_site_is_not_written_into_a_run(run_folder, capsys):
    assert main(["export", "site", str(run_folder / "first")]) == 1
    assert "name the folder to write last" in capsys.readouterr().err
    assert not (run_folder / "first" / "index.html").exists()
