"""The pictures of the README and of docs/studio are screenshots of the pages: `make pictures` takes them anew."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from nelbo import demo
from nelbo.studio.session import Session
from tests.studio.tab import at_rest

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "images"
WRITE_TO = os.environ.get("NELBO_PICTURES")


@dataclass(frozen=True)
class Picture:
    """One page in one state, as large as the window that it is taken in."""

    page: str
    ready: str
    """What stands in it when it is drawn."""
    height: int
    state: str = ""
    runs: int = 0
    """How many of the runs it names."""
    width: int = 1280


PICTURES = {
    "studio-home": Picture("home", "[data-run]", 540),
    "studio-kl": Picture("kl", "[data-number]", 535, "mu_p=-0.5&sigma_q=1.6&running=true"),
    "studio-metric": Picture("metric", ".lamp", 640),
    "studio-elbo": Picture("elbo", "[data-number]", 640),
    "studio-reparam": Picture("reparam", "svg.plot", 640),
    "studio-playground": Picture("playground", ".page[data-epoch='20.000']", 940, "epochs=20&pace=fast&running=true"),
    "studio-inspector": Picture("inspector", "[data-difference=nelbo]", 760, "pins=[11]", runs=2),
    "studio-train": Picture("train", ".strip.pairs canvas:nth-child(32)", 900, runs=2),
    "studio-report": Picture("report", "[data-term=nelbo]", 760, runs=1),
    "studio-worksheet": Picture("worksheet", ".step", 560),
}


@pytest.fixture(scope="module")
def runs(run_folder):
    """The demo's VAEs for pictures to keep; else runs of seconds."""
    if not WRITE_TO:
        return run_folder, [run_folder / "first", run_folder / "second"]
    trained = demo.train(demo.load_data(), Path("runs/demo"))
    return Path("runs"), [trained[name].path for name in ("vae", "beta-vae")]


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_can_be_taken_again(name, runs, serving, visit, tmp_path):
    picture, (folder, paths) = PICTURES[name], runs
    shown = zip(("run", "other")[: picture.runs], paths, strict=False)
    named = "&".join(f"{key}={quote(str(path))}" for key, path in shown)
    state = "&".join(part for part in (named, picture.state) if part)
    window = {"width": picture.width, "height": picture.height}
    page = visit(serving(Session([folder])).address(f"{picture.page}?{state}"), viewport=window, color_scheme="light")
    page.locator(picture.ready).first.wait_for(state="attached")
    at_rest(page)  # what follows the hand later: pictures along the units, draws
    out = Path(WRITE_TO or tmp_path) / f"{name}.png"
    page.screenshot(path=out, animations="disabled")
    if WRITE_TO:
        Image.open(out).quantize(256).save(out, optimize=True)  # a third of the bytes
    assert size(out) == size(KEPT / f"{name}.png")


def test_the_readme_and_the_pages_of_the_docs_show_them():
    pages = [ROOT / "README.md", *(ROOT / "docs" / "studio").glob("*.md")]
    shown = " ".join(page.read_text("utf-8") for page in pages)
    assert [name for name in PICTURES if f"images/{name}.png" not in shown] == []
    assert all(f"docs/images/studio-{page}.png" in pages[0].read_text("utf-8") for page in ("kl", "inspector"))
    assert {path.stem for path in KEPT.glob("studio-*.png")} == set(PICTURES)


def size(path):
    """Width and height, from a PNG's header."""
    return struct.unpack(">II", path.read_bytes()[16:24])
