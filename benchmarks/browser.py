"""A studio in a process of its own, headless Chromium before it, and the time from a mouse's move to its frame."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import Row
from benchmarks.startup import ENVIRONMENT

# Debian's browsers; the whole one draws its own windows too, on a graphics card that it has to imitate
CHROMIUMS = [Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")]
MOVES = 100
BROWSER_GOALS = (16.0, 33.0)
"""p50 and p95 in ms where the browser computes what is drawn."""
# from the event's own time to the message behind the frame that it caused
CLOCK = """(name) => {
  window.waits = [];
  removeEventListener(window.timed, window.clock, true);
  window.timed = name;
  window.clock = (event) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.waits.push(performance.now() - event.timeStamp);
    requestAnimationFrame(() => channel.port2.postMessage(0));
  };
  addEventListener(name, window.clock, true);
}"""
# what any page pays: one circle follows the mouse
_BLANK = """<svg width="900" height="600" style="background:white"><circle cx="300" cy="300" r="20"/></svg><script>
  const circle = document.querySelector("circle");
  let x = 300;
  const follow = (to) => {
    x = to;
    requestAnimationFrame(() => circle.setAttribute("cx", x));
  };
  addEventListener("pointermove", (event) => follow(event.clientX));
  addEventListener("wheel", (event) => {
    event.preventDefault();
    follow(x + event.deltaY / 10);
  }, {passive: false});
</script>"""


@dataclass(frozen=True)
class Served:
    """A studio that listens, and how long its command took to say so."""

    port: int
    token: str
    seconds: float

    def address(self, state: str) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.token}#{state}"


def missing() -> str | None:
    """Why these benchmarks cannot run here, or None."""
    if not any(path.exists() for path in CHROMIUMS):
        return f"no {CHROMIUMS[0]}: apt-get install {CHROMIUMS[0].name}"
    for package in ("playwright", "uvicorn", "websockets"):
        if find_spec(package) is None:
            return f"no {package}: pip install -r benchmarks/requirements.txt"
    return None


@contextmanager
def serving(runs: Sequence[Path | str] = ()) -> Iterator[Served]:
    """The real command, ``nelbo studio``, with runs or functions that return some; ended at the end."""
    code = "import sys; from nelbo.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "studio", *map(str, runs), "--port", "0", "--no-open"]
    started = time.perf_counter()
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)/\?token=([^\s#]+)", said)
        if found is None:
            raise RuntimeError(f"nelbo studio said {said!r}")
        try:
            yield Served(int(found[1]), found[2], time.perf_counter() - started)
        finally:
            process.terminate()


@contextmanager
def chromium() -> Iterator[Any]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = next(path for path in CHROMIUMS if path.exists())
        browser = driver.chromium.launch(executable_path=str(path), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def tab(browser: Any) -> Iterator[Any]:
    """A page in a profile of its own, with nothing in its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def drag(page: Any, x: float, y: float, *, reach: float) -> list[float]:
    """Milliseconds of 100 moves of the pressed mouse, to and fro over ``reach`` pixels.

    Raises:
        RuntimeError: a page of the studio still shows what it showed before; nothing was dragged.
    """
    before = page.url
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(CLOCK, "pointermove")
    for i in range(MOVES):
        page.mouse.move(x + reach * (1 - abs(i / 25 % 2 - 1)), y)
        page.wait_for_timeout(20)
    page.mouse.move(x + reach / 2, y)
    page.mouse.up()
    page.wait_for_timeout(500)  # until the address says where it went
    if "#" in before and page.url == before:
        raise RuntimeError(f"the drag on {before} moved nothing")
    return page.evaluate("window.waits")


def zoom(page: Any, x: float, y: float) -> list[float]:
    """Milliseconds of 100 turns of the wheel with Ctrl, in and out."""
    page.mouse.move(x, y)
    page.evaluate(CLOCK, "wheel")
    page.keyboard.down("Control")
    for i in range(MOVES):
        page.mouse.wheel(0, -40 if i // 25 % 2 == 0 else 40)
        page.wait_for_timeout(20)
    page.keyboard.up("Control")
    page.wait_for_timeout(300)
    return page.evaluate("window.waits")


def floor(browser: Any, *, wheel: bool = False) -> list[float]:
    """The same drag, or wheel, on a page that moves one circle: what the browser and the machine take by themselves."""
    with tab(browser) as page:
        page.set_content(_BLANK)
        page.wait_for_timeout(300)
        return zoom(page, 300, 300) if wheel else drag(page, 300, 300, reach=60)


def drag_rows(
    benchmark: str, name: str, waits: list[float], goals: tuple[float | None, float | None] = (None, None)
) -> list[Row]:
    """The median and the 95th percentile."""
    p95 = sorted(waits)[int(0.95 * (len(waits) - 1))]
    return [
        Row(benchmark, f"{name}, p50", median(waits), "ms", goal=goals[0], details={"ms": waits}),
        Row(benchmark, f"{name}, p95", p95, "ms", goal=goals[1]),
    ]
