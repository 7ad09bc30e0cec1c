"""The inspector in a browser, on runs trained for seconds."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Polygon
from torch.distributions import Independent, Normal

import nelbo
from nelbo.evaluation import evaluate
from nelbo.files import write_json
from nelbo.measure.context import report_context
from nelbo.measure.sections import SECTIONS
from nelbo.report import MEASURES
from nelbo.studio import networks
from nelbo.studio.inspection import inspect, terms_of, terms_under
from nelbo.studio.library import Library
from nelbo.studio.session import Session
from tests.studio.conftest import COLUMNS
from tests.studio.reading import PIXELS, number, pixels_of, shown, state_of, stroke, told
from tests.studio.runs import many_examples, small_run
from tests.studio.tab import at_rest


@pytest.fixture
def studio(run_folder, serving):
    return serving(Session([run_folder]))


@pytest.fixture(scope="module")
def run(run_folder):
    return nelbo.load(run_folder / "first")


@pytest.fixture(scope="module")
def table_of_birds(tmp_path_factory):
    """A run on three named columns and labels that are words."""
    out = tmp_path_factory.mktemp("birds")
    draws = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double().numpy()
    lines = [f"{20 + 3 * a:.4f},{30 + a + b:.4f},{7 + 0.1 * c:.4f},{'lark' if a > 0 else 'wren'}" for a, b, c in draws]
    (out / "birds.csv").write_text("\n".join(["length,weight,wing,species", *lines]) + "\n")
    data = nelbo.data.load(out / "birds.csv", label="species", standardize=True)
    model = nelbo.recipes.vae(data.event_shape, likelihood="normal", latent=2, hidden=(16,))
    nelbo.fit(model, data, epochs=2, out=out / "birds", progress=False)
    return out


def test_the_three_numbers_are_those_of_nelbo_loss(studio, visit, run, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4])))
    values = {term: number(shown(page, term)) for term in ("reconstruction_error", "kl", "nelbo")}
    x = run.data.validation.take([4])
    torch.manual_seed(0)
    with torch.no_grad():
        draws = torch.stack([torch.stack(nelbo.loss(run.model, x)) for _ in range(1000)]).double()[..., 0]
    error = 5 * float(draws[:, 0].std()) * (2 / 1000) ** 0.5 + 0.005
    assert values["kl"] == pytest.approx(float(draws[0, 1]), rel=1e-3)
    assert abs(values["reconstruction_error"] - float(draws[:, 0].mean())) < error
    assert abs(values["nelbo"] - float(draws[:, 2].mean())) < error
    assert values["nelbo"] == pytest.approx(values["reconstruction_error"] + values["kl"], abs=0.02)


TERMS = ("reconstruction_error", "kl", "nelbo")
FIND = "input[type=search]"
HOVERED = r"#(\d+): (.+?) \+ (.+?) = (.+?) nats"


def test_one_quantity_is_one_number(run_folder, serving, visit, tmp_path):
    """Whatever two places show for a run and an example agrees within the standard errors that they print."""
    shutil.copytree(run_folder / "first", tmp_path / "kept")
    run = nelbo.load(tmp_path / "kept")
    context = report_context(run, effort="quick")
    sections = dict(SECTIONS)
    report = context.report((sections["loss"](context), sections["aggregate posterior"](context)))
    write_json(tmp_path / "kept" / MEASURES, report.to_dict())
    served = serving(Session([tmp_path]))
    page = visit(served.address(state_of(run=str(tmp_path / "kept"), pins=[4], layers=["holes"])))
    page.wait_for_selector("table.examples[aria-busy=false]")
    page.wait_for_selector("text=lies in holes")

    # one example: the table, its row, the caption under the pointer, the button, and nelbo.loss
    worst = int(page.locator("[data-pin]").first.get_attribute("data-pin"))
    page.click("text=largest loss")
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")
    assert page.locator(".example-row").nth(1).get_by_text(f"example {worst}").count() == 1
    for row, place in ((worst, 1), (4, 0)):
        texts = [shown(page, term, place) for term in TERMS]
        cells = [page.locator(f"[data-cell='{row} {term}']") for term in TERMS]
        in_table = [cell.inner_text() for cell in cells if cell.count()]
        assert in_table in ([], texts)
        x = run.data.validation.take([row])
        with torch.no_grad():
            again = nelbo.loss(run.model, x, samples=1024)
        alone = {name: each[0] for name, each in terms_of(evaluate(run, x), 1024).items()}
        for term, text in zip(TERMS, texts, strict=True):
            value, error = told(text)
            assert abs(value - float(alone[term])) <= 0.5 * 10.0 ** -len(text.partition(".")[2].partition(" ")[0])
            assert abs(value - float(getattr(again, term))) < 5 * 2**0.5 * error + 0.01
        if row == worst:
            assert in_table == texts
    others = [int(one.get_attribute("data-pin")) for one in page.locator("[data-pin]").all()]
    values = [told(page.locator(f"[data-cell='{row} nelbo']").inner_text())[0] for row in others]
    assert values == sorted(values, reverse=True)

    # the set: the cards and the report; the holes are those of the report, to the digit
    said = page.locator(".group", has=page.locator("[data-layer=holes]")).locator(".caption").inner_text()
    page.click(".rail [data-page=report]")
    page.wait_for_selector("text=prior mass without data")
    for term, title in zip(TERMS, ("reconstruction error", "+ KL", "= NELBO, the total loss"), strict=True):
        card = told(page.locator(f"[data-number={term}]").inner_text())
        row = page.locator("tr", has=page.get_by_role("rowheader", name=title, exact=True)).first
        reported = told(row.locator("td").first.inner_text())
        assert abs(card[0] - reported[0]) < 2 * math.hypot(card[1], reported[1]), term
    row = page.locator("tr", has=page.get_by_role("rowheader", name="prior mass without data")).first
    assert said.startswith(f"{row.locator('td').last.inner_text()} of the prior's mass lies in holes")


def test_the_caption_under_the_pointer_is_the_number_of_the_row(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4])))
    texts = [shown(page, term) for term in TERMS]
    page.wait_for_selector("table.examples[aria-busy=false]")
    dot = page.locator(".latent .mean").bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    page.wait_for_selector("text=/#4: /")
    assert re.search(HOVERED, page.locator(".hover-words").inner_text()).groups() == ("4", *texts)


def test_the_code_gives_the_numbers_shown(studio, visit, run_folder):
    page = visit(studio.address(state_of(run="first", other="second", pins=[4], z=[0.5, -0.5])))
    texts = [[shown(page, term, row) for term in TERMS] for row in (0, 1)]
    given = {}
    exec(page.locator("pre.code").text_content(), given)
    for name, text in zip(("error", "kl", "nelbo_"), texts[0], strict=True):
        assert abs(told(text)[0] - float(given[name])) < 0.006
    difference = told(texts[0][2])[0] - told(texts[1][2])[0]
    assert float(given["difference"]) == pytest.approx(difference, abs=0.011)
    assert given["at_z"].shape == (1, 1, 8, 8)


def test_the_browser_decodes_as_the_model_does(studio, visit, run, run_folder):
    z = [0.7, -1.1]
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[0], z=z)))
    page.wait_for_selector("text=decoded at z")
    pixels = pixels_of(page, ".rebuilt canvas.pixels")
    expected = run.decode(torch.tensor([z]))[0].flatten().numpy()
    np.testing.assert_allclose(np.array(pixels) / 255, expected, atol=1.01 / 255)
    with torch.no_grad():
        error = -float(run.model.likelihood(torch.tensor([z])).log_prob(run.data.validation.take([0])))
    page.wait_for_function(
        "(want) => document.querySelector('.terms-note').textContent.includes(want)", arg="at z: −log p(x|z) = "
    )
    words = page.locator(".terms-note").inner_text()
    assert number(words.split("= ")[1]) == pytest.approx(error, rel=1e-3)


def test_dragging_q_moves_its_kl_as_the_formula_says(studio, visit, run, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[2])))
    shown(page, "kl")
    box = page.locator("[data-handle='mean µ of q(z|x)']").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(1, 9):
        page.mouse.move(x + 6 * i, y - 4 * i)
    page.mouse.up()
    page.wait_for_selector("text=1,024 draws")
    q = json.loads(re.search(r"q=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))[1])
    mean, sd = torch.tensor(q[:2]), torch.tensor(q[2:])
    pz = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    kl = float(nelbo.kl(Independent(Normal(mean, sd), 1), pz))
    assert number(shown(page, "kl")) == pytest.approx(kl, rel=2e-3)
    error = terms_under(run.model, run.data.validation.take([2]), mean, torch.diag(sd.square()))["reconstruction_error"]
    assert number(shown(page, "reconstruction_error")) == pytest.approx(
        float(error), abs=5 * float(error.standard_error) + 0.01
    )
    # the keyboard moves the same state, and undo takes back the whole drag
    before = page.evaluate("location.hash")
    page.locator("[data-handle='mean µ of q(z|x)']").press("ArrowRight")
    page.wait_for_function("(before) => location.hash !== before", arg=before)


@pytest.mark.parametrize("largest", [networks.LARGEST, 10])
def test_a_convolutional_decoder_decodes_in_the_page_or_is_asked_in_python(
    studio, visit, run_folder, monkeypatch, largest
):
    monkeypatch.setattr(networks, "LARGEST", largest)
    page = visit(studio.address(state_of(run=str(run_folder / "conv"), pins=[0], z=[1.0, 0.5])))
    page.wait_for_selector("text=decoded at z")
    conv = nelbo.load(run_folder / "conv")
    expected = conv.decode(torch.tensor([[1.0, 0.5]]))[0].flatten().numpy()
    shown = f"({PIXELS})('.rebuilt canvas.pixels')"
    near = f"(expected) => {shown}.every((v, i) => Math.abs(v / 255 - expected[i]) < 1.01 / 255)"
    page.wait_for_function(near, arg=expected.tolist())


def test_two_models_side_by_side(studio, visit, run_folder):
    page = visit(
        studio.address(
            state_of(run=str(run_folder / "first"), other=str(run_folder / "second"), pins=[1], z=[0.5, 0.5])
        )
    )
    page.wait_for_selector("[data-difference=nelbo]")
    assert page.locator(".example-row").count() == 2
    page.wait_for_selector(".ghost[visibility=visible]", state="attached")  # the cursor at the place that corresponds

    opened = [inspect(nelbo.load(run_folder / name)) for name in ("first", "second")]
    terms = [each.first_terms["nelbo"].value for each in opened]
    difference = (terms[0] - terms[1]).mean()
    assert number(page.locator("[data-difference=nelbo]").inner_text()) == pytest.approx(float(difference), abs=0.01)


def test_columns_of_a_table_show_by_name_and_units_of_three(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "table"))))
    page.wait_for_selector(".value-track .fill", state="attached")
    assert page.locator("table.columns-of tbody th").all_text_contents() == list(COLUMNS)
    assert page.locator(".unit-row").count() == 3
    page.locator(".unit-row button").first.click()  # another unit on the horizontal axis
    page.wait_for_function("() => location.hash.includes('axes=')")
    page.wait_for_selector(".value-track .fill", state="attached")


def test_layers_samples_and_the_table(studio, visit, run_folder):
    page = visit(
        studio.address(
            state_of(
                run=str(run_folder / "first"), pins=[0], layers=["prior", "aggregate", "holes", "pictures", "stretch"]
            )
        )
    )
    page.wait_for_function("() => document.querySelector('.aggregate')?.getAttribute('d')?.length > 50")
    page.wait_for_function(
        "() => document.querySelector('image.pictures')?.getAttribute('href')?.startsWith('data:image/png')"
    )
    page.wait_for_selector("text=of the prior's mass lies in holes")
    page.uncheck("[data-layer=holes]")
    page.wait_for_function("() => !document.body.textContent.includes('lies in holes')")
    assert page.locator("image.holes[visibility=visible]").count() == 0
    page.click("[data-do=sample]")
    page.wait_for_selector("text=25 draws of z")
    page.locator(".example-button:not([data-pin='0'])").first.click()
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")


def test_a_drawing_takes_the_place_of_the_original_and_all_follows_the_stroke(studio, visit, run, run_folder):
    page = visit(studio.address(state_of(run="first", pins=[0])), viewport={"width": 1280, "height": 800})
    before = shown(page, "kl")
    page.click("[data-do=draw]")
    box = page.locator(".original .pad").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 800  # in sight, without scrolling
    assert page.locator(".original figure").is_hidden()
    dot = page.locator(".latent .mean")
    at = [dot.get_attribute(name) for name in ("cx", "cy")]
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for i in range(1, 8):
        page.mouse.move(box["x"] + 20 + 15 * i, box["y"] + 20 + 12 * i)
    moved = "([dot, at]) => dot.getAttribute('cx') !== at[0] || dot.getAttribute('cy') !== at[1]"
    page.wait_for_function(moved, arg=[dot.element_handle(), at])  # while the hand is still down
    page.mouse.up()
    at_rest(page)
    x = torch.tensor(np.array(pixels_of(page, ".pad")) / 255).float().round().reshape(1, 1, 8, 8)
    assert x.sum() > 3
    expected = {name: each[0] for name, each in terms_of(evaluate(run, x), 1024).items()}
    kl = number(f"{float(expected['kl']):.4g}")
    page.wait_for_function(
        "(kl) => Number(document.querySelector('[data-term=kl]').textContent) === kl", arg=kl
    )  # over as many draws as any example
    assert told(shown(page, "nelbo"))[0] == pytest.approx(float(expected["nelbo"]), abs=0.006)
    with torch.no_grad():
        mean = run.model.posterior(x).mean[0]
    handle = page.locator("[data-handle='mean µ of q(z|x)']")
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(float(mean[0]), abs=1e-3)
    page.click("[data-do=done]")
    page.wait_for_function("(kl) => document.querySelector('[data-term=kl]').textContent === kl", arg=before)
    assert page.locator(".pad").count() == 0
    page.click("[data-do=edit]")  # a change of the example starts from it
    np.testing.assert_array_equal(pixels_of(page, ".pad"), 255 * run.data.validation.take([0]).flatten().numpy())
    page.locator(".pad").press("Space")  # with the keyboard
    page.wait_for_function("(kl) => document.querySelector('[data-term=kl]').textContent !== kl", arg=before)


HEARD = """() => {
  const note = document.querySelector('.terms-note');
  window.heard = [];
  new MutationObserver(() => window.heard.push(note.textContent)).observe(note, { childList: true });
}"""


@pytest.mark.parametrize("name", ["first", "conv"])
def test_a_stroke_is_followed_in_the_page_and_python_settles_it(studio, visit, run_folder, name):
    page = visit(studio.address(state_of(run=name, pins=[0])))
    shown(page, "kl")
    page.click("[data-do=draw]")
    at_rest(page)
    page.evaluate(HEARD)
    before = stroke(page)
    kl = shown(page, "kl")
    page.mouse.up()
    at_rest(page)
    page.wait_for_function("() => !document.querySelector('.terms-note').textContent.includes('Quadrature')")
    assert page.evaluate("() => window.heard.some((words) => words.includes('Quadrature with'))")  # without Python
    assert before != shown(page, "kl") == kl
    x = torch.tensor(np.array(pixels_of(page, ".pad")) / 255).float().round().reshape(1, 1, 8, 8)
    expected = terms_of(evaluate(nelbo.load(run_folder / name), x), 1024)
    for term in TERMS:
        value, error = told(shown(page, term))
        assert abs(value - float(expected[term])) <= max(0.006, error / 10), term


def test_a_walk_between_links_says_nothing_wrong(studio, visit, run_folder):
    page = visit(studio.address(state_of(run="first", pins=[1, 2])))
    shown(page, "kl", 1)
    for state in ("run=second", "run=first", "run=table&pins=[3]", "run=first&pins=[4]&z=[0.5,0.5]"):
        page.evaluate("(state) => (location.hash = `#inspector?${state}`)", state)
        title = state.partition("&")[0].removeprefix("run=")
        page.wait_for_function("(title) => document.querySelector('.example-row h2')?.textContent === title", arg=title)
        shown(page, "kl")
        at_rest(page)
        assert page.locator(".note").is_hidden() or not page.locator(".note").inner_text()
    page.go_back()
    page.wait_for_function("() => document.querySelector('.example-row h2')?.textContent === 'table'")
    shown(page, "kl")


def view_of(page):
    """The view of the plane in the address, once it is written."""
    at_rest(page)
    found = re.search(r"[?&]view=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))
    return json.loads(found[1]) if found else []


AXES = """(svg) => {
  const ticks = [...svg.querySelectorAll('.axes text[text-anchor=middle]:not(.axis-label)')];
  const [a, b] = [ticks[0], ticks.at(-1)].map((t) => {
    return [Number(t.getAttribute('x')), Number(t.textContent.replace('−', '-'))];
  });
  return [a, b];
}"""


def z1_at(page, x):
    """The first coordinate at a place on the screen, read off the ticks."""
    svg = page.locator(".latent svg").first
    (ax, av), (bx, bv) = page.evaluate(AXES, svg.element_handle())
    return av + (x - svg.bounding_box()["x"] - ax) * (bv - av) / (bx - ax)


def test_the_plane_is_zoomed_where_the_pointer_is_and_the_view_is_kept(studio, visit, run_folder):
    page = visit(studio.address(state_of(run="first", pins=[0])))
    shown(page, "kl")
    plane = page.locator(".latent svg").first.bounding_box()
    x, y = plane["x"] + 0.6 * plane["width"], plane["y"] + 0.3 * plane["height"]
    page.mouse.move(x, y)
    page.mouse.wheel(0, 60)  # without Ctrl the page scrolls
    page.wait_for_function("() => scrollY > 0")
    page.evaluate("scrollTo(0, 0)")
    assert view_of(page) == []
    page.mouse.move(x, y)
    before = z1_at(page, x)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    view = view_of(page)
    assert view[2] == pytest.approx(3.4 * math.exp(-0.75), rel=0.01)
    assert z1_at(page, x) == pytest.approx(before, abs=0.03)
    assert page.evaluate("scrollY") == 0
    # Alt and the mouse move it; a link opens the same
    page.keyboard.down("Alt")
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=3)
    page.mouse.up()
    page.keyboard.up("Alt")
    moved = view_of(page)
    assert moved[0] < view[0]
    assert z1_at(page, x + 60) == pytest.approx(before, abs=0.03)
    again = visit(studio.address(state_of(run="first", pins=[0], view=moved)))
    shown(again, "kl")
    assert z1_at(again, x + 60) == pytest.approx(before, abs=0.03)
    # a click on an empty place decodes there, a double click goes back to the whole
    page.mouse.dblclick(x, y)
    assert view_of(page) == []
    # a box, the buttons, the keyboard
    page.click("[data-zoom=box]")
    page.mouse.move(plane["x"] + 100, plane["y"] + 100)
    page.mouse.down()
    page.mouse.move(plane["x"] + 180, plane["y"] + 170, steps=4)
    page.mouse.up()
    boxed = view_of(page)
    assert 0 < boxed[2] < 1.5
    assert "z=" not in page.evaluate("location.hash")
    page.click("[data-zoom=prior]")
    assert view_of(page) == [0, 0, 3.4]
    page.locator(".latent svg").first.press("+")
    assert view_of(page)[2] == pytest.approx(3.4 / 1.5, rel=0.01)
    page.locator(".latent svg").first.press("ArrowRight")
    assert view_of(page)[0] > 0
    page.locator(".latent svg").first.press("0")
    assert view_of(page) == []


def test_two_fingers_zoom_the_plane(studio, visit, run_folder):
    page = visit(studio.address(state_of(run="first", pins=[0])), has_touch=True)
    shown(page, "kl")
    plane = page.locator(".latent svg").first
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    x, y = box["x"] + 0.7 * box["width"], box["y"] + 0.3 * box["height"]
    before = z1_at(page, x)
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})

    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    for i in range(1, 6):
        touch("touchMove", (x - 20 - 4 * i, y), (x + 20 + 4 * i, y))
    touch("touchEnd")
    assert view_of(page)[2] == pytest.approx(3.4 / 2, rel=0.02)
    assert z1_at(page, x) == pytest.approx(before, abs=0.05)
    assert page.locator(".example-row").count() == 1  # a finger that is lifted picks nothing
    assert "z=" not in page.evaluate("location.hash")


def test_the_holes_of_an_autoencoder_are_seen_after_a_zoom_to_the_prior(serving, visit):
    session = Session()
    name = Library.of(session).add(small_run("autoencoder"))
    page = visit(serving(session).address(state_of(run=name, layers=["holes"], view=[0, 0, 40])))
    page.click("text=Zoom to the prior")
    assert view_of(page)[2] == pytest.approx(3.4)
    page.wait_for_function("() => document.querySelector('image.holes').getAttribute('visibility') === 'visible'")


def test_links_name_a_run_by_its_name_and_survive_another_folder(run_folder, serving, visit, tmp_path):
    served = serving(Session([run_folder]))
    for written in (str(run_folder / "first"), "first", "runs/first"):
        page = visit(served.address(state_of(run=written, pins=[3])))
        shown(page, "kl")
        at_rest(page)
        assert page.evaluate("location.hash").startswith("#inspector?run=first&")
        assert page.locator("select[aria-label=Model]").input_value() == "first"
    page = visit(served.address(state_of(run="nowhere")))
    page.wait_for_selector("text=no run 'nowhere' here")
    shutil.copytree(run_folder / "first", tmp_path / "elsewhere" / "deep" / "first")
    moved = serving(Session([tmp_path / "elsewhere"]))
    page = visit(moved.address("inspector?run=first"))
    shown(page, "kl")
    for folder in ("a", "b"):
        shutil.copytree(run_folder / "first", tmp_path / "twice" / folder / "first")
    page = visit(serving(Session([tmp_path / "twice"])).address("inspector?run=first"))
    page.wait_for_selector("text='first' may be any of")
    page.locator("select[aria-label=Model]").select_option("b/first")
    shown(page, "kl")


def test_a_run_that_was_interrupted_is_inspected_from_its_checkpoint(run_folder, serving, visit, tmp_path):
    data = nelbo.data.load("digits", binarize="threshold", limit=200)

    def stop(epoch):
        if epoch["epoch"] == 2:
            raise KeyboardInterrupt

    model = nelbo.recipes.vae(data.event_shape, hidden=(16,))
    with pytest.raises(KeyboardInterrupt):
        nelbo.fit(model, data, epochs=5, out=tmp_path / "cut", progress=False, callback=stop, checkpoint_every=1e-6)
    page = visit(serving(Session([tmp_path])).address("inspector"))
    shown(page, "kl")
    words = page.locator("select[aria-label=Model] option").inner_text()
    assert re.fullmatch(r"cut, latent 2 \(interrupted: checkpoint after epoch \d\)", words)


def test_a_table_has_its_names_and_both_units(serving, visit, table_of_birds):
    page = visit(serving(Session([table_of_birds])).address(state_of(run="birds", pins=[3])))
    shown(page, "kl")
    run = nelbo.load(table_of_birds / "birds")
    x = run.data.validation.take([3])[0]
    mean, std = (torch.tensor(values) for values in (run.data.preparation.mean, run.data.preparation.std))
    rows = page.locator("table.columns-of tbody tr")
    assert rows.locator("th").all_inner_texts() == ["length", "weight", "wing"]

    def column(cell):
        return [number(text) for text in page.locator(f"table.columns-of [{cell}]").all_inner_texts()]

    np.testing.assert_allclose(column("data-x"), x * std + mean, rtol=2e-3)
    rebuilt = run.reconstruct(x[None])[0]
    np.testing.assert_allclose(column("data-rebuilt"), rebuilt * std + mean, rtol=2e-3)
    page.click("text=as the model sees them")
    page.wait_for_function("() => location.hash.includes('values=standardized')")
    np.testing.assert_allclose(column("data-x"), x, atol=2e-3, rtol=2e-3)
    # names of labels, and only what there is to choose
    assert "lark" in page.locator("select[aria-label='First example of a class']").inner_text()
    assert page.locator(".example-row .what").inner_text().split(",")[0] in ("lark", "wren")
    assert page.locator("[data-layer=pictures]").is_hidden()
    assert page.locator("[data-do=draw]").count() == 0
    assert page.locator("text=To the right").count() == 0
    page.wait_for_selector("text=/(length|weight|wing) \\S+ → /")  # what each unit changes
    # a value changed by the reader
    before = shown(page, "nelbo")
    page.click("[data-do=edit]")
    page.locator("table.columns-of input[type=text]").nth(1).fill("4")
    page.locator("table.columns-of input[type=text]").nth(1).press("Enter")
    page.wait_for_function("(was) => document.querySelector('[data-term=nelbo]').textContent !== was", arg=before)
    at_rest(page)
    changed = x.clone()
    changed[1] = 4
    with torch.no_grad():
        kl = float(nelbo.loss(run.model, changed[None]).kl)
    assert number(shown(page, "kl")) == pytest.approx(kl, rel=1e-3)
    page.click("[data-do=done]")
    page.wait_for_function("(was) => document.querySelector('[data-term=nelbo]').textContent === was", arg=before)


def test_counts_are_seen_beside_much_larger_ones(serving, visit):
    session = Session()
    run = small_run(likelihood="poisson")
    run.data.validation.x[0, 0] = 500  # the largest of the set
    name = Library.of(session).add(run)
    page = visit(serving(session).address(state_of(run=name, pins=[5])))
    shown(page, "kl")
    x = run.data.validation.take([5]).flatten()
    at = [
        float(left)
        for left in page.locator(".value-track .dot").evaluate_all("(all) => all.map((e) => parseFloat(e.style.left))")
    ]
    largest = max(float(x.max()), *[number(t) for t in page.locator("[data-rebuilt]").all_inner_texts()])
    np.testing.assert_allclose(at, 100 * (x / largest).sqrt(), atol=1)
    assert min(at[i] for i in range(len(x)) if x[i] > 0) > 10  # of a hundred: the smallest count is seen


def test_numbers_out_of_range_are_clamped_and_said(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[3, 99999], colour="taste")))
    page.wait_for_selector("text=Examples are 0 to 19")
    assert page.locator(".example-row").count() == 1
    page.fill(FIND, "400")
    page.press(FIND, "Enter")
    page.wait_for_selector("text=Shown: 19")
    far = {"z": [1e99, 0], "q": [0, 0, -1, 1], "lasso": [-9, -9, 9, -9, 1e300, 9]}
    page = visit(studio.address(state_of(run=str(run_folder / "first"), **far)))
    page.wait_for_selector("text=/(z|lasso) holds numbers from −1000 to 1000; others were clamped/")
    shown(page, "kl")
    page = visit(studio.address("%E0%A4%A"))  # a link that was cut
    page.wait_for_selector("text=There is no page")


def test_damaged_and_deleted_runs(studio, visit, run_folder, tmp_path, serving):
    for name in ("good", "half", "gone"):
        shutil.copytree(run_folder / "first", tmp_path / name)
    (tmp_path / "half" / "weights.safetensors").write_bytes(b"\x00" * 100)
    own = serving(Session([tmp_path]))
    page = visit(own.address(state_of(run=str(tmp_path / "gone"), pins=[0])))
    shown(page, "kl")
    shutil.rmtree(tmp_path / "gone")
    page.fill(FIND, "5")
    page.press(FIND, "Enter")  # deleted while open: still there
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")
    shown(page, "kl", 1)
    page.locator("select[aria-label=Model]").select_option("half")
    page.wait_for_selector("text=not a whole safetensors file")
    page.locator("select[aria-label=Model]").select_option("good")
    shown(page, "kl")


def test_a_lasso_fills_the_table_and_views_are_kept(studio, visit, run, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[2], z=[0.5, -0.25])))
    page.wait_for_selector(".neighbours canvas")
    page.fill("[aria-label='Name of this view']", "below")
    page.click("[data-do=bookmark]")
    page.click("[data-do=lasso]")
    page.locator(".latent svg").scroll_into_view_if_needed()
    plane = page.locator(".latent svg").bounding_box()
    z = run.encode(run.data.validation.take(range(20))).numpy()
    share = (float(np.median(z[:, 0])) + 3.4) / 6.8  # of the plane, which shows the prior out to 3.4 sigma
    middle, bottom = 40 + share * (plane["width"] - 48), plane["height"] - 50
    corners = [(45, 20), (middle, 20), (middle, bottom), (45, bottom)]
    page.mouse.move(plane["x"] + corners[0][0], plane["y"] + corners[0][1])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(plane["x"] + x, plane["y"] + y, steps=5)
    page.mouse.up()
    page.wait_for_selector("text=/of \\d+ in the lasso/")
    page.wait_for_function("() => location.hash.includes('lasso=')")
    flat = json.loads(re.search(r"lasso=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))[1])
    inside = int(Polygon(np.reshape(flat, (-1, 2))).contains_points(z).sum())
    assert 0 < inside < 20
    page.wait_for_selector(f"text=of {inside} in the lasso")
    assert "reconstruction error" in page.locator("[data-selection]").inner_text()
    page.click("text=All examples")
    page.wait_for_selector("text=1–12 of 20")
    page.click("[data-do=back]")
    page.wait_for_function("() => !location.hash.includes('&z=')")
    page.click(".bookmark .chip")
    page.wait_for_selector("text=decoded at z")
    assert page.locator(".bookmark .chip").inner_text() == "below"


ALL_HERE = """() => [...document.querySelectorAll('.card')].some((card) => /over 3,000 train/.test(card.textContent))"""
COLOURED = """(around) => {
  const canvas = document.querySelector('.latent canvas');
  const [x, y, r] = around.map((v) => Math.round(v * canvas.width));
  const { data } = canvas.getContext('2d').getImageData(x - r, y - r, 2 * r + 1, 2 * r + 1);
  let strongest = 0;
  for (let i = 3; i < data.length; i += 4) strongest = Math.max(strongest, data[i]);
  return strongest;
}"""


def test_a_map_of_all_examples_with_search_lasso_and_pictures_close_up(serving, visit):
    """The first thousand are there at once and all the others follow; what the map is asked, it answers from all."""
    session = Session()
    run = many_examples(3000)
    name = Library.of(session).add(run)
    with torch.no_grad():
        z = run.model.posterior(run.data.train.x).mean.numpy()
    page = visit(serving(session).address(state_of(run=name, pins=[4])))
    shown(page, "kl")
    page.wait_for_function(ALL_HERE)
    page.wait_for_selector("text=1–12 of 3,000")
    # one beyond the first thousand has its dot where its mean lies, and is picked there
    low, size = -3.4, 6.8  # the plane shows the prior out to 3.4 sigma
    far = int(1000 + np.argmax(np.abs(z[1000:]).sum(1) * (np.abs(z[1000:]).max(1) < 3)))
    place = (z[far, 0] - low) / size, 1 - (z[far, 1] - low) / size
    assert page.evaluate(COLOURED, [*map(float, place), 0.003]) > 100
    page.fill(FIND, str(far))
    page.click("button:text-is('Find')")
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")
    # a condition: the table holds what fits, the others are faint, and the plane goes there; the link finds it again
    limit = round(float(np.quantile(z[:, 0], 0.7)), 2)
    page.fill(FIND, f"z1 > {limit}")
    page.press(FIND, "Enter")
    fitting = int((z[:, 0] > limit).sum())
    page.wait_for_selector(f"text=of {fitting:,} with z1 > {limit}")
    page.wait_for_function("() => location.hash.includes('search=') && location.hash.includes('view=')")
    page.click("[data-zoom=fit]")
    page.wait_for_function("() => !location.hash.includes('view=')")
    left = int(np.argmin(z[:, 0]))
    place = (z[left, 0] - low) / size, 1 - (z[left, 1] - low) / size
    assert 0 < page.evaluate(COLOURED, [*map(float, place), 0.003]) < 150
    page.fill(FIND, "rabbit")
    page.press(FIND, "Enter")
    page.wait_for_selector("text=“rabbit” means nothing here")
    page.click("text=All examples")
    page.wait_for_selector("text=1–12 of 3,000")
    # a lasso: as many as matplotlib finds within the same line
    a, b, c = np.quantile(z, [0.2, 0.5, 0.9], axis=0).round(3).astype(float).tolist()
    corners = [a[0], a[1], c[0], a[1], b[0], c[1], a[0], b[1]]
    page.wait_for_function("() => !location.hash.includes('search=')")
    page.evaluate("(lasso) => (location.hash += '&lasso=' + JSON.stringify(lasso))", corners)
    within = int(Polygon(np.reshape(corners, (-1, 2))).contains_points(z).sum())
    page.wait_for_selector(f"text=of {within:,} in the lasso")
    # close up, pictures stand for the points: the canvas has the pixels of the example in the middle
    centre = [float(v) for v in z[far]]
    page.locator(".latent svg").first.scroll_into_view_if_needed()  # out of sight nothing is drawn
    page.evaluate(
        "(view) => (location.hash += '&view=' + JSON.stringify(view))", [*np.round(centre, 4).tolist(), 0.004]
    )
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector('.latent canvas');
          const at = canvas.width / 2;
          const { data } = canvas.getContext('2d').getImageData(at - 16, at - 16, 32, 32);
          let [black, white] = [0, 0];
          for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] < 255) continue;
            if (data[i] + data[i + 1] + data[i + 2] === 0) black++;
            if (data[i] + data[i + 1] + data[i + 2] === 765) white++;
          }
          return black > 50 && white > 50;
        }"""
    )


def test_principal_axes_are_those_of_numpy(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "table"), projection="principal", pins=[1])))
    page.wait_for_selector("text=first principal component")
    table = nelbo.load(run_folder / "table")
    mean = table.encode(table.data.validation.take(range(20))).numpy()
    first = np.linalg.svd(mean - mean.mean(0), full_matrices=False)[2][0]
    first *= np.sign(first[np.abs(first).argmax()])
    handle = page.locator("[data-handle='mean µ of q(z|x)']")
    page.wait_for_function("(e) => Number(e.getAttribute('aria-valuenow')) !== 0", arg=handle.element_handle())
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(float(mean[1] @ first), abs=1e-3)
    # a q of one's own along a direction that mixes units: its KL comes from Python
    handle.press("ArrowRight")
    page.wait_for_selector("text=1,024 draws")
    q = json.loads(re.search(r"q=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))[1])
    assert q[0] > float(mean[1] @ first)
    assert number(shown(page, "kl")) > 0
