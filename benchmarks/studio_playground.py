"""The playground's 30 epochs of 1,617 digits in headless Chromium, in a worker, and the slider of beta meanwhile."""

import sys

from benchmarks.browser import BROWSER_GOALS, chromium, drag, drag_rows, missing, serving, tab
from benchmarks.results import Row, options, show

EPOCHS = 30
_SECONDS = """async (epochs) => {
  const page = document.querySelector(".page");
  const begun = performance.now();
  document.querySelector("[data-order=play]").click();
  await new Promise((done) => {
    const look = () => (Number(page.dataset.epoch) >= epochs ? done() : requestAnimationFrame(look));
    look();
  });
  return (performance.now() - begun) / 1000;
}"""


def measure() -> list[Row]:
    if why := missing():
        print(f"studio_playground: skipped, {why}", file=sys.stderr)
        return []
    with serving() as studio, chromium() as browser, tab(browser) as page:
        page.goto(studio.address("playground?pace=fast"))
        page.wait_for_selector(".page[data-epoch]")
        seconds = page.evaluate(_SECONDS, EPOCHS)
        box = page.locator(".beta-strip input[type=range]").bounding_box()
        waits = drag(page, box["x"] + box["width"] * 0.37, box["y"] + box["height"] / 2, reach=60)
    name = "playground"
    return [
        Row(name, f"{EPOCHS} epochs of 1,617 digits", seconds, "s", goal=10),
        *drag_rows(name, "beta to paint while it trains", waits, BROWSER_GOALS),
    ]


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(), as_json=chosen.json)
