"""What a hand does in a figure: a handle stays under it, the nearest one is taken, the wheel scrolls the page."""

import pytest

from nelbo.studio.session import Session
from tests.studio.reading import state_of

PLACES = [
    "kl?mu_p=-1&mu_q=2",
    "kl?family_p=mixture&family_q=truncated&mu_q=4&low_q=1&high_q=6",
    "kl?family_p=skew&mu_q=3",
    "kl?view=fit",
    "kl?mu_q=300&sigma_q=100",
    "metric",
    "metric?mu_r=80&sigma_r=60",
    "elbo",
    "elbo?model=square",
    "reparam",
    "reparam?node=stochastic&mu=2",
]
ONCE = [place for place in PLACES if "=" not in place or "view=fit" in place]  # each page, and once
OF_RUNS = [("first", {}), ("table", {}), ("first", {"z": [0.5, 0.5]}), ("first", {"view": [0.3, -0.2, 0.9]})]


class Mouse:
    """The pointer as a mouse."""

    def __init__(self, page):
        self.move = page.mouse.move
        self.up = page.mouse.up
        self.page = page

    def down(self, x, y):
        self.page.mouse.move(x, y)
        self.page.mouse.down()


class Finger:
    """The pointer as a finger on glass."""

    def __init__(self, page):
        self.session = page.context.new_cdp_session(page)

    def _send(self, kind, *points):
        touches = [{"x": x, "y": y} for x, y in points]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def down(self, x, y):
        self._send("touchStart", (x, y))

    def move(self, x, y):
        self._send("touchMove", (x, y))

    def up(self):
        self._send("touchEnd")


def _centre(grip):
    box = grip.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def runaways(page, pointer):
    """How far each handle of a page is off the pointer, along its axes, at worst in 5 moves there and back."""
    off = {}
    frames = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    for handle in page.locator("[data-handle]").all():
        if not handle.is_visible() or not handle.locator(".grip").bounding_box():
            continue
        name, axis = handle.get_attribute("data-handle"), handle.get_attribute("data-axis")
        handle.scroll_into_view_if_needed()
        page.evaluate(frames)
        figure = page.evaluate_handle("e => e.ownerSVGElement", handle.element_handle()).as_element()
        x, y = _centre(handle.locator(".grip"))
        area = figure.bounding_box()
        is_width = "deviation" in name or "width" in name  # which end at the mean
        side = 1 if is_width or x < area["x"] + area["width"] / 2 else -1
        rise = 1 if not is_width and y < area["y"] + area["height"] / 2 else -1
        room = {1: area["x"] + area["width"] - 16 - x, -1: x - area["x"] - 56}[side]
        height = {1: area["y"] + area["height"] - 40 - y, -1: y - area["y"] - 14}[rise]
        reach = [max(0, min(9, room / 14)), max(0, min(4, height / 14))]  # within the figure
        pointer.down(x, y)
        page.evaluate(frames)
        if not page.locator(".dragging").count():
            pointer.up()
            continue  # another handle lies exactly there and is nearer to itself
        if page.locator(".dragging").get_attribute("data-handle") != name:
            pointer.up()
            page.evaluate(frames)
            continue
        worst = 0.0
        for step in (1, 6, 14, 11, 8):
            at = x + reach[0] * side * step, y + reach[1] * rise * step
            pointer.move(*at)
            page.evaluate(frames)
            now = _centre(handle.locator(".grip"))
            worst = max([worst, *(abs(now[i] - at[i]) for i in (0, 1) if "xy"[i] in axis)])
        pointer.up()
        page.evaluate(frames)
        off[name] = worst
    return off


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        *((Finger, place) for place in ONCE),
        (Mouse, ONCE[0]),
        *(pytest.param(Mouse, place, marks=pytest.mark.slow) for place in PLACES if place != ONCE[0]),
    ],
)
def test_a_handle_stays_under_the_hand(studio, visit, place, pointer):
    page = visit(studio.address(place), has_touch=pointer is Finger)
    off = runaways(page, pointer(page))
    assert off
    assert {name: far for name, far in off.items() if far > 2} == {}


@pytest.mark.parametrize(("run", "state"), OF_RUNS)
@pytest.mark.parametrize("pointer", [pytest.param(Mouse, marks=pytest.mark.slow), Finger])
def test_a_handle_of_the_inspector_stays_under_the_hand(run_folder, serving, visit, run, state, pointer):
    address = serving(Session([run_folder])).address(state_of(run=str(run_folder / run), **state))
    page = visit(address, has_touch=pointer is Finger)
    page.wait_for_selector("[data-handle='code z']")
    off = runaways(page, pointer(page))
    assert len(off) >= 2
    assert {name: far for name, far in off.items() if far > 2} == {}


# frames that the page asks for, without those that the test itself waits for
COUNT = """() => {
  const next = window.requestAnimationFrame;
  window.asked = 0;
  window.requestAnimationFrame = (f) => (window.asked++, next(f));
  window.frames = async (n) => { for (; n; n--) await new Promise(next); };
}"""


def test_a_hand_that_rests_asks_for_no_frame_and_one_beyond_the_axes_for_more_of_them(studio, visit):
    """A page that asked for every frame while it is held had its next drawing wait for the screen's clock."""
    page = visit(studio.address("metric"))
    page.evaluate(COUNT)
    handle = page.locator("[data-handle]:visible").first
    figure = page.evaluate_handle("e => e.ownerSVGElement", handle.element_handle()).as_element().bounding_box()
    x, y = _centre(handle.locator(".grip"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3, y)
    page.evaluate("frames(10)")
    page.evaluate("() => window.asked = 0")
    page.evaluate("frames(10)")
    assert page.evaluate("window.asked") == 0
    far = handle.get_attribute("aria-valuenow")
    page.mouse.move(figure["x"] + figure["width"] - 1, y)
    page.wait_for_function("() => window.asked > 20")
    assert float(handle.get_attribute("aria-valuenow")) > float(far)
    first = float(handle.get_attribute("aria-valuenow"))
    page.evaluate("frames(3)")
    assert float(handle.get_attribute("aria-valuenow")) > first  # the axes go on reaching farther
    page.mouse.up()
