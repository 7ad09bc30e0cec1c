"""The equation over the inspector's rows: its numbers are those of the row, and what they are made of adds up."""

import re

import numpy as np
import pytest
import torch

import nelbo
from nelbo.evaluation import evaluate
from nelbo.studio.library import Library
from nelbo.studio.session import Session
from tests.studio.reading import filled, number, shown, state_of, told
from tests.studio.runs import small_run
from tests.studio.tab import FRAME, at_rest

TERMS = ("reconstruction_error", "kl", "nelbo")


@pytest.fixture
def studio(run_folder, serving):
    return serving(Session([run_folder]))


@pytest.fixture(scope="module")
def run(run_folder):
    return nelbo.load(run_folder / "first")


def part(page, term):
    return filled(page, page.locator(f"[data-part={term}]").first)


def cells(page, selector):
    return [[cell.inner_text() for cell in line.locator("th, td").all()] for line in page.locator(selector).all()]


def test_the_equation_has_the_numbers_of_the_row(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4, 7], active=1)))
    for term in TERMS:
        row = shown(page, term, 1)
        assert part(page, term) == row
    error, kl, total = (told(part(page, term))[0] for term in TERMS)
    assert total == pytest.approx(error + kl, abs=0.02)
    assert "example 7, in nats" in page.inner_text(".equation h2")
    # another example, another unit, a q of one's own: always those of the row
    page.locator(".example-row").first.locator("header").click()
    page.wait_for_function("() => document.querySelector('.equation h2').textContent.includes('example 4')")
    assert [part(page, term) for term in TERMS] == [shown(page, term, 0) for term in TERMS]
    page.click(".tool.unit")
    page.wait_for_function("() => document.querySelector('.equation h2').textContent.includes('bits')")
    assert [part(page, term) for term in TERMS] == [shown(page, term, 0) for term in TERMS]
    page.evaluate("location.hash += '&q=[0.5,-1,0.4,2]'")
    page.wait_for_function("() => document.querySelector('.equation h2').textContent.includes('under your q')")
    at_rest(page)
    page.wait_for_function("() => document.querySelector('.terms-note').textContent.includes('1,024')")
    page.evaluate(FRAME)
    assert [part(page, term) for term in TERMS] == [shown(page, term, 0) for term in TERMS]


def test_a_click_unfolds_the_kl_of_each_unit(studio, visit, run, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4])))
    part(page, "kl")
    page.focus("[data-unfold=kl]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".unit-kl tfoot")
    assert page.get_attribute("[data-unfold=kl]", "aria-expanded") == "true"
    unfolded = page.get_attribute("[data-unfold=kl]", "aria-controls")
    assert page.locator(f"[id='{unfolded}'] .unit-kl").count() == 1
    with torch.no_grad():
        qz = run.model.posterior(run.data.validation.take([4]))
    mean, sd = qz.mean[0].double(), qz.stddev[0].double()
    for j, line in enumerate(cells(page, ".unit-kl tbody tr")):
        _, mu, sigma, place, width, kl, _ = line
        expected = [mean[j], sd[j], mean[j] ** 2 / 2, (sd[j] ** 2 - 1) / 2 - sd[j].log()]
        for text, value in zip((mu, sigma, place, width), expected, strict=True):
            assert number(text) == pytest.approx(float(value), rel=0.006, abs=1e-6)
        assert number(kl) == pytest.approx(float(expected[2] + expected[3]), rel=1e-3)
    (foot,) = cells(page, ".unit-kl tfoot tr")
    assert foot[5] == part(page, "kl") == shown(page, "kl")
    at_rest(page)
    assert "unfold=kl" in page.evaluate("location.hash")
    page.click("[data-unfold=kl]")
    page.wait_for_selector(".unit-kl", state="detached")


def test_the_chain_from_x_to_the_sum_of_what_each_pixel_costs(studio, visit, run, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4], unfold="reconstruction_error")))
    page.wait_for_selector(".sum-at-z:has-text('ε = 0')")
    slider = page.get_by_role("slider", name="ε of z₁")
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector(".noise .eps output >> text=0.40")  # no press is lost, however late a frame is
    page.evaluate(FRAME)
    page.wait_for_selector(".sum-at-z:has-text('at this z')")
    (first, second) = cells(page, ".noise tbody tr")
    assert [number(first[3]), number(second[3])] == pytest.approx([0.4, 0.0], abs=0.006)
    assert number(first[4]) == pytest.approx(number(first[1]) + number(first[2]) * number(first[3]), rel=0.02, abs=0.01)
    at_rest(page)
    z = re.search(r"z=\[([^\]]+)\]", page.evaluate("decodeURIComponent(location.hash)"))[1]
    z = torch.tensor([[float(value) for value in z.split(",")]])
    x = run.data.validation.take([4])
    with torch.no_grad():
        each = -run.model.likelihood(z).base_dist.log_prob(x)[0, 0].double()
    assert number(page.inner_text(".sum-at-z").split("=")[1]) == pytest.approx(float(each.sum()), rel=1e-3)
    dearest = cells(page, ".most tbody tr")
    for line, value in zip(dearest, each.flatten().sort(descending=True).values, strict=False):
        row, column = (int(text) - 1 for text in line[0].split(", "))
        assert number(line[3]) == pytest.approx(float(each[row, column]), rel=0.006)
        assert float(each[row, column]) == pytest.approx(float(value), rel=1e-4)
    # the row has the same number, and the mean over draws
    assert page.inner_text(".sum-at-z").split("=")[1].split()[0] in page.inner_text(".terms-note")
    assert part(page, "reconstruction_error") in page.inner_text(".sums .caption >> nth=0")
    page.click("[data-do=draw-noise]")
    # a draw may well round to what was there before, but hardly both of them
    page.wait_for_function(
        "() => [...document.querySelectorAll('.noise .eps output')].map(e => e.textContent).join() !== '0.40,0.00'"
    )
    page.click("[data-do=no-noise]")
    page.wait_for_selector(".sum-at-z:has-text('ε = 0')")


def test_a_term_under_the_pointer_lights_up_where_it_stands(studio, visit, run_folder):
    means = nelbo.load(run_folder / "first").encode(nelbo.load(run_folder / "first").data.validation.take(range(20)))
    near = [*means.mean(0).tolist(), 2 * float(means.std(0).max())]  # after two epochs they lie close together
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4], unfold="", view=near)))
    part(page, "kl")
    cloud = "() => document.querySelector('.latent .cloud canvas').toDataURL()"
    page.wait_for_selector(".latent .cloud canvas")
    at_rest(page)
    page.evaluate(FRAME)
    by_label = page.evaluate(cloud)
    page.hover(".part.recon")
    page.wait_for_selector(".example-row .term.recon.lit")
    assert page.locator(".example.costs").count() == 2
    page.wait_for_function(f"(before) => ({cloud})() !== before", arg=by_label)
    by_error = page.evaluate(cloud)
    assert page.locator(".class-names > *").count() == 0  # their colours would stand for something else
    page.keyboard.press("Tab")
    page.hover(".part.kl")
    page.wait_for_selector(".units.lit")
    assert page.locator(".example.costs").count() == 0
    page.wait_for_function(f"(before) => !before.includes(({cloud})())", arg=[by_label, by_error])
    page.hover("h1")
    page.wait_for_function("() => !document.querySelector('.lit')")
    page.wait_for_function(f"(before) => ({cloud})() === before", arg=by_label)
    # the keyboard does the same
    page.focus("[data-unfold=reconstruction_error]")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    page.wait_for_selector(".example-row .term.recon.lit")


def test_the_equation_keeps_its_height_while_a_hand_drags_below_it(studio, visit, run_folder):
    """More words would push what is dragged away from the hand."""
    page = visit(studio.address(state_of(run=str(run_folder / "first"), pins=[4], unfold="")))
    part(page, "kl")
    height = "() => document.querySelector('.equation').offsetHeight"
    grip = page.locator("[data-handle='code z'] .grip").bounding_box()
    x, y, before = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2, page.evaluate(height)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y)
    page.wait_for_selector(".equation[style*=height]")
    # whatever is said there meanwhile
    page.evaluate("() => document.querySelector('.equation h2').append(' and more'.repeat(200))")
    assert page.evaluate(height) == before
    page.mouse.up()
    page.wait_for_selector(".equation:not([style])")


def test_only_the_first_of_two_models_has_a_code_to_move(studio, visit, run_folder):
    runs = {"run": str(run_folder / "first"), "other": str(run_folder / "second")}
    page = visit(studio.address(state_of(**runs, pins=[4], unfold="reconstruction_error")))
    page.wait_for_selector(".equation >> nth=1 >> .sum-at-z")
    assert [page.locator(".equation").nth(i).locator(".eps input:enabled").count() for i in (0, 1)] == [2, 0]
    for i in (0, 1):
        part(page, "nelbo")
        row = page.locator(".example-row").nth(i).locator("[data-term=nelbo]").inner_text()
        assert page.locator(".equation").nth(i).locator("[data-part=nelbo]").inner_text() == row


def test_a_decoder_in_python_is_asked_for_what_each_pixel_costs(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "conv"), pins=[3], z=[0.5, -1.0], unfold="nelbo")))
    page.wait_for_selector(".sum-at-z:has-text('at this z')")
    conv = nelbo.load(run_folder / "conv")
    x = conv.data.validation.take([3])
    with torch.no_grad():
        expected = -float(conv.model.likelihood(torch.tensor([[0.5, -1.0]])).log_prob(x))
    assert number(page.inner_text(".sum-at-z").split("=")[1]) == pytest.approx(expected, rel=1e-3)
    assert page.locator(".most tbody tr").count() == 5


def test_a_table_has_columns_in_place_of_pixels_and_three_units(studio, visit, run_folder):
    page = visit(studio.address(state_of(run=str(run_folder / "table"), pins=[2], unfold="nelbo")))
    part(page, "nelbo")
    assert page.locator(".made-bars.recon rect").count() == 6
    assert page.locator(".unit-kl tbody tr").count() == page.locator(".noise tbody tr").count() == 3
    table = nelbo.load(run_folder / "table")
    x = table.data.validation.take([2])
    errors = evaluate(table, x).error_per_feature(1024)[0].numpy()
    titles = page.locator(".made-bars.recon rect")
    heights = [float(one.get_attribute("height")) for one in titles.all()]
    np.testing.assert_allclose(np.abs(heights) / max(heights), np.abs(errors) / np.abs(errors).max(), atol=0.02)
    page.hover(".part.recon")
    page.wait_for_selector(".example-row .term.recon.lit")
    costs = [
        line.evaluate("(e) => parseInt(e.style.getPropertyValue('--cost'))")
        for line in page.locator(".columns-of tbody tr").all()
    ]
    assert costs.index(max(costs)) == int(errors.argmax())


@pytest.mark.parametrize("kind", ["autoencoder", "mixture prior"])
def test_what_has_no_kl_by_unit_says_so(serving, visit, kind):
    made = small_run("autoencoder") if kind == "autoencoder" else small_run(prior="vamp")
    session = Session()
    name = Library.of(session).add(made)
    page = visit(serving(session).address(state_of(run=name, pins=[2], unfold="nelbo")))
    part(page, "reconstruction_error")
    assert part(page, "reconstruction_error") == shown(page, "reconstruction_error")
    if kind == "autoencoder":
        assert page.locator("[data-part=kl]").count() == 0
        assert part(page, "nelbo") == part(page, "reconstruction_error")
        assert "no KL" in page.inner_text(".equation .minimized")
        assert page.locator(".noise .eps").count() == 0
    else:
        assert part(page, "kl") == shown(page, "kl")
        assert "log q(z|x) − log p(z)" in page.inner_text(".unit-terms")
        assert page.locator(".unit-kl").is_hidden()


def test_the_weight_of_the_kl_in_training_is_told(serving, visit, tmp_path):
    digits = nelbo.data.load("digits", binarize="threshold", limit=100)
    model = nelbo.recipes.beta_vae(digits.event_shape, beta=4.0, hidden=(8,))
    nelbo.fit(model, digits, epochs=1, out=tmp_path / "beta", progress=False)
    page = visit(serving(Session([tmp_path])).address(state_of(run="beta", pins=[1])))
    error, kl = number(part(page, "reconstruction_error")), number(part(page, "kl"))
    words = page.inner_text(".equation .minimized")
    assert "β = 4" in words
    assert number(words.rsplit("=", 1)[1].strip(" .")) == pytest.approx(error + 4 * kl, rel=2e-3)
