"""The inspector in a browser, on runs trained for seconds."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Polygon
from torch.distributions import Independent, Normal

import nelbo
from nelbo.studio.inspection import terms_under
from nelbo.studio.session import Session
from tests.studio.conftest import COLUMNS
from tests.studio.reading import PIXELS, number, shown, state_of


@pytest.fixture
def studio(run_folder, serving):
    return serving(Session([run_folder]))


@pytest.fixture(scope="module")
def run(run_folder):
    return nelbo.load(run_folder / "first")


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


def test_the_browser_decodes_as_the_model_does(studio, visit, run, run_folder):
    z = [0.7, -1.1]
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[0], z=z)))
    page.wait_for_selector("text=decoded at z")
    pixels = page.evaluate(PIXELS, ".rebuilt canvas.pixels")
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
    error, _ = terms_under(run.model, run.data.validation.take([2]), mean, torch.diag(sd.square()))
    assert number(shown(page, "reconstruction_error")) == pytest.approx(
        float(error), abs=5 * float(error.standard_error) + 0.01
    )
    # the keyboard moves the same state, and undo takes back the whole drag
    before = page.evaluate("location.hash")
    page.locator("[data-handle='mean µ of q(z|x)']").press("ArrowRight")
    page.wait_for_function("(before) => location.hash !== before", arg=before)


def test_a_convolutional_decoder_is_asked_in_python(studio, visit, run_folder):
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
    from nelbo.studio.inspection import inspect, terms_of

    opened = [inspect(nelbo.load(run_folder / name)) for name in ("first", "second")]
    terms = [terms_of(each.evaluation, each.draws).nelbo for each in opened]
    difference = (terms[0] - terms[1]).mean()
    assert number(page.locator("[data-difference=nelbo]").inner_text()) == pytest.approx(float(difference), abs=0.01)


def test_columns_of_a_table_show_as_bars_and_units_of_three(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "table"))))
    page.wait_for_selector("svg.bars path.bar", state="attached")
    assert page.locator("svg.bars circle.input").count() == 6  # the input, over the bars of its reconstruction
    assert page.locator("table.values").first.locator("th").all_text_contents() == list(COLUMNS)
    assert page.locator(".unit-row").count() == 3
    page.locator(".unit-row button").first.click()  # another unit on the horizontal axis
    page.wait_for_function("() => location.hash.includes('axes=')")
    page.wait_for_selector("svg.bars path.bar", state="attached")


def test_layers_samples_drawing_and_the_table(studio, visit, run_folder):
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
    page.click("[data-do=sample]")
    page.wait_for_selector("text=25 draws of z")
    page.click("[data-do=draw]")
    page.locator(".pad").scroll_into_view_if_needed()
    box = page.locator(".pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 120, steps=5)
    page.mouse.up()
    page.wait_for_function(f"() => ({PIXELS})('.original canvas.pixels').filter((v) => v > 0).length > 3")
    page.locator(".example-button:not([aria-label*='#0:'])").first.click()
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")


def test_numbers_out_of_range_are_clamped_and_said(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[3, 99999], colour="taste")))
    page.wait_for_selector("text=Examples are 0 to 19")
    assert page.locator(".example-row").count() == 1
    page.fill("[aria-label='Example number']", "400")
    page.press("[aria-label='Example number']", "Enter")
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
    page.fill("[aria-label='Example number']", "5")
    page.press("[aria-label='Example number']", "Enter")  # deleted while open: still there
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")
    shown(page, "kl", 1)
    page.locator("select[aria-label=Model]").select_option(str(tmp_path / "half"))
    page.wait_for_selector("text=not a whole safetensors file")
    page.locator("select[aria-label=Model]").select_option(str(tmp_path / "good"))
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
