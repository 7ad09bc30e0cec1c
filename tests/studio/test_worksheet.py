"""The worksheet: predict first, goals that count by hand only, a record on two pages, a link for a class."""

import json
import re
from urllib.parse import quote

import pytest
import torch

import nelbo
from nelbo.studio.session import Session
from tests.studio.test_access import UNUSABLE

STEPS = """async () => (await import("/pages/worksheet/steps.js")).STEPS.map(
    ({id, page, options, start, runs}) => ({id, page, options, start: start ?? {}, runs}))"""
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
# every preset, every button that finds an answer, every bar of a histogram that loads an example
PRESS_ALL = """async () => {
  const frames = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const all = ".presets button, [data-answer] button, [data-answer] rect, .panel:has([data-asymmetry]) button";
  for (const one of document.querySelectorAll(all)) {
    one.dispatchEvent(new MouseEvent("click", {bubbles: true}));
    await frames();
  }
}"""
KEPT = "JSON.parse(localStorage.getItem('nelbo-worksheet')).steps"
LONG = "Because a reflection trades p for q and leaves the integral alone, both directions agree. " * 3


class Hand:
    """What a reader's hand does on a page."""

    def __init__(self, page):
        self.page = page

    def type(self, **values):
        for name, value in values.items():
            field = self.page.locator(f'[data-field="{name}"]')
            field.fill(str(value))
            field.press("Enter")

    def drag(self, name, dx, dy=0):
        handle = self.page.locator(f'[data-handle="{name}"]')
        handle.scroll_into_view_if_needed()
        self.page.evaluate(FRAMES)
        box = handle.locator(".grip").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx, y + dy, steps=6)
        self.page.mouse.up()
        self.page.evaluate(FRAMES)

    def press(self, selector, key, times=1):
        for _ in range(times):
            self.page.locator(selector).press(key)

    def slide(self, name, key):
        self.press(f'input[type=range][data-name="{name}"]', key)

    def choose(self, **values):
        for name, value in values.items():
            self.page.select_option(f'select[data-name="{name}"]', value)

    def code(self, target):
        """Bring the code z to a point of the plane with the arrow keys."""
        handle = self.page.locator("[data-handle='code z']")

        def now():
            self.page.evaluate(FRAMES)
            return [float(v.replace("−", "-")) for v in re.findall(r"[−\d.]+", handle.get_attribute("aria-valuetext"))]

        start = now()
        handle.press("Shift+ArrowRight")
        step = (now()[0] - start[0]) / 10
        for axis, (less, more) in enumerate([("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp")]):
            while abs(away := target[axis] - now()[axis]) > 0.6 * step:  # a step grows where the plane does
                handle.press(("Shift+" if abs(away) > 15 * step else "") + (more if away > 0 else less))


def _symmetric(hand):
    hand.drag("mean of q", 90)
    hand.type(sigma_q=1)


def _lopsided(hand):
    hand.type(sigma_p=2)
    hand.press("[data-handle='standard deviation of q']", "Enter")  # which asks for a number
    hand.page.fill("dialog.ask input", "0.3")
    hand.page.press("dialog.ask input", "Enter")


def _negative(hand):
    hand.page.check("[data-name=running]")
    hand.press("[data-handle='mean of q']", "Shift+ArrowLeft", 4)
    hand.type(sigma_q=1)


def _support(hand):
    hand.choose(family_q="truncated")
    hand.type(mu_q=0, sigma_q=1)


def _triangle(hand):
    hand.type(mu_q=1.5)
    hand.drag("distribution r", 85)


def _variances(hand):
    hand.press("[data-handle='distribution r']", "Shift+ArrowUp", 8)


def _jensen(hand):
    hand.press("[data-handle='point 1']", "Shift+ArrowRight", 3)
    hand.press("[data-handle='point 3']", "Shift+ArrowLeft", 5)


def _families(hand):
    hand.choose(family_p="cauchy", family_q="cauchy")
    hand.type(sigma_q=6)


def _zero(hand):
    hand.type(sigma_q=1)
    hand.press("[data-handle='mean of p']", "ArrowRight", 20)


def _jumps(hand):
    hand.choose(fn="step")
    hand.type(mu=0.5)


HANDS = {
    "symmetric": _symmetric,
    "families": _families,
    "lopsided": _lopsided,
    "zero": _zero,
    "negative": _negative,
    "support": _support,
    "triangle": _triangle,
    "variances": _variances,
    "jensen": _jensen,
    "identity": lambda hand: hand.slide("m", "Home"),
    "tight": lambda hand: hand.type(m=1.007, v=0.573),
    "bumps": lambda hand: hand.type(m=1.32, v=0.19),
    "variance": lambda hand: hand.slide("sigma", "Home"),
    "jumps": _jumps,
}
OFTEN = ("lopsided", "support", "jensen", "identity", "tight", "variance")
"""Steps that are tried at each commit; the others in make slow."""


@pytest.fixture(scope="module")
def steps(studio, chromium):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(studio.address("worksheet"))
    yield page.evaluate(STEPS)
    context.close()


def _numbered(steps, name):
    return next((i + 1, step) for i, step in enumerate(steps) if step["id"] == name)


def _predict(page, option=0):
    page.locator(".predict .option").nth(option).click()
    page.click("[data-do=predict]")


def _home(page, studio):
    page.goto(studio.address("home"))
    page.wait_for_selector(".page[data-page=home]")


def _phase(page):
    page.evaluate(FRAMES)
    return page.locator(".page").get_attribute("data-step")


def _fits(page, step=""):
    """Nothing is wider than a phone."""
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 700})
        page.evaluate(FRAMES)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, step


def _text(state):
    return "&".join(f"{k}={quote(v if isinstance(v, str) else json.dumps(v))}" for k, v in state.items())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in HANDS]
)
def test_a_goal_counts_by_hand_and_not_by_a_button_or_a_link(studio, visit, steps, name):
    number, step = _numbered(steps, name)
    place = f"{step['page']}?step={number}&{_text(step['start'])}".rstrip("&")
    page = visit(studio.address(place))
    page.wait_for_selector(".page[data-step=predict] .predict")
    HANDS[name](Hand(page))
    assert _phase(page) == "predict"  # nothing counts before a prediction

    _predict(page)
    assert "holds already" in page.locator(".goal-status").inner_text()
    page.locator(".tools [aria-label=Reset]").click()
    page.evaluate(PRESS_ALL)
    for _ in range(12):
        page.locator(".page h1").press("]")
    assert _phase(page) == "open"

    _home(page, studio)
    page.goto(studio.address(place))
    page.wait_for_selector(".page[data-step=open] .goal")
    HANDS[name](Hand(page))
    page.wait_for_selector(".page[data-step=done]")
    kept = page.evaluate(KEPT)[name]
    assert kept["met"]
    assert kept["choice"] == 0
    assert page.locator(".answer").inner_text().startswith(step["options"][0]) == (
        "✓ right" in page.locator(".predicted").inner_text()
    )

    # the state that reached it, brought by a link, does not count
    page.evaluate(
        "name => { const all = JSON.parse(localStorage['nelbo-worksheet']);"
        "all.steps[name] = {choice: 0, predicted: true}; localStorage['nelbo-worksheet'] = JSON.stringify(all); }",
        name,
    )
    _home(page, studio)
    page.goto(studio.address(f"{step['page']}?step={number}&{kept['state']}"))
    page.wait_for_selector(".page[data-step=open] .goal")
    assert _phase(page) == "open"


HIDDEN = {
    "kl?step=1": [".claim", ".presets", "text=Snap to symmetric", "[data-fold=why]"],
    "metric?step=7": [".claim", ".presets", ".lamps", ".overview", "text=Worst found", "[data-fold=why]"],
    "elbo?step=11": [".claim", ".presets", "text=Best normal q", "text=Drag q(z) onto the posterior p(z|x)"],
    "reparam?step=13": [".claim", ".presets", "[data-fold=why]"],
}


@pytest.mark.parametrize("place", HIDDEN)
def test_what_gives_the_answer_away_is_hidden_until_it_is_shown(studio, visit, place):
    page = visit(studio.address(place))
    page.wait_for_selector(".page[data-step=predict] .predict")
    hidden = [page.locator(selector).first for selector in HIDDEN[place]]
    number = page.locator("[data-number]").first
    assert [one.is_visible() for one in [*hidden, number]] == [False] * (len(hidden) + 1)
    assert page.locator(".answer").count() == 0

    assert page.locator("[data-do=reveal]").is_disabled()
    page.fill(".predict textarea", "  ")
    assert page.locator("[data-do=predict]").is_disabled()
    page.fill(".predict textarea", "I think so")
    page.click("[data-do=predict]")
    assert number.is_visible()
    assert [one.is_visible() for one in hidden] == [False] * len(hidden)

    page.click("[data-do=reveal]")
    assert [one.is_visible() for one in hidden] == [True] * len(hidden)
    assert page.locator(".answer").is_visible()
    assert "I think so" in page.locator(".predicted").inner_text()


def test_the_lecture_goes_from_step_to_step_and_is_there_again(studio, visit):
    page = visit(studio.address("worksheet"))
    bar = page.locator("[role=progressbar]")
    assert bar.get_attribute("aria-valuenow") == "0"
    page.fill("[aria-label^='Your name']", "Ada")
    _predict(page, 1)
    page.click("[data-do=open]")
    page.wait_for_selector(".page[data-page=kl][data-step=open] .goal")
    page.reload()  # the address holds the step
    page.wait_for_selector(".page[data-page=kl][data-step=open] .goal")
    page.click("[data-do=reveal]")
    page.click("[data-do=next]")
    page.wait_for_selector(".page[data-page=kl][data-step=predict] .predict")
    assert "step 2 of" in page.locator(".questions").inner_text()
    page.click("[data-do=back]")
    page.wait_for_selector(".page[data-page=worksheet] .step")
    page.reload()
    page.wait_for_selector(".step[data-phase=done]")
    assert bar.get_attribute("aria-valuenow") == "1"
    assert page.locator("[aria-label^='Your name']").input_value() == "Ada"

    page.click("[data-do=over]")
    assert bar.get_attribute("aria-valuenow") == "1"  # asked once more
    page.click("[data-do=over]")
    assert bar.get_attribute("aria-valuenow") == "0"
    assert page.evaluate(KEPT) == {}


def test_a_found_state_can_be_seen_again(studio, visit):
    page = visit(studio.address("worksheet"))
    _predict(page)
    page.click("[data-do=open]")
    page.wait_for_selector(".page[data-page=kl][data-step=open] .goal")
    _symmetric(Hand(page))
    page.wait_for_selector(".page[data-step=done]")
    seen = page.locator("[data-number=pq]").inner_text()
    page.click("[data-do=back]")
    page.click(".step[data-step='1'] [data-do=again]")
    page.wait_for_selector(".page[data-page=kl] [data-number=pq]")
    page.wait_for_function("text => document.querySelector('[data-number=pq]').textContent === text", arg=seen)
    assert page.locator(".claim").is_visible()


def test_a_teacher_makes_a_link(studio, visit):
    page = visit(studio.address("worksheet"))
    page.click(".course summary")
    page.fill("[data-course=title]", "Week 5: KL & friends, 100 %")
    page.fill("[data-course=steps]", "3, 1, 77")
    assert "“77” is no step" in page.locator(".course [role=status]").inner_text()
    page.locator(".course-steps input").nth(3).check()
    assert page.locator("[data-course=steps]").input_value() == "3,1,4"
    link = page.locator("[data-course=link]").inner_text()
    assert link.startswith(studio.origin)
    assert "#worksheet?steps=3,1,4&title=Week%205" in link

    other = visit(studio.address(link.partition("#")[2]))
    assert other.locator(".course-title").inner_text() == "Week 5: KL & friends, 100 %"
    heads = other.locator(".step").evaluate_all("all => all.map((one) => one.dataset.step)")
    assert heads == ["3", "1", "4"]
    _predict(other)
    other.click("[data-do=open]")
    other.wait_for_selector(".page[data-page=kl][data-step=open] .goal")
    assert "step 1 of 3" in other.locator(".questions").inner_text()
    other.click("[data-do=reveal]")
    other.click("[data-do=next]")
    other.wait_for_selector(".page[data-step=predict] .predict")
    assert "step 2 of 3" in other.locator(".questions").inner_text()
    other.click("[data-do=back]")
    other.wait_for_selector(".course-title")
    assert other.locator(".step").count() == 3


def test_a_damaged_link_is_said_and_shows_what_there_is(studio, visit):
    page = visit(studio.address("worksheet?steps=2,nine,99&at=%5D"))
    assert page.locator(".step").count() == 1
    assert "“nine” is no step" in page.locator(".note").inner_text()


def _filled(page):
    """As much as a reader can write, in every step."""
    page.evaluate(
        """async (words) => {
          const {STEPS} = await import("/pages/worksheet/steps.js");
          const longest = ({options}) => options.reduce((a, b, i) => (b.length > options[a].length ? i : a), 0);
          const met = "p = N(−1.23, 0.456²), q = N(−1.23, 0.456²), KL(p‖q) = 12.34, KL(q‖p) = 1.567";
          const all = STEPS.map((s) => [s.id, {choice: longest(s), words, predicted: true, answered: true, met}]);
          const steps = Object.fromEntries(all);
          localStorage["nelbo-worksheet"] = JSON.stringify({name: "Ada Lovelace", steps});
        }""",
        LONG[:240],
    )
    page.reload()
    page.wait_for_selector(".step[data-phase=done]")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_record_is_printed_on_two_pages_as_wide_as_the_paper(studio, visit, theme):
    page = visit(studio.address("worksheet"), color_scheme=theme)
    _filled(page)
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 2
    page.set_viewport_size({"width": 794, "height": 1123})  # A4 at 96 dots an inch
    page.emulate_media(media="print")
    record, column = page.locator(".record"), page.locator(".record tbody tr").first.locator("td").nth(2)
    assert record.bounding_box()["width"] > 0.9 * 794
    assert column.bounding_box()["width"] > 0.25 * 794  # and not one word a line
    shown = record.inner_text()
    assert all(text in shown for text in ("Ada Lovelace", "Date: 20", LONG[:240].strip(), "✓ p = N("))
    assert page.locator(".record h1").evaluate("e => getComputedStyle(e).color") == "rgb(29, 33, 38)"
    assert not page.locator(".rail").is_visible()
    assert not page.locator(".steps").is_visible()


@pytest.mark.parametrize("place", ["kl", "metric", "elbo"])
def test_a_page_is_printed_as_wide_as_the_paper(studio, visit, place):
    page = visit(studio.address(place), viewport={"width": 794, "height": 1123})
    page.emulate_media(media="print")
    assert page.locator(".figure").bounding_box()["width"] > 0.9 * 794


def test_nothing_is_wider_than_a_phone(studio, visit, steps):
    page = visit(studio.address("worksheet"), viewport={"width": 390, "height": 700})
    page.click(".course summary")
    page.fill("[data-course=title]", "W" * 80)
    _fits(page)
    for i, step in enumerate(steps):
        if step["runs"]:
            continue
        page.goto(studio.address(f"{step['page']}?step={i + 1}"))
        page.wait_for_selector(".page[data-step=predict] .predict")
        _fits(page, step["id"])
        _predict(page, -1)
        page.click("[data-do=reveal]")
        _fits(page, step["id"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_step_can_be_used_by_everyone(studio, visit, theme):
    page = visit(studio.address("kl?step=3"), color_scheme=theme)
    page.wait_for_selector(".predict")
    assert page.evaluate(UNUSABLE) == {"nameless": [], "faint": []}
    page.locator(".predict .option input").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("because")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".page[data-step=open]")
    assert "Yes, where q is much wider than p – because" in page.locator(".predicted").inner_text()
    page.click("[data-do=reveal]")
    assert page.evaluate(UNUSABLE) == {"nameless": [], "faint": []}


# --- steps on trained models


@pytest.fixture(scope="module")
def models(made_once):
    """An autoencoder and two VAEs on 8x8 digits, for as long as the steps need to find what they ask for."""

    def fill(out):
        digits = nelbo.data.load("digits", binarize="threshold", limit=300)
        for name, more in {"autoencoder": {}, "vae": {}, "beta_vae": {"beta": 3.0}}.items():
            with torch.random.fork_rng([]):
                torch.manual_seed(0)
                model = nelbo.recipes.make(name, digits.event_shape, hidden=(32,), **more)
            nelbo.fit(model, digits, epochs=40, batch_size=20, learning_rate=0.01, out=out / name, progress=False)

    return made_once("worksheet", fill)


@pytest.fixture
def begun(models, serving, visit):
    """A step on models as its page opens, predicted."""
    served = serving(Session([models]))

    def begin(name):
        page = visit(served.address("worksheet"))
        number, step = _numbered(page.evaluate(STEPS), name)
        page.goto(served.address(f"worksheet?at={number}"))
        page.wait_for_selector(f".step[data-step='{number}'] .predict")
        _predict(page)
        page.click("[data-do=open]:not([disabled])")
        page.wait_for_selector(f".page[data-page={step['page']}][data-step=open] [data-looked=yes]")
        return page

    return begin


def _codes(models, name="autoencoder"):
    run = nelbo.load(models / name)
    return run.encode(run.data.validation.take(len(run.data.validation)))


def test_codes_of_an_autoencoder_lie_where_the_prior_does_not_reach(models, begun):
    page = begun("codes")
    page.wait_for_selector("[data-handle='code z']")
    codes = _codes(models)
    assert codes.norm(dim=1).max() > 5
    # one that others lie around, so that a step of the arrow keys stays near one
    far = codes[codes.norm(dim=1) > 4.5]
    Hand(page).code(far[torch.cdist(far, codes).sort().values[:, 3].argmin()].tolist())
    page.wait_for_selector(".page[data-step=done]")
    assert "from the origin" in page.evaluate(KEPT)["codes"]["met"]
    _fits(page)


def test_an_autoencoder_leaves_holes_where_the_prior_draws(models, begun):
    page = begun("samples")
    page.wait_for_selector("[data-handle='code z']")
    side = torch.linspace(-1.6, 1.6, 65)
    grid = torch.cartesian_prod(side, side)
    hole = torch.cdist(grid[grid.norm(dim=1) < 1.6], _codes(models)).min(1).values.argmax()
    Hand(page).code(grid[grid.norm(dim=1) < 1.6][hole].tolist())
    page.wait_for_selector(".page[data-step=done]")


def test_the_epoch_from_which_hardly_anything_is_gained(models, begun):
    page = begun("learning")
    errors = [line["validation_reconstruction_error"] for line in nelbo.load(models / "vae").history]
    first = next(i for i, error in enumerate(errors) if error <= 1.05 * errors[-1])
    scrub = page.locator("[aria-label='Epoch shown']")
    scrub.wait_for()
    scrub.press("Home")
    Hand(page).press("[aria-label='Epoch shown']", "ArrowRight", first + 1)
    page.wait_for_selector(".page[data-step=done]")
    _fits(page)


def test_a_q_as_cheap_as_the_heavy_ones(begun):
    page = begun("two")
    page.wait_for_selector("[data-handle='mean µ of q(z|x)']")
    hand = Hand(page)

    def value(name):
        page.evaluate(FRAMES)
        handle = page.locator(f"[data-handle='{name}'][aria-valuetext]")  # it has none before it is first drawn
        text = handle.get_attribute("aria-valuetext")
        return [float(v.replace("−", "-")) for v in re.findall(r"[−\d.]+", text)]

    for i, axis in enumerate("₁₂"):
        width = f"width σ of q(z|x) along z{axis}"
        for _ in range(40):
            if value(width)[0] >= 1:
                break
            hand.press(f"[data-handle='{width}']", f"Shift+{['ArrowRight', 'ArrowUp'][i]}")
        for _ in range(40):
            at = value("mean µ of q(z|x)")[i]
            if abs(at) < 0.3:
                break
            keys = ["ArrowLeft", "ArrowRight"] if i == 0 else ["ArrowDown", "ArrowUp"]
            hand.press("[data-handle='mean µ of q(z|x)']", f"Shift+{keys[at < 0]}")
    page.wait_for_selector(".page[data-step=done]")


def test_without_runs_a_step_says_what_it_needs(studio, visit):
    page = visit(studio.address("worksheet?at=18"))
    _predict(page)
    page.wait_for_selector(".step .runs-place:not(:empty)")
    assert page.locator("[data-do=open]").is_disabled()
    assert re.search("autoencoder", page.locator(".step .runs-place").inner_text())
    page.click("[data-do=reveal]")
    assert page.locator(".answer").is_visible()
