"""What the studio promises besides speed: a handle under the hand, a light site, and nothing for axe or tsc to report.

The tests hold each page to these; here they are printed as numbers, beside the speed of the rest. A site is exported
with a dense and a convolutional VAE, and served by Python's http.server.
"""

import functools
import http.server
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from statistics import median
from typing import Any

from benchmarks.browser import chromium, missing, serving, tab
from benchmarks.results import Row, options, show
from benchmarks.studio_latent import two_runs
from nelbo.studio.exporting import export_site
from nelbo.studio.link import EXPLORERS
from nelbo.studio.session import Session
from tests.studio.test_access import AXE, FOUND
from tests.studio.test_hand import PLACES, Mouse, runaways

ROOT = Path(__file__).parents[1]
_LOADED = """() => {
  const parts = performance.getEntriesByType("resource");
  const page = performance.getEntriesByType("navigation")[0];
  const shell = parts.filter((part) => !part.name.includes("/answers/"));  // in which the models are
  return [performance.getEntriesByName("nelbo-ready")[0].startTime,
          shell.reduce((sum, part) => sum + part.decodedBodySize, page.decodedBodySize)];
}"""


def measure(*, rounds: int) -> list[Row]:
    if why := missing():
        print(f"studio_quality: skipped, {why}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        return [
            *_hand(browser),
            *_site(browser, Path(folder), rounds),
            *_axe(browser),
            *_tsc(),
        ]


def _hand(browser: Any) -> list[Row]:
    off: dict[str, float] = {}
    with serving() as studio:
        for place in PLACES:
            with tab(browser) as page:
                page.goto(studio.address(place))
                page.wait_for_selector("main[data-ready]")
                off |= {f"{place}: {name}": far for name, far in runaways(page, Mouse(page)).items()}
    return [Row("handle to pointer", f"the worst of {len(off)} handles", max(off.values()), "px", goal=2, details=off)]


def _site(browser: Any, folder: Path, rounds: int) -> list[Row]:
    runs = two_runs(folder / "runs")
    export_site(Session(list(runs.values())), folder / "site")
    rows: list[Row] = []
    with _served(folder / "site") as address:
        for page in ("home", *EXPLORERS, "inspector"):
            loads: list[list[float]] = []
            for _ in range(rounds):
                with tab(browser) as opened:
                    opened.goto(f"{address}/#{page}")
                    opened.wait_for_selector(f"main[data-ready={page}]")
                    loads.append(opened.evaluate(_LOADED))
            ready, size = zip(*loads, strict=True)
            rows.append(Row("static site ready", page, median(ready), "ms", goal=1000))
            rows.append(Row("static site before models", page, size[0] / 1000, "kB", goal=400))
    return rows


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _axe(browser: Any) -> list[Row]:
    if not AXE.exists():
        print("studio_quality: no axe-core, write: make js", file=sys.stderr)
        return []
    found = 0
    with serving() as studio:
        for page in ("home", *EXPLORERS, "worksheet"):
            for scheme in ("light", "dark"):
                for width in (1280, 390):
                    with tab(browser) as opened:
                        opened.emulate_media(color_scheme=scheme)
                        opened.set_viewport_size({"width": width, "height": 900})
                        opened.goto(studio.address(page))
                        opened.wait_for_selector(f"main[data-ready={page}]")
                        opened.evaluate(AXE.read_text("utf-8"))
                        found += len(opened.evaluate(FOUND))
    return [Row("axe-core", "violations on the pages without runs", found, "", goal=0)]


def _tsc() -> list[Row]:
    if which("npx") is None:
        return []
    said = subprocess.run(["npx", "tsc"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [Row("tsc", "errors", sum("error TS" in line for line in said.splitlines()), "", goal=0)]


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(rounds=chosen.rounds), as_json=chosen.json)
