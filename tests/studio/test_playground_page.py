"""The playground: a VAE is trained in the page, β moves while it trains, and the numbers shown are nelbo's."""

import re

import numpy as np
import pytest
import torch

import nelbo
from nelbo.studio.link import export_html
from tests.studio import digits
from tests.studio.golden import terms_and_gradient, vae_of
from tests.studio.tab import FRAME

SIZES = {"features": 64, "hidden": 64, "latent": 2}
EPOCH = "Number(document.querySelector('.page')?.dataset.epoch)"
# a training in the page's modules, without the page: what it computed, to be compared with Python
TRAINED = """async () => {
  const {training, network} = await import("/pages/playground/training.js");
  const {pixels} = await import("/pages/playground/digits.js");
  const job = training({seed: 4, batch: 32});
  while (job.epoch < 0.5) job.step({beta: 2, rate: 0.003});
  const rows = Array.from({length: 40}, (_, i) => i);
  const eps = Float64Array.from({length: 80}, (_, i) => 1.3 * Math.sin(2.1 * i + 1));
  const gradient = new Float64Array(network.count);
  const terms = network.loss(job.weights, pixels, rows, eps, 2, gradient);
  return {weights: [...job.weights], terms, gradient: [...gradient], measured: job.measure(2)};
}"""


def until(tab, epoch):
    tab.page.wait_for_function(f"() => {EPOCH} >= {epoch}")


def button(tab, name):
    return tab.page.locator(f"[data-order={name}]")


def numbers(tab):
    """What the cards show; less than 1e-4 is 0."""
    texts = {name: tab.number(name) for name in ("reconstruction", "kl", "total", "loss")}
    return {name: 0.0 if "⁻" in text else float(text) for name, text in texts.items()}


@pytest.fixture
def shown(tab, studio):
    """The page in some state, with its first picture drawn."""

    def show(state=""):
        tab.show(studio, f"playground?{state}" if state else "playground")
        tab.page.wait_for_selector(".page[data-epoch]")
        return tab

    return show


def test_the_digits_are_those_of_nelbo():
    assert digits.PATH.read_text("utf-8") == digits.text()


def test_terms_and_gradients_of_the_network_are_torchs(tab, studio):
    tab.show(studio, "kl")
    found = tab.page.evaluate(TRAINED)
    pixels, _, training = digits.arrays()
    model = vae_of(SIZES, torch.tensor(found["weights"], dtype=torch.float64))
    x = torch.tensor(pixels, dtype=torch.float64)
    eps = 1.3 * torch.sin(2.1 * torch.arange(80, dtype=torch.float64) + 1).reshape(40, 2)
    reconstruction, kl, gradient = terms_and_gradient(model, x[:40], eps, 2.0)
    assert [found["terms"]["reconstruction"], found["terms"]["kl"]] == pytest.approx([reconstruction, kl], rel=1e-10)
    np.testing.assert_allclose(found["gradient"], gradient.numpy(), rtol=1e-9, atol=1e-10)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        held = nelbo.loss(model, x[training:], samples=8)
    measured = found["measured"]
    assert measured["held"]["kl"] == pytest.approx(float(held.kl.mean()), rel=1e-10)
    assert measured["held"]["reconstruction"] == pytest.approx(
        float(held.reconstruction_error.mean()), abs=4 * measured["errors"]["reconstruction"]
    )


def test_it_trains_in_a_worker_and_the_loss_falls(shown):
    tab = shown("pace=fast")
    before = numbers(tab)
    button(tab, "play").click()
    until(tab, 2)
    button(tab, "play").click()
    tab.page.wait_for_function("() => document.querySelector('[data-order=play]').textContent === 'Play'")
    tab.rest()
    after = numbers(tab)
    assert after["total"] < before["total"] - 1
    assert after["total"] == pytest.approx(after["reconstruction"] + after["kl"], abs=0.011)
    assert after["loss"] == after["total"]  # β = 1
    assert len(tab.page.workers) == 1


def test_the_curves_end_with_the_numbers_of_the_cards(shown):
    """Between two points of the curves, too."""
    tab = shown("rate=0.03")
    for _ in range(8):
        before = tab.page.locator(".page").get_attribute("data-epoch")
        button(tab, "step").click()
        tab.page.wait_for_function("(old) => document.querySelector('.page').dataset.epoch !== old", arg=before)
    cards = numbers(tab)
    beside = " ".join(tab.page.locator("svg[aria-label^='Reconstruction error and KL'] text").all_text_contents())
    for name, text, unit in (("kl", r"KL ([\d.]+)", 0.01), ("total", r"−ELBO ([\d.]+)", 0.1)):  # 3 digits
        assert float(re.search(text, beside)[1]) == pytest.approx(cards[name], abs=0.51 * unit + 1e-3)


def test_a_link_trains_to_an_epoch_and_pauses(shown):
    """Two readers of one link see the same numbers."""
    told = []
    for _ in range(2):
        tab = shown("pace=fast&running=true&epochs=1&seed=7")
        tab.page.wait_for_selector("text=Paused after epoch 1")
        tab.settle()
        assert tab.page.locator(".page").get_attribute("data-epoch") == "1.000"
        assert button(tab, "play").inner_text() == "Play"
        told.append(numbers(tab))
        tab.page.goto("about:blank")
    assert told[0] == told[1]


def test_beta_moves_the_trail_while_it_trains(shown):
    tab = shown("pace=fast&running=true")
    until(tab, 3)
    line = "() => document.querySelector('[data-mark=beta]').getAttribute('d')"
    told = numbers(tab)["kl"]
    field = tab.page.locator("[data-field=beta]")
    before = tab.page.evaluate(line)
    field.fill("20")
    field.press("Enter")
    tab.page.wait_for_function(f"(old) => ({line})() !== old", arg=before)
    at = float(tab.page.locator(".page").get_attribute("data-epoch"))
    until(tab, at + 3)
    assert button(tab, "play").inner_text() == "Pause"  # it went on all the while
    assert numbers(tab)["kl"] < 0.3 * told
    tab.page.wait_for_selector(".switches text:has-text('β = 20')")
    tab.page.wait_for_selector("text=/[01] of 2 units carry/")


def test_the_beta_slider_is_fine_near_zero(shown):
    tab = shown()
    slider = tab.page.locator(".beta-strip input[type=range]")
    slider.focus()
    slider.press("Home")
    tab.settle()
    assert tab.field("beta") == 0
    slider.press("ArrowRight")
    tab.settle()
    assert 0 < tab.field("beta") < 0.001
    slider.press("End")
    tab.settle()
    assert tab.field("beta") == 20


def test_a_step_by_keyboard_tells_what_happened(shown):
    tab = shown()
    button(tab, "step").focus()
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector(".steps-of:visible")
    text = tab.page.locator(".steps-of").inner_text()
    for part in ("Take batch 1 of 51: 32 digits", "Loss:", "Gradient", "Adam moves each weight", "less by"):
        assert part in text
    assert tab.page.locator(".batch-strip canvas").count() == 16
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("text=Take batch 2 of 51")
    assert len(tab.page.locator(".drawn-points").get_attribute("d").split("M")) == 33


def test_the_same_seed_repeats_the_same_numbers(shown):
    tab = shown("seed=5")

    def three_steps():
        told = []
        for number in (1, 2, 3):
            button(tab, "step").click()
            tab.page.wait_for_selector(f"text=Take batch {number} of 51")
            told.append(tab.page.locator(".steps-of").inner_text())
        return told

    first = three_steps()
    button(tab, "restart").click()
    tab.page.wait_for_function(f"() => {EPOCH} === 0")
    assert three_steps() == first
    tab.page.get_by_role("button", name="Another start").click()
    tab.page.wait_for_function(f"() => {EPOCH} === 0")
    assert three_steps() != first


def test_z_is_dragged_and_decoded(shown):
    tab = shown()
    pixels = "() => document.querySelector('.decoded canvas').toDataURL()"
    before = tab.page.evaluate(pixels)
    tab.drag("z, to decode", 60, -40)
    z = tab.page.evaluate("() => document.querySelector('[data-handle]').getAttribute('aria-valuetext')")
    assert z != "z = 0, 0"
    assert tab.page.evaluate(pixels) != before
    assert "z" in tab.hash()


def test_where_workers_are_refused_it_trains_between_frames(tab, studio):
    tab.page.add_init_script("window.Worker = class { constructor() { throw new Error('refused'); } };")
    tab.show(studio, "playground?pace=fast&running=true&epochs=1")
    tab.page.wait_for_selector("text=Paused after epoch 1")
    assert tab.page.workers == []


def test_the_exported_file_trains_without_a_network(tab, tmp_path):
    file = tmp_path / "playground.html"
    file.write_text(export_html("playground", {"running": True, "pace": "fast", "seed": 3}), "utf-8")
    tab.page.goto(file.as_uri())
    until(tab, 1)
    button(tab, "play").click()
    tab.page.wait_for_function("() => document.querySelector('[data-order=play]').textContent === 'Play'")
    assert numbers(tab)["total"] < 25


def test_a_figure_out_of_sight_is_drawn_anew_for_another_width(studio, visit):
    page = visit(studio.address("playground"))
    words = page.locator("svg text.kl.halo[x]")
    words.wait_for(state="attached")
    page.set_viewport_size({"width": 1280, "height": 60})
    assert words.evaluate("(e) => e.ownerSVGElement.getBoundingClientRect().top") > 400
    page.evaluate(FRAME)
    page.evaluate(FRAME)  # the browser says what is out of sight after a frame
    page.set_viewport_size({"width": 390, "height": 60})  # as when the page is printed: nobody scrolls
    page.wait_for_function("() => document.querySelector('svg text.kl.halo').ownerSVGElement.clientWidth < 390")
    page.evaluate(FRAME)
    left = words.evaluate("(e) => e.ownerSVGElement.viewBox.baseVal.width - Number(e.getAttribute('x'))")
    assert 0 <= left < 30


# the curves are made narrow: by how much, and how far their words end from the edge before and in the frame after
NARROW = """async () => {
  let time = performance.now();
  performance.now = () => (time += 10);  // each part takes what a frame has for all of them
  const words = document.querySelector("svg text.kl.halo[x]");
  words.scrollIntoView();
  const width = () => words.ownerSVGElement.viewBox.baseVal.width;
  const left = () => width() - Number(words.getAttribute("x"));
  const before = [width(), left()];
  words.closest(".columns").style.width = "240px";
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);  // seen in the first, drawn in the second
  return [before[0] - width(), before[1], left()];
}"""


def test_another_width_is_drawn_at_once_however_slow_the_drawing(studio, visit):
    """What a training draws in turns would stand there for some frames in the old size."""
    page = visit(studio.address("playground"))
    page.locator("svg text.kl.halo[x]").wait_for(state="attached")
    narrower, before, after = page.evaluate(NARROW)
    assert narrower > 50
    assert after == pytest.approx(before)
