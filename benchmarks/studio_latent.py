"""Input to painted frame of the inspector in headless Chromium: a drag of a code, and a map of 100,000 points.

The code is decoded in the browser, and in Python; the last pass has 50 other pages' sockets open, each asking for a
decoding ten times a second. The map is that of a dense VAE with two latent units: it is moved, zoomed with the wheel,
hovered over, and coloured by another term. Rows that begin with "earlier" are STUDIO.md's figures, from before a page
was written.
"""

import asyncio
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

import nelbo
from benchmarks.browser import (
    BROWSER_GOALS,
    CLOCK,
    MOVES,
    Served,
    chromium,
    drag,
    drag_rows,
    floor,
    missing,
    serving,
    tab,
    zoom,
)
from benchmarks.results import Row, options, show
from nelbo.data import InMemory

CLIENTS = 50
POINTS = 100_000
NAME, MAP = "latent drag to paint", "map of 100,000 points to paint"


def measure() -> list[Row]:
    if why := missing():
        print(f"studio_latent: skipped, {why}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        runs = two_runs(Path(folder))
        with serving(list(runs.values())) as studio, chromium() as browser:
            rows = drag_rows(NAME, "browser decodes", _drag(browser, studio, runs["browser"]), BROWSER_GOALS)
            rows += drag_rows(NAME, "Python decodes", _drag(browser, studio, runs["python"]), (33, None))
            crowd = Crowd(studio, runs["python"])
            rows += drag_rows(
                NAME, f"Python decodes for {CLIENTS} others", _drag(browser, studio, runs["python"]), (None, 150)
            )
            crowd.leave()
        with serving(["benchmarks.studio_latent:many_points"]) as studio, chromium() as browser:
            rows += _map_rows(browser, studio)
    earlier = {"prototype, Python decodes, p50": 23.0, "Panel with Bokeh, p50": 110.0}
    return [*rows, *(Row(NAME, f"earlier: {what}", value, "ms") for what, value in earlier.items())]


def two_runs(folder: Path) -> dict[str, Path]:
    data = nelbo.data.load("mnist5k", binarize="threshold", limit=1000)
    made = {}
    for name, network in (("browser", {"hidden": (400, 200)}), ("python", {"network": "conv"})):
        torch.manual_seed(0)
        nelbo.fit(nelbo.recipes.vae(data.event_shape, **network), data, epochs=1, out=folder / name, progress=False)
        made[name] = folder / name
    return made


def many_points() -> tuple[Any, Any]:
    """An untrained dense VAE and noisy copies of ten 8x8 patterns: what is drawn depends on no training."""
    draws = torch.Generator().manual_seed(0)
    patterns, labels = torch.rand(10, 64, generator=draws), torch.arange(POINTS) % 10
    x = (patterns[labels] + 0.25 * torch.randn(POINTS, 64, generator=draws) > 0.5).float().reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    return nelbo.recipes.vae((1, 8, 8), latent=2, hidden=(64,)), InMemory(x, labels=labels)


def _map_rows(browser: Any, studio: Served) -> list[Row]:
    with tab(browser) as page:
        started = time.perf_counter()
        page.goto(studio.address("inspector"))
        page.wait_for_selector(f"text=of {POINTS:,}", timeout=120_000)
        rows = [Row("map of 100,000 points", "all of them are there", time.perf_counter() - started, "s")]
        page.wait_for_timeout(2000)
        box = page.locator(".latent svg").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.keyboard.down("Alt")
        rows += drag_rows(MAP, "pan", drag(page, x, y, reach=120), BROWSER_GOALS)
        page.keyboard.up("Alt")
        rows += drag_rows(MAP, "zoom", zoom(page, x, y), BROWSER_GOALS)
        rows += drag_rows(MAP, "the same wheel on a blank page", floor(browser, wheel=True))
        page.mouse.move(x, y)
        page.evaluate(CLOCK, "pointermove")
        for i in range(MOVES):
            page.mouse.move(x - 100 + 2 * i, y)
            page.wait_for_timeout(20)
        rows += drag_rows(MAP, "hover", page.evaluate("window.waits"), BROWSER_GOALS)
        colours = page.get_by_label("Colour by")
        page.evaluate(CLOCK, "change")
        for term in ("kl", "label") * 10:
            colours.select_option(term)
            page.wait_for_timeout(40)
        rows += drag_rows(MAP, "another colour", page.evaluate("window.waits"), (33, None))
    return rows


def _drag(browser: Any, studio: Served, run: Path) -> list[float]:
    with tab(browser) as page:
        page.goto(studio.address(f"inspector?run={run}"))
        page.wait_for_selector(".term .rank:visible")
        page.wait_for_timeout(500)
        box = page.locator(".latent svg").bounding_box()
        return drag(page, box["x"] + 80, box["y"] + 80, reach=200)


class Crowd:
    """Other clients that keep asking."""

    def __init__(self, studio: Served, run: Path) -> None:
        self.studio, self.run, self.stop = studio, str(run), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self.thread.start()
        time.sleep(1)

    def leave(self) -> None:
        self.stop.set()
        self.thread.join(10)

    async def _all(self) -> None:
        await asyncio.gather(*(self._one(i) for i in range(CLIENTS)))

    async def _one(self, number: int) -> None:
        from websockets.asyncio.client import connect

        from nelbo.studio.wire import pack

        port = self.studio.port
        headers = {"Cookie": f"nelbo-{port}={self.studio.token}"}
        z = torch.zeros(2).numpy().tobytes()
        async with connect(
            f"ws://127.0.0.1:{port}/ws", origin=f"http://127.0.0.1:{port}", additional_headers=headers
        ) as socket:
            await asyncio.sleep(number / CLIENTS / 10)
            while not self.stop.is_set():
                await socket.send(pack({"kind": "inspect.decode", "id": 1, "run": self.run}, [z]))
                await socket.recv()
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    show(measure(), as_json=options(__doc__).parse_args().json)
