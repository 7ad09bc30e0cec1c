"""Input to painted frame of 100 real mouse drags on each explorer, time until a page is ready, and bytes transferred.

Headless Chromium, and ``nelbo studio`` in a process of its own; `studio_latent` does the same for the inspector. The
row "blank page" is the same drag where one circle follows the mouse: what the browser takes by itself. Rows that begin
with "earlier" are no measurement of this run but the figures of STUDIO.md, from before a page was written.
"""

import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.browser import BROWSER_GOALS, Served, chromium, drag, drag_rows, floor, missing, serving, tab
from benchmarks.results import Row, options, show

# what is dragged; reparameterization has no handle in a plot: its slider is
GRIPS = {
    "kl": '[data-handle="mean of p"] .grip',
    "metric": '[data-handle="distribution q"] .grip',
    "elbo": '[data-handle="mean of q"] .grip',
    "reparam": 'input[type=range][data-name="mu"]',
}
# of four sliders and two densities
EARLIER = {
    "drag to paint": (("prototype, p50", 10, "ms"), ("prototype, p95", 22, "ms"), ("Panel with Bokeh, p50", 49, "ms")),
    "page ready": (("prototype", 550, "ms"), ("Panel with Bokeh", 3550, "ms")),
    "transferred": (("prototype", 14, "kB"), ("Panel with Bokeh", 4600, "kB")),
}
_LOADED = """() => {
  const parts = performance.getEntriesByType("resource");
  const page = performance.getEntriesByType("navigation")[0];
  return [performance.getEntriesByName("nelbo-ready")[0].startTime,
          parts.reduce((sum, part) => sum + part.transferSize, page.transferSize), parts.length + 1];
}"""


def measure(*, rounds: int, pages: Sequence[str] = tuple(GRIPS)) -> list[Row]:
    if why := missing():
        print(f"studio: skipped, {why}", file=sys.stderr)
        return []
    rows: list[Row] = []
    with serving() as studio, chromium() as browser:
        rows.append(Row("studio starts", "nelbo studio", studio.seconds, "s", goal=3))
        rows.append(Row("page ready", "the first after the start", _first(browser, studio), "ms"))
        rows += drag_rows("drag to paint", "blank page", floor(browser))
        for page in pages:
            loads: list[list[float]] = []
            for last in [False] * (rounds - 1) + [True]:
                with tab(browser) as opened:
                    opened.goto(studio.address(page))
                    opened.wait_for_selector(f"main[data-ready={page}]")
                    opened.wait_for_timeout(800)
                    loads.append(opened.evaluate(_LOADED))
                    if last:
                        box = opened.locator(GRIPS[page]).bounding_box()
                        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
                        waits = drag(opened, x, y, reach=40 if page == "reparam" else 60)
                        rows += drag_rows("drag to paint", page, waits, BROWSER_GOALS)
            ready, size, requests = zip(*loads, strict=True)
            rows.append(Row("page ready", page, median(ready), "ms", goal=1000, details={"milliseconds": ready}))
            rows.append(Row("transferred", page, size[0] / 1000, "kB", goal=200, details={"requests": requests[0]}))
    rows += [
        Row(name, f"earlier: {what}", value, unit) for name, parts in EARLIER.items() for what, value, unit in parts
    ]
    return sorted(rows, key=lambda row: row.benchmark)  # stable: pages stay in their order


def _first(browser: Any, studio: Served) -> float:
    """Milliseconds until the first page is ready; its question then has the studio load torch, for which we wait."""
    with tab(browser) as opened:
        opened.goto(studio.address("kl"))
        opened.wait_for_selector("main[data-ready=kl]")
        milliseconds = opened.evaluate(_LOADED)[0]
        opened.locator(".card", has_text="closed form)").wait_for()
        return milliseconds


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--pages", nargs="+", default=list(GRIPS), choices=list(GRIPS), help="only these")
    chosen = parser.parse_args()
    show(measure(rounds=chosen.rounds, pages=chosen.pages), as_json=chosen.json)
