"""The inspector in a browser, on runs trained for seconds."""

import json
import re
import shutil
from urllib.parse import quote

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

import nelbo
from nelbo.studio.exporting import export_page
from nelbo.studio.inspection import terms_under
from nelbo.studio.session import Session

PIXELS = """(selector) => {
  const canvas = document.querySelector(selector);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return Array.from({length: data.length / 4}, (_, i) => data[4 * i]);
}"""


def state_of(**values):
    return "inspector?" + "&".join(
        f"{name}={quote(value if isinstance(value, str) else json.dumps(value))}" for name, value in values.items()
    )


def number(text):
    return float(re.split(r"[±\s]", text.strip())[0].replace("−", "-").replace(",", ""))


def shown(page, term, row=0):
    output = page.locator(".example-row").nth(row).locator(f"[data-term={term}]")
    output.wait_for()
    page.wait_for_function("(e) => /\\d/.test(e.textContent)", arg=output.element_handle())
    return output.inner_text()


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
    expected = run.model.decode(torch.tensor([z]))[0].flatten().numpy()
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
    expected = conv.model.decode(torch.tensor([[1.0, 0.5]]))[0].flatten().numpy()
    page.wait_for_function(f"({PIXELS})('.rebuilt canvas.pixels').some((v) => v > 0)")
    page.wait_for_timeout(200)
    np.testing.assert_allclose(
        np.array(page.evaluate(PIXELS, ".rebuilt canvas.pixels")) / 255, expected, atol=1.01 / 255
    )


def test_two_models_side_by_side(studio, visit, run_folder):
    page = visit(
        studio.address(
            state_of(run=str(run_folder / "first"), other=str(run_folder / "second"), pins=[1], z=[0.5, 0.5])
        )
    )
    page.wait_for_selector("[data-difference=nelbo]")
    assert page.locator(".example-row").count() == 2
    page.wait_for_selector(".ghost[visibility=visible]", state="attached")  # the cursor at the place that corresponds
    from nelbo.studio.inspection import inspect

    terms = [inspect(nelbo.load(run_folder / name)).terms.loss.nelbo for name in ("first", "second")]
    difference = (terms[0] - terms[1]).mean()
    assert number(page.locator("[data-difference=nelbo]").inner_text()) == pytest.approx(float(difference), abs=0.01)


def test_columns_of_a_table_show_as_bars_and_units_of_three(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "table"))))
    page.wait_for_selector("svg.bars path.bar", state="attached")
    assert page.locator("svg.bars circle.input").count() == 6  # the input, over the bars of its reconstruction
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
    page.wait_for_function(f"({PIXELS})('.original canvas.pixels').filter((v) => v > 0).length > 3")
    page.locator(".example-button:not([aria-label='Pin example 0'])").first.click()
    page.wait_for_function("() => document.querySelectorAll('.example-row').length === 2")


def test_numbers_out_of_range_are_clamped_and_said(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[3, 99999], colour="taste")))
    page.wait_for_selector("text=Examples are 0 to 19")
    assert page.locator(".example-row").count() == 1
    page.fill("[aria-label='Example number']", "400")
    page.press("[aria-label='Example number']", "Enter")
    page.wait_for_selector("text=Shown: 19")


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


def test_one_file_without_a_server(visit, run, run_folder, tmp_path):
    document = export_page(Session([run_folder]), "inspector", {"run": str(run_folder / "first"), "pins": [7]})
    (tmp_path / "page.html").write_text(document, "utf-8")
    page = visit((tmp_path / "page.html").as_uri())
    kl = number(shown(page, "kl"))
    with torch.no_grad():
        expected = float(nelbo.loss(run.model, run.data.validation.take([7])).kl)
    assert kl == pytest.approx(expected, rel=1e-3)
    plane = page.locator(".latent svg").bounding_box()
    page.mouse.move(plane["x"] + 120, plane["y"] + 60)
    page.mouse.down()
    page.mouse.move(plane["x"] + 150, plane["y"] + 90, steps=4)
    page.mouse.up()
    page.wait_for_selector("text=decoded at z")
    page.wait_for_timeout(400)  # the address follows within 120 ms
    z = json.loads(re.search(r"z=(\[[^&]*\])", page.evaluate("decodeURIComponent(location.hash)"))[1])
    picture = run.model.decode(torch.tensor([z]))[0].flatten().numpy()
    np.testing.assert_allclose(
        np.array(page.evaluate(PIXELS, ".rebuilt canvas.pixels")) / 255, picture, atol=1.01 / 255
    )
